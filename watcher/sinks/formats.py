"""The formats for machines. Each takes the fields of a line, and gives the line without its newline.

structlog's own logfmt is not used: it leaves control characters raw, and a backslash in it may mean two things.
"""

import json
import re
from collections.abc import Callable

from watcher.sinks.line import Fields, Value

Format = Callable[[Fields], str]

_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode
_BARE = re.compile(r"[A-Za-z0-9_./:;%@+,~^$*?!#&()<>|-]+")


def json_line(value: object) -> str:
    r"""Write JSON in printable ASCII: whatever else there is, control characters and DEL too, becomes `\u` escapes."""
    return _encode(value)


def logfmt_line(fields: Fields) -> str:
    """Write `key=value` pairs; a value that is not one plain word stands in quotes, as a JSON string."""
    return " ".join(f"{name}={_word(value)}" for name, value in fields.items())


def _word(value: Value) -> str:
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) else json_line(value)
    return json_line(value)
