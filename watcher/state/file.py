"""The state file on disk: appended to, rewritten when it has grown, never half-written."""

import errno
import os
from collections.abc import Iterable
from contextlib import suppress

from watcher.state.place import Place
from watcher.state.reading import STATE_NAME

_TEMPORARY = f"{STATE_NAME}.tmp"
_SMALL = 1 << 20
_GROWTH = 3
_CHUNK = 1 << 16

_datasync = getattr(os, "fdatasync", os.fsync)


class StateFile:
    """One state file. `append` and `swap` must not run at the same time; the rest belongs to one thread.

    A rewrite goes `fork`, `fill`, `swap`: what is appended from the fork on goes to both, so that the old file
    and the new one are each whole at any moment.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._descriptor = -1
        self._size = 0
        self._least = 0
        self._tail: list[bytes] | None = None
        self._next = -1
        self.is_broken = True

    @property
    def wants_rewrite(self) -> bool:
        """Whether the file lacks something, or is much longer than it has to be."""
        return self.is_broken or self._size > max(_SMALL, _GROWTH * self._least)

    def append(self, data: bytes) -> None:
        """Add whole lines, or none: where that fails the file is broken until it is rewritten."""
        if self._tail is not None:
            self._tail.append(data)
        if self.is_broken:
            return
        try:
            _write_all(self._descriptor, data)
        except OSError:
            # What went out in part is at the end, where it counts for nothing.
            self.is_broken = True
        else:
            self._size += len(data)

    def sync(self) -> None:
        """Make durable what was appended; notice that somebody has removed the file. Raises OSError."""
        try:
            _datasync(self._descriptor)
        except OSError:
            # What did not reach the disk is not tried again by the kernel (fsync(2)).
            self.is_broken = True
            raise
        if not os.fstat(self._descriptor).st_nlink:
            self.is_broken = True

    def fork(self) -> None:
        """Keep what is appended from now on for the new file as well."""
        self._tail = []

    def fill(self, lines: Iterable[bytes]) -> None:
        """Write the new file's lines and make them durable. Raises OSError."""
        self._next = self._place.create_file(_TEMPORARY)
        self._least = 0
        chunk = bytearray()
        for line in lines:
            chunk += line
            if len(chunk) >= _CHUNK:
                self._least += _write_all(self._next, chunk)
                chunk = bytearray()
        self._least += _write_all(self._next, chunk)
        os.fsync(self._next)

    def swap(self) -> bool:
        """Put the new file in the place of the old one; say whether some of it is not durable. Raises OSError."""
        tail = _write_all(self._next, b"".join(self._tail or ()))
        self._place.rename(_TEMPORARY, STATE_NAME)
        self._descriptor, self._next = self._next, self._descriptor
        self._size = self._least + tail
        self._tail = None
        self.is_broken = False
        return tail > 0

    def settle(self) -> None:
        """End a rewrite: make the new name durable, let go of the old file. Raises OSError."""
        self._let_go()
        self._place.sync()

    def abandon(self) -> None:
        """End a rewrite that failed: the old file, if there is one, goes on."""
        self._tail = None
        self._let_go()
        with suppress(OSError):
            self._place.remove(_TEMPORARY)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
        self.is_broken = True

    def _let_go(self) -> None:
        if self._next >= 0:
            os.close(self._next)
        self._next = -1


def _write_all(descriptor: int, data: bytes | bytearray) -> int:
    """Write all of it; on a full disk a write may end short before the next one says why."""
    written = 0
    with memoryview(data) as view:
        while written < len(view):
            count = os.write(descriptor, view[written:])
            if not count:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            written += count
    return written
