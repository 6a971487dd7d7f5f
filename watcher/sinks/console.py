"""The format for a person at a terminal: a line a record, aligned, and coloured by how much it matters."""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from watcher.errors import one_line
from watcher.sinks.line import Fields

_RESET: Final = "\x1b[0m"
_BOLD: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
_GREEN: Final = "\x1b[32m"
_COLOURS: Final = {
    "debug": _DIM,
    "info": "",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[1;31m",
}
_MONTHS: Final = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_WIDEST: Final = 40


def wants_colour(fd: int, environ: Mapping[str, str]) -> bool:
    """Say whether what is written to `fd` should be coloured: a terminal that can, and no NO_COLOR (no-color.org)."""
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb" and os.isatty(fd)


class Console:
    """Renders the fields of a line: when, how loud, what, whose, and the sentence.

    The column of the worker grows with the longest name so far, up to a limit, so one console serves one
    stream. Nothing in the fields reaches the terminal but printable characters: escape sequences, bidirectional
    controls and newlines are spelled out. structlog's own renderer prints event names raw and brings rich along.
    """

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour
        self._width = len("watcher")

    def __call__(self, fields: Fields) -> str:
        """Render one line; fields that are missing leave their column empty."""
        text = {name: one_line(value) for name, value in fields.items()}
        level, event = text.get("level", ""), text.get("event", "")
        worker = text.get("worker", "watcher")
        self._width = max(self._width, min(len(worker), _WIDEST))
        sentence = text.get("message", "").removeprefix(f"{worker}: ")
        parts = (
            self._paint(_local(text.get("timestamp", "")), _DIM),
            self._paint(f"{level:8}", _COLOURS.get(level, "")),
            self._paint(
                f"{event.rpartition('.')[2]:9}", _GREEN if event == "alert.resolved" else _COLOURS.get(level, "")
            ),
            self._paint(f"{worker:{self._width}}", _BOLD if "worker" in text else _DIM),
            sentence,
            self._paint(f"-> {text['hint']}", _DIM) if "hint" in text and event != "alert.resolved" else "",
        )
        return "  ".join(part for part in parts if part).rstrip()

    def _paint(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colour and colour else text


def _local(timestamp: str) -> str:
    """Give a timestamp as the clock on the wall has it: `Nov 23 08:01:11`."""
    try:
        time = datetime.fromisoformat(timestamp).astimezone()
    except (ValueError, OverflowError, OSError):
        return timestamp
    return f"{_MONTHS[time.month - 1]} {time.day:2} {time:%H:%M:%S}"
