"""Lines to a file of our own, which somebody else may rotate, fill up or take away."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from watcher.sinks.line import Line

_MODE = 0o640
_FLAGS = (
    os.O_RDWR
    | os.O_APPEND
    | os.O_CREAT
    # A link, a FIFO or a terminal under the file's name must neither be followed, nor hang us, nor become ours.
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


class FileSink:
    """Appends lines to the file at `path`, which is created with mode 0640 where it is not there.

    The path is looked at before each line, so a rename by a rotator is followed without being told; after a
    truncation O_APPEND goes on at the new end by itself. A line that went out in part is completed where its
    first half lies, or written anew where that half is gone.
    """

    def __init__(self, path: Path, render: Callable[[Line], bytes]) -> None:
        self.name = str(path)
        self._path = path
        self._render = render
        self._fd = -1
        self._rest = b""
        self._end = 0
        self._torn = False
        self._reopen = False

    def open(self) -> None:
        """Open the file now, to learn whether it can be.

        Raises:
            OSError: it cannot, or it must not: a symbolic link, not a regular file, a file with another name
                elsewhere, or one that another user planted. The text says which.
        """
        try:
            fd = os.open(self._path, _FLAGS, _MODE)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise self._refusal("is a symbolic link") from error
            raise
        try:
            self._check(os.fstat(fd))
            size = os.fstat(fd).st_size
            self._torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        self._reopen = False

    def offer(self, line: Line) -> bool:  # noqa: ARG002 - the protocol's
        """Leave it to the thread: any write to a file may wait for its disk."""
        return False

    def write(self, line: Line) -> None:
        """Append the line, or what is left of it."""
        if self._fd >= 0 and (self._reopen or self._is_elsewhere()):
            completed = self._complete()
            self.close()
            if completed:
                return
        if self._fd < 0:
            self.open()
        if self._rest and os.fstat(self._fd).st_size < self._end:
            self._rest = b""
        if not self._rest:
            self._rest = b"\n" * self._torn + self._render(line)
        self._append()

    def reopen(self) -> None:
        """Open the file anew before the next line."""
        self._reopen = True

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._rest, self._torn = -1, b"", False

    def _append(self) -> None:
        while self._rest:
            try:
                written = os.write(self._fd, self._rest)
            except OSError:
                self._end = os.lseek(self._fd, 0, os.SEEK_CUR)
                raise
            self._rest = self._rest[written:]
        self._torn = False

    def _complete(self) -> bool:
        """Finish a line that was begun in the file as it was; say whether there was one, and it is whole now."""
        try:
            found = os.fstat(self._fd)
            if not self._rest or not found.st_nlink or found.st_size < self._end:
                return False
            self._append()
        except OSError:
            return False
        return True

    def _is_elsewhere(self) -> bool:
        """Say whether the path names another file by now, or none."""
        try:
            return not os.path.samestat(os.lstat(self._path), os.fstat(self._fd))
        except PermissionError:
            return False
        except OSError:
            return True

    def _check(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise self._refusal("is not a regular file")
        if found.st_nlink > 1:
            raise self._refusal("has another name elsewhere (a hard link)")
        if self._is_planted(found):
            raise self._refusal("belongs to another user, in a directory that anybody may write")

    def _is_planted(self, found: os.stat_result) -> bool:
        parent = self._path.parent.stat()
        ours = {os.geteuid(), 0, parent.st_uid} if hasattr(os, "geteuid") else {found.st_uid}
        return bool(parent.st_mode & stat.S_IWOTH) and found.st_uid not in ours

    def _refusal(self, reason: str) -> OSError:
        return OSError(errno.EPERM, reason, self.name)
