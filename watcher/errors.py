"""Errors that end a command: each is one line for a person, and an exit code."""


class LockwardenError(Exception):
    """Something that the person at the keyboard can put right; never shown with a traceback.

    The text is one line, lower case: the thing, the place, the way out.
    """

    exit_code = 4


class UsageError(LockwardenError):
    """A command line, an environment variable or a config file that says what cannot be done (exit 2)."""

    exit_code = 2


class JobError(LockwardenError):
    """The job could not be done: no readable workspace, another watcher there already, ... (exit 4)."""


def one_line(text: object) -> str:
    """Give `text` as one line that no terminal can be fooled by: what is not printable is escaped.

    Paths and values come from elsewhere, and may hold newlines, escape sequences or bytes that are not UTF-8.
    """
    return "".join(c if c.isprintable() else _spelled(c) for c in str(text))


def _spelled(c: str) -> str:
    r"""Spell a character; a byte that is not UTF-8 (PEP 383) as `\xNN`, as the log does."""
    return f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else c.encode("unicode_escape").decode("ascii")
