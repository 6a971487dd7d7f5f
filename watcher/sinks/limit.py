"""How long a line may be, and what is cut first.

A line of up to PIPE_BUF bytes goes into a pipe whole, however many processes share it (`pipe(7)`). Only paths
may make a line longer than that, and they only so far.
"""

from bisect import bisect_right
from collections.abc import Callable

from watcher.sinks.formats import json_line
from watcher.sinks.line import Fields
from watcher.sinks.text import cleaned, exact, is_clean

USUAL = 4_096
"""Bytes of a line, its newline included, where its paths allow."""
LONGEST = 16_384
"""Bytes of a line, its newline included, whatever its paths."""

_TEXTS = (
    "message",
    "hint",
    "changed",
    "polled",
    "occupied_by",
    "lock_host",
    "other_session_id",
    "session_id",
    "reason",
    "backend",
    "version",
    "hostname",
)
_PATHS = ("workspace", "lock_path", "other_worker", "worker")
_LONGEST_TEXT = dict.fromkeys(_TEXTS, USUAL) | dict.fromkeys(_PATHS, LONGEST)
_LONGEST_HEX = 8_192
_FLOOR = 96
_MARK = len(',"truncated":true')
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def clean(fields: Fields) -> Fields:
    """Make every text one that can be written, with the exact bytes of a worker that is not UTF-8 beside it.

    What could not be kept in any case is cut here already, so that nothing after this handles megabytes.
    """
    worker = fields.get("worker", "")
    if isinstance(worker, str) and not is_clean(worker):
        digits = exact(worker)
        if 0 < len(digits) <= _LONGEST_HEX:
            fields["worker_hex"] = digits
    for name, longest in _LONGEST_TEXT.items():
        text = fields.get(name, "")
        if isinstance(text, str) and len(text) > longest:
            fields[name] = text[:longest] + _ELLIPSIS
            fields["truncated"] = True
    for name, text in fields.items():
        if isinstance(text, str) and not is_clean(text):
            fields[name] = cleaned(text)
    return fields


def fit(fields: Fields, size: Callable[[Fields], int]) -> Fields:
    """Cut texts until the line is short enough: the message first, then the others, paths last, `worker` at last.

    `size` tells how many bytes a line with these fields takes.
    """
    for names, limit in (_TEXTS, USUAL), (_PATHS, LONGEST):
        for name in names:
            excess = size(fields) - limit + ("truncated" not in fields) * _MARK
            if excess <= 0:
                break
            text = fields.get(name, "")
            if isinstance(text, str) and _cost(text) > _FLOOR:
                fields[name] = _shortened(text, excess)
                fields["truncated"] = True
    return fields


def _shortened(text: str, excess: int) -> str:
    """Cut a text so that it takes `excess` bytes less, or as many as leave it recognisable."""
    room = max(_cost(text) - excess, _FLOOR) - _cost(_ELLIPSIS)
    kept = bisect_right(range(len(text) + 1), room, key=lambda length: _cost(text[:length])) - 1
    return text[:kept] + _ELLIPSIS


def _cost(text: str) -> int:
    """Say how many bytes a text takes in JSON; no format needs more."""
    return len(json_line({"": text}))
