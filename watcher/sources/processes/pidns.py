"""Processes in the PID namespaces below ours: there, a number that is free here may be a living process.

A lock written inside a container or a sandbox (bubblewrap keeps the hostname) records the number that its
writer has in there. Where our own look says "no such pid", one of these processes may be meant, and that is
evidence enough not to call the owner dead. What cannot be seen from here is a namespace beside or above
ours: a watcher in a container of its own must share the PID namespace of the agents.
"""

import time

from watcher.sources.processes import proctable

_FRESH = 0.05
"""Seconds for which one listing of /proc serves: a start-up asks for thousands of dead pids at once."""


class InnerPids:
    """The numbers that processes below our PID namespace have in their own.

    A process never changes its numbers, so each is read once. The first question costs about 5 us a process
    of the machine, later ones a listing of /proc (25 us for 80 processes).
    """

    def __init__(self) -> None:
        self._inner: dict[int, int] = {}
        self._ours: set[int] = set()
        self._listed_at = float("-inf")

    def oldest(self, number: int) -> float | None:
        """Say when the oldest living process with that number inside started, in seconds since boot.

        None where there is none. Raises OSError where the process table could not be read.
        """
        self._list()
        rows = [proctable.read_row(pid) for pid, inner in self._inner.items() if inner == number]
        return min((row.started for row in rows if row is not None and not row.ended), default=None)

    def _list(self) -> None:
        now = time.monotonic()
        if now - self._listed_at < _FRESH:
            return
        there = set(proctable.pids())
        ours = self._ours & there
        inner = {pid: number for pid, number in self._inner.items() if pid in there}
        for pid in there - ours - inner.keys():
            numbers = proctable.namespace_numbers(pid)
            if len(numbers) > 1:
                inner[pid] = numbers[-1]
            else:
                ours.add(pid)
        self._ours, self._inner, self._listed_at = ours, inner, now  # whole, for other threads ask too
