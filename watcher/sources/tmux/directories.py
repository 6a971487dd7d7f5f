"""The directories in which tmux sockets appear, watched by inotify(7): a new server is a new socket."""

import asyncio
import contextlib
import os
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from watcher.sources.tmux.server import TmuxOptions
from watcher.sources.tmux.servers import named_sockets, socket_directories

if sys.platform == "linux":
    from inotify_simple import INotify, flags  # type: ignore[import-untyped] # it ships no types

_REST = 0.02
_BUFFER = 1 << 16


class SocketDirectories:
    """Calls `changed` when a socket may have come or gone where tmux puts them, or where one has been before.

    A directory that is not there yet is seen to come by its parent. That, and the directory of one socket, may be
    busy ones (/tmp): there only the names that matter count, and the others are read at most 50 times a second.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, options: TmuxOptions, changed: Callable[[], None]) -> None:
        """Watch nothing yet."""
        self._loop = loop
        self._options = options
        self._changed = changed
        self._names: frozenset[bytes] = frozenset()
        self._rest: asyncio.TimerHandle | None = None
        self._quiet: _Directories | None = None
        self._busy: _Directories | None = None
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                self._quiet, self._busy = _Directories(), _Directories()
                loop.add_reader(self._quiet.fileno(), self._read_quiet)
                loop.add_reader(self._busy.fileno(), self._read_busy)

    def watch(self, uids: Iterable[int], sockets: Iterable[str]) -> None:
        """Watch for the servers of `uids`, and for servers on `sockets`; to be repeated, since directories come and go.

        Never raises: what cannot be watched is left to the slow look.
        """
        if self._quiet is None or self._busy is None:
            return
        wanted = {Path(socket) for socket in sockets}
        directories: set[Path] = set()
        for uid in uids:
            if self._options.sockets or self._options.socket_names:
                wanted.update(map(Path, named_sockets(self._options, uid)))
            else:
                directories.update(socket_directories(uid))
        placed = self._quiet.keep(directories)
        wanted = {path for path in wanted if path.parent not in placed} | (directories - placed)
        self._names = frozenset(os.fsencode(path.name) for path in wanted)
        self._busy.keep({path.parent for path in wanted})

    def close(self) -> None:
        """Watch nothing any more."""
        if self._rest is not None:
            self._rest.cancel()
        for directories in (self._quiet, self._busy):
            if directories is not None:
                self._loop.remove_reader(directories.fileno())
                directories.close()
        self._quiet = self._busy = None

    def _read_quiet(self) -> None:
        if self._quiet is not None and self._quiet.events():
            self._changed()

    def _read_busy(self) -> None:
        if self._busy is None:
            return
        events = self._busy.events()
        if _OVERFLOW in events or any(name in events for name in self._names):
            self._changed()
        else:
            self._loop.remove_reader(self._busy.fileno())
            self._rest = self._loop.call_later(_REST, self._resume)

    def _resume(self) -> None:
        if self._busy is not None:
            self._loop.add_reader(self._busy.fileno(), self._read_busy)


if sys.platform == "linux":
    _MASK = flags.CREATE | flags.MOVED_TO | flags.DELETE | flags.MOVED_FROM | flags.DELETE_SELF | flags.MOVE_SELF
    _OVERFLOW = struct.pack("iI", -1, flags.Q_OVERFLOW)

    class _Directories:
        """One inotify instance, and the directories that it has."""

        def __init__(self) -> None:
            self._inotify = INotify(nonblocking=True)
            self._watches: dict[Path, int] = {}

        def fileno(self) -> int:
            return int(self._inotify.fileno())

        def keep(self, directories: set[Path]) -> set[Path]:
            """Watch these and no others; return those that are watched. Placing a watch again costs nothing."""
            for directory in self._watches.keys() - directories:
                with contextlib.suppress(OSError):  # it went with the directory
                    self._inotify.rm_watch(self._watches[directory])
            self._watches = {}
            for directory in directories:
                with contextlib.suppress(OSError):
                    self._watches[directory] = self._inotify.add_watch(directory, _MASK | flags.ONLYDIR)
            return set(self._watches)

        def events(self) -> bytes:
            """Take what has come, as the kernel wrote it: to look for a name, no event need be taken apart."""
            try:
                return os.read(self.fileno(), _BUFFER)
            except BlockingIOError:
                return b""

        def close(self) -> None:
            self._inotify.close()
