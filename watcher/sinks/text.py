r"""Text that any reader can take: what a file name may hold, and UTF-8 may not, is spelled out.

In memory a byte that is not UTF-8 is a lone surrogate (`os.fsdecode`, PEP 383). No strict JSON reader takes
one, so each byte is written as `\xNN`. That is not unambiguous, as a name may hold these four characters
itself: `exact` is.
"""

import re

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_BYTES = range(0xDC80, 0xDD00)


def is_clean(text: str) -> bool:
    """Say whether a text can be written as UTF-8 as it is."""
    return text.isascii() or _SURROGATE.search(text) is None


def cleaned(text: str) -> str:
    r"""Write bytes that are not UTF-8 as `\xNN`, and any other lone surrogate as U+FFFD."""
    return _SURROGATE.sub(_spelled, text)


def exact(text: str) -> str:
    """Give the bytes of a file name in hexadecimal; empty for a text that no file name decodes to."""
    try:
        return text.encode("utf-8", "surrogateescape").hex()
    except UnicodeEncodeError:
        return ""


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if code in _ESCAPED_BYTES else "\N{REPLACEMENT CHARACTER}"
