"""The processes in the panes that locks name: their end is told by pidfds, since tmux tells nobody.

Where terminals are seen they tell it too, when tmux has let go of the pane; these tell it everywhere else.
"""

import asyncio
import os
from collections.abc import Callable, Iterable

from watcher.events import Sessions


class PanePidfds:
    """Calls `ended` when the process in a pane that is wanted ends."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ended: Callable[[], None]) -> None:
        """Watch nothing yet."""
        self._loop = loop
        self._ended = ended
        self._wanted: set[str] = set()
        self._watched: dict[str, tuple[int, int]] = {}

    def want(self, panes: Iterable[str]) -> None:
        """Watch these too, from the next `follow` on."""
        self._wanted.update(panes)

    def drop(self, panes: Iterable[str]) -> None:
        """Watch these no more."""
        for pane in panes:
            self._wanted.discard(pane)
            self._forget(pane)

    def follow(self, answer: Sessions) -> bool:
        """Watch the processes that `answer` tells of; whether a wanted pane that lives is left without a watch.

        That is one whose process has ended, which tmux has not noticed yet; or there is no descriptor left, or no
        pidfd in this system. It has to be looked at again.
        """
        living = {pane.pane: pane.pid for pane in answer.panes if not pane.dead and pane.pane in self._wanted}
        for pane in self._watched.keys() - living.keys():
            self._forget(pane)
        for pane, pid in living.items():
            if self._watched.get(pane, (0, -1))[0] != pid:
                self._forget(pane)
                self._watch(pane, pid)
        return any(self._watched[pane][1] < 0 for pane in living)

    def close(self) -> None:
        """Watch nothing any more."""
        self._wanted.clear()
        for pane in list(self._watched):
            self._forget(pane)

    def _watch(self, pane: str, pid: int) -> None:
        descriptor = open_pidfd(pid)
        self._watched[pane] = pid, descriptor
        if descriptor >= 0:
            self._loop.add_reader(descriptor, self._exited, pane)

    def _exited(self, pane: str) -> None:
        pid = self._watched[pane][0]
        self._forget(pane)
        self._watched[pane] = pid, -1
        self._ended()

    def _forget(self, pane: str) -> None:
        _, descriptor = self._watched.pop(pane, (0, -1))
        if descriptor >= 0:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)


def open_pidfd(pid: int) -> int:
    """A pidfd (pidfd_open(2)) of `pid`, -1 where there is none to be had."""
    if pid <= 0 or not hasattr(os, "pidfd_open"):
        return -1
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1
