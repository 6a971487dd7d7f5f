"""What only a process's own memory tells: its command line, its environment. Read in a thread of their own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from watcher.sources.processes.environment import tmux_socket_of
from watcher.sources.processes.watch import describe

_MOST_WAITING = 1000
"""Processes that may wait to be read. Beyond that, alerts go without a name: it is a courtesy."""


class Owners:
    """Reads the living processes that locks name. Belongs to the loop.

    `found` is called with the pid and the tmux socket of each process whose environment names one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, found: Callable[[int, str], None]) -> None:
        self._loop = loop
        self._found = found
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="owners")
        self._names: dict[int, str] = {}
        self._waiting: set[int] = set()

    def note(self, pid: int) -> None:
        """Have the process with `pid` read, unless it is known."""
        if pid in self._names or pid in self._waiting or len(self._waiting) >= _MOST_WAITING:
            return
        self._waiting.add(pid)
        reading = self._loop.run_in_executor(self._thread, _read, pid)
        reading.add_done_callback(lambda done: self._take(pid, *done.result()) if not done.cancelled() else None)

    def name(self, pid: int) -> str:
        """Name the process with `pid`, empty where that is not known (yet)."""
        return self._names.get(pid, "")

    def drop(self, pid: int) -> None:
        """Forget `pid`: it may be another process's soon."""
        self._names.pop(pid, None)
        self._waiting.discard(pid)

    def close(self) -> None:
        """Read no more; what is being read is left behind."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _take(self, pid: int, tmux_socket: str, name: str) -> None:
        if pid in self._waiting:
            self._waiting.discard(pid)
            self._names[pid] = name
            if tmux_socket:
                self._found(pid, tmux_socket)


def _read(pid: int) -> tuple[str, str]:
    tmux_socket = tmux_socket_of(pid)
    name = ""
    with suppress(Exception):  # a name is a courtesy, whatever the process did to its command line
        name = describe(pid)
    return tmux_socket, name
