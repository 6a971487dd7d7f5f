"""The lines of a log that another program writes, and a third rotates or truncates, while it is read."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

LONGEST = 65_536
"""Bytes of a line; what goes beyond is cut. A line of ours has at most a quarter of that."""

_CHUNK = 65_536
_REMEMBERED = 4_096
"""Bytes by which what was read is known again: in a log of ours, no two stretches of that length are equal."""


class Lines:
    """Cuts a stream of bytes into lines at its newlines, and nowhere else; holds at most `LONGEST` of one.

    What is not UTF-8 is spelled out.
    """

    def __init__(self) -> None:
        self._half = bytearray()
        self._is_cut = False

    def feed(self, data: bytes) -> list[str]:
        """Take in some bytes, and give the lines that they end."""
        *ends, half = data.split(b"\n")
        lines = []
        for end in ends:
            self._add(end)
            lines.append(self._end())
        self._add(half)
        return lines

    def rest(self) -> list[str]:
        """Give the line that was begun, if any, since no more of it will come."""
        return [self._end()] if self._half else []

    def _add(self, data: bytes) -> None:
        if not self._half:
            # Who does not append leaves a hole when his file is truncated: he goes on where he was.
            data = data.lstrip(b"\0")
        room = LONGEST - len(self._half)
        self._half += data[:room]
        self._is_cut |= len(data) > room

    def _end(self) -> str:
        line = self._half.decode("utf-8", "backslashreplace") + "\N{HORIZONTAL ELLIPSIS}" * self._is_cut
        self._half.clear()
        self._is_cut = False
        return line


def read(fd: int) -> Iterator[list[str]]:
    """Read the lines of a file or a pipe to its end, as many at a time as there are.

    Raises:
        OSError: it cannot be read.
    """
    lines = Lines()
    while data := os.read(fd, _CHUNK):
        yield lines.feed(data)
    yield lines.rest()


def follow(path: str, pause: Callable[[], None], tell: Callable[[str], None]) -> Iterator[list[str]]:
    """Read the lines of the file at `path`, then what is added to it, for ever; `pause` is called in between.

    A file that was truncated is read from its beginning. One that was renamed is read on until there is something in
    the file that has its name now: only then does its writer no longer write to it. Where there is no file,
    or none that can be opened, `tell` is told why, once, and one is waited for. So is the second half of a line.

    What is gone before it was looked at is missed: of two rotations within one pause, the file in the middle.

    Raises:
        OSError: a file that was opened cannot be read.
    """
    file, newer, told = None, None, ""
    try:
        while True:
            newer, trouble = _newer(path, file)
            if trouble not in ("", told):
                tell(trouble)
            told = trouble
            if file is not None:
                yield from file.added()
            if newer is None:
                pause()
                continue
            if file is not None:
                yield file.rest()
                file.close()
            file, newer = newer, None
    finally:
        for each in (file, newer):
            if each is not None:
                each.close()


class _File:
    """A file as far as it was read."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._offset = 0
        self._last = b""
        self._lines = Lines()

    def is_at(self, found: os.stat_result) -> bool:
        """Say whether it is this file that was found."""
        return os.path.samestat(found, os.fstat(self._fd))

    def added(self) -> Iterator[list[str]]:
        """Give the lines that were added since the last call."""
        # Its size does not tell that a file was truncated: it may have grown to the same since.
        if os.pread(self._fd, len(self._last), self._offset - len(self._last)) != self._last:
            yield self.rest()
            self._offset, self._last = 0, b""
        while data := os.pread(self._fd, _CHUNK, self._offset):
            self._offset += len(data)
            self._last = (self._last + data)[-_REMEMBERED:]
            yield self._lines.feed(data)

    def rest(self) -> list[str]:
        """Give the line that was begun, if any."""
        return self._lines.rest()

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


def _newer(path: str, file: _File | None) -> tuple[_File | None, str]:
    """Open the file that `path` names, where it is not `file` and has something in it; or say what is in the way."""
    try:
        found = Path(path).stat()
        if not found.st_size or (file is not None and file.is_at(found)):
            return None, ""
        if not stat.S_ISREG(found.st_mode):
            return None, "is not a regular file"
        return _File(os.open(path, os.O_RDONLY | os.O_CLOEXEC)), ""
    except OSError as error:
        return None, (error.strerror or str(error)).lower()
