"""JSON as Go's encoding/json reads and writes it, as far as a lock file needs.

Nothing is converted before its field is known: members come as the bytes that were written. A million digits
under an unknown key cost nothing, and a time with a backslash in it can be told from one without, which Go
refuses. The rules were read in Go 1.24: encoding/json's scanner.go, decode.go, encode.go and fold.go.
"""

import json
import re
from collections.abc import Iterator
from typing import NoReturn

_SPACE = rb"[ \t\n\r]*"
_STRING = rb'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"'
_NUMBER = rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"

_NULL = re.compile(_SPACE + rb"null" + _SPACE)
_OPENING = re.compile(_SPACE + rb"\{" + _SPACE + rb"(\})?")
_MEMBER = re.compile(
    rb"(%b)%b:%b(%b|%b|true|false|null|[\[{])" % (_STRING, _SPACE, _SPACE, _STRING, _NUMBER),
)
_AFTER_MEMBER = re.compile(_SPACE + rb"(?:,|(\}))" + _SPACE)

# The letters of other alphabets that Go's folding takes for ASCII ones: long s and the Kelvin sign, no more.
_FOLD = {ord(upper): upper.lower() for upper in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"} | {0x17F: "s", 0x212A: "k"}

_SURROGATE = re.compile("[\ud800-\udfff]")

# Go escapes what could end a script or a line in a browser. `\b` and `\f` are written so since Go 1.22.
_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(0x20), *b"<>&", 0x2028, 0x2029)} | {
    ord(character): f"\\{letter}" for character, letter in zip('"\\\b\f\n\r\t', '"\\bfnrt', strict=True)
}


def members(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each member of a JSON object, in order and with duplicates: its key and its value as written.

    An array or an object as a value is checked and comes as its first byte alone. `null` has no members: Go
    leaves the struct as it was.

    Raises:
        ValueError: the data is not one JSON object; the text is one short clause without any of the data.
    """
    if _NULL.fullmatch(data):
        return
    opening = _OPENING.match(data)
    if opening is None:
        raise ValueError("not a JSON object" if data.strip(b" \t\n\r") else "empty")
    # In Latin-1 a character is a byte, so offsets agree between the two.
    text = data.decode("latin-1")
    at, closed = opening.end(), opening[1]
    while not closed:
        member = _MEMBER.match(data, at)
        if member is None:
            raise ValueError(_not_json(at))
        key, value = member.groups()
        at = _end_of_nested(text, member.end() - 1) if value in {b"[", b"{"} else member.end()
        yield key, value
        after = _AFTER_MEMBER.match(data, at)
        if after is None:
            raise ValueError(_not_json(at))
        at, closed = after.end(), after[1]
    if data[at:].strip(b" \t\n\r"):
        raise ValueError(f"data after the JSON object at byte {at}")


def field_name(key: bytes) -> str:
    """Return a key folded as Go folds it to find a field without regard to case."""
    return unquote(key).translate(_FOLD)


def unquote(literal: bytes) -> str:
    r"""Return the text of a string literal that `members` yielded.

    Each byte that is not part of valid UTF-8, and each escaped surrogate without its pair, becomes U+FFFD.
    """
    # The surrogateescape handler maps byte by byte, as Go does; "replace" would join several into one U+FFFD.
    text = literal.decode("utf-8", "surrogateescape")
    text = json.loads(text) if b"\\" in literal else text[1:-1]
    return _SURROGATE.sub("\ufffd", text)


def quote(text: str) -> str:
    """Return the string literal that Go writes; a surrogate stands for a byte that is not UTF-8."""
    return '"' + _SURROGATE.sub(r"\\ufffd", text.translate(_ESCAPES)) + '"'


def _not_json(at: int) -> str:
    return f"not JSON at byte {at}"


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


# Only checks: `len` in place of a conversion keeps long numbers cheap.
_CHECKER = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=_refuse)


def _end_of_nested(text: str, at: int) -> int:
    """Return the offset behind the array or object at `at`. Go stops at a depth of 10,000, Python well before."""
    try:
        return _CHECKER.raw_decode(text, at)[1]
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError:
        raise ValueError(_not_json(at)) from None
