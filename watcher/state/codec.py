"""JSON whose strings may hold what `os.fsdecode` makes of bytes that are not UTF-8.

Such bytes are written as lone surrogates. msgspec refuses those; the standard library does not.
"""

import json
from typing import NoReturn, TypeVar

import msgspec

_T = TypeVar("_T")


def to_json(value: msgspec.Struct) -> bytes:
    """Write one line, newline included."""
    try:
        return msgspec.json.encode(value) + b"\n"
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value), separators=(",", ":")).encode() + b"\n"


def from_json(data: bytes, decoder: msgspec.json.Decoder[_T]) -> _T:
    """Read what `to_json` wrote.

    Raises:
        ValueError: it is not JSON, or not of the decoder's type.
    """
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    try:
        return msgspec.convert(json.loads(data, parse_constant=_refuse), decoder.type)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
