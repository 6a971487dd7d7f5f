"""The pseudo-terminals of this system: each tmux pane has one, which comes and goes with the pane.

A tmux server holds the master side of each pane's terminal. The kernel makes `/dev/pts/N` when a server opens one and
removes it when the server closes it, whatever becomes of the programs in the pane, and tells inotify(7) of both
(devpts_pty_new and devpts_pty_kill, fs/devpts/inode.c). So one watch tells of the panes of all servers, and no server
knows of it.

Not a control client (`tmux -C`), attached or not, though tmux would tell it more: up to tmux 3.7 a server with one
crashes, and takes all agents with it. It does so when a session changes before the client has introduced itself whole,
or the client ends then (tmux pull requests 4980, 5004); and at any time when the current window of a session, or the
active pane of a window, changes and all of it ends in one turn (tmux issue 5243): killing the agent in two panes does.
"""

import asyncio
import contextlib
import itertools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

if sys.platform == "linux":
    from inotify_simple import INotify, flags  # type: ignore[import-untyped] # it ships no types

_DIRECTORY = "/dev/pts"
_MOST_MOUNTS = 100_000


@dataclass(frozen=True, slots=True)
class TerminalChanges:
    """`gone` are paths of terminals, `owners` the users of those that came. `lost`: there were more, untold."""

    gone: frozenset[str] = frozenset()
    owners: frozenset[int] = frozenset()
    lost: bool = False


class Terminals:
    """Calls `changed` when pseudo-terminals come or go. Sees none where there is no devpts or no inotify."""

    def __init__(self, loop: asyncio.AbstractEventLoop, changed: Callable[[TerminalChanges], None]) -> None:
        """Watch from now on."""
        self._loop = loop
        self._changed = changed
        self._devpts = _devpts_of("self")
        self._inotify: Any = None
        if sys.platform == "linux" and self._devpts:
            with contextlib.suppress(OSError):
                self._inotify = INotify(nonblocking=True)
                self._inotify.add_watch(_DIRECTORY, flags.CREATE | flags.DELETE | flags.ONLYDIR)
                loop.add_reader(self._inotify.fileno(), self._read)
                return
        self._devpts = ""
        self.close()

    def tell_of(self, pid: int) -> bool:
        """Whether the terminals of a process are among those seen: not if its /dev/pts is another (a container).

        By proc_pid_mountinfo(5), so that nothing in the name space of a stranger is walked.
        """
        return bool(self._devpts) and pid > 0 and _devpts_of(str(pid)) == self._devpts

    def close(self) -> None:
        """Watch no more; nothing is called any more."""
        if self._inotify is not None:
            self._loop.remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None

    def _read(self) -> None:
        gone, owners, lost = set(), set(), False
        for event in self._inotify.read(timeout=0):
            path = f"{_DIRECTORY}/{event.name}"
            if event.mask & flags.DELETE:
                gone.add(path)
            elif event.mask & flags.CREATE:
                with contextlib.suppress(OSError):  # it has gone again, which is told too
                    owners.add(os.lstat(path).st_uid)
            else:
                lost = True
        self._changed(TerminalChanges(frozenset(gone), frozenset(owners), lost))


def _devpts_of(process: str) -> str:
    """Return the device that is mounted on /dev/pts for a process, empty where that cannot be told."""
    device = ""
    with contextlib.suppress(OSError), open(f"/proc/{process}/mountinfo", "rb") as table:  # noqa: PTH123 - a path is made for nothing
        for line in itertools.islice(table, _MOST_MOUNTS):
            fields = line.split(b" ", 5)
            if fields[4] == _DIRECTORY.encode():
                device = fields[2].decode()  # the last is on top
    return device
