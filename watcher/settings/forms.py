"""How a value is written: durations, paths, addresses, URLs, names.

Each form is an annotated type: msgspec checks what it can, and the `Form` beside it reads what a person may
write and tells one who got it wrong what was expected.
"""

import os.path
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

YEAR = 366 * 86400.0
_LAST_PORT = 65535

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION = rf"(?:{_NUMBER}(?:ms|s|m|h|d))+|{_NUMBER}"
_LISTEN = r"(?:(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+):)?([0-9]{1,5})"


def _same(value: object) -> object:
    return value


@dataclass(frozen=True, slots=True)
class Form:
    """How values of one type are written.

    `expected` completes "expected ...". `read` turns what was written into what msgspec is to check, and
    raises ValueError; `show` turns a value into what TOML can hold.
    """

    expected: str
    read: Callable[[object], object] = _same
    show: Callable[[object], object] = _same


def parse_duration(text: object) -> object:
    """Read "500ms", "2s", "1m", "1h", "1d", sums such as "1h30m", or a bare number, as seconds.

    What is not a string is given back as it is. Raises ValueError.
    """
    if not isinstance(text, str):
        return text
    if not re.fullmatch(_DURATION, text):
        raise ValueError(text)
    parts = re.findall(rf"({_NUMBER})([a-z]*)", text)
    return round(sum(float(number) * _UNITS.get(unit, 1.0) for number, unit in parts), 6)


def format_duration(seconds: object) -> object:
    """Write seconds so that `parse_duration` reads the same, in the largest unit that divides them."""
    if not isinstance(seconds, (int, float)):
        return seconds
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    if 0 < seconds < 1 and round(seconds * 1000, 3).is_integer():
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"


def parse_listen(text: str) -> tuple[str, int]:
    """Split "[HOST:]PORT" into a host without brackets (loopback where none is named) and a port.

    Raises ValueError.
    """
    match = re.fullmatch(_LISTEN, text)
    if not match or int(match[2]) > _LAST_PORT:
        raise ValueError(text)
    return (match[1] or "127.0.0.1").strip("[]"), int(match[2])


def _read_count(raw: object) -> object:
    return int(raw) if isinstance(raw, str) else raw


def _read_listen(raw: object) -> object:
    text = str(raw) if type(raw) is int else raw
    if isinstance(text, str) and text:
        parse_listen(text)
    return text


def _read_path(raw: object) -> object:
    return os.path.expanduser(raw) if isinstance(raw, str) else raw  # noqa: PTH111 - a Path would turn "" into "."


_AS_TEXT = {"otherwise": {"type": "string", "pattern": f"^(?:{_DURATION})$", "examples": ["500ms"]}}
_TIME = Form('a duration such as "0.5s"', parse_duration, format_duration)

Duration = Annotated[float, Meta(ge=0, le=YEAR, extra_json_schema=_AS_TEXT), _TIME]
"""Seconds, up to a year: a number, or a string with a unit."""

Interval = Annotated[float, Meta(ge=0.05, le=YEAR, extra_json_schema=_AS_TEXT), _TIME]
"""A duration between two looks: never so short that looking is all that is done."""

Count = Annotated[int, Meta(ge=0, le=10_000), Form("a whole number", _read_count)]
"""How many: not negative, and no more than any path has components."""

FilePath = Annotated[str, Meta(pattern=r"^[^\x00]*$"), Form("a path", _read_path)]
"""A path, `~` for the home directory; empty for none."""

Name = Annotated[str, Meta(pattern=r"^[^/\x00]+$"), Form('a name without "/"')]
"""One component of a path."""

Word = Annotated[str, Meta(min_length=1), Form("a word that is not empty")]
"""Any text but none."""

Url = Annotated[
    str, Meta(pattern=r"^(?:https?://[^\s/]+\S*)?$(?!\n)"), Form('a URL such as "http://localhost:9093", or ""')
]
"""An http or https URL; empty for none."""

Listen = Annotated[
    str,
    Meta(
        pattern=f"^(?:{_LISTEN})?$",
        extra_json_schema={"otherwise": {"type": "integer", "minimum": 0, "maximum": _LAST_PORT}},
    ),
    Form('"[HOST:]PORT" such as "9100"', _read_listen),
]
"""Where to listen for connections; empty for nowhere."""
