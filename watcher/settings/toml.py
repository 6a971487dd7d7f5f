"""The little of TOML that tomllib leaves out: writing a value, and finding the line of a key."""

import tomllib
from bisect import bisect_left
from collections.abc import Sequence

_ASTRAL = 0x10000


def quote(value: object) -> str:
    """Write one value on one line; in a string, all that a terminal would act on is escaped."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{"".join(map(_escape, value))}"'
        case list() | tuple():
            return f"[{', '.join(map(quote, value))}]"
        case dict():
            return f"{{{', '.join(f'{quote(key)} = {quote(part)}' for key, part in value.items())}}}"
        case _:
            return str(value)


def _escape(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < _ASTRAL else f"\\U{ord(char):08x}"


def line_of(text: str, path: Sequence[str]) -> int:
    """Give the line, from 1, on which the key at `path` is set in a document that is known to have it.

    tomllib keeps no positions; but the key is set on the first line without which the document lacks it.
    """
    lines = text.split("\n")
    return bisect_left(range(len(lines)), True, key=lambda count: _has(lines, count, path))  # noqa: FBT003 - the value sought


def _has(lines: Sequence[str], count: int, path: Sequence[str]) -> bool:
    """Say whether the first `count` lines, and as many more as the last value of them takes, set the key."""
    for end in range(count, len(lines) + 1):
        try:
            node: object = tomllib.loads("\n".join(lines[:end]))
        except ValueError:
            continue
        for part in path:
            if not isinstance(node, dict) or part not in node:
                return False
            node = node[part]
        return True
    return True
