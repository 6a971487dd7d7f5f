"""What the observer's thread leaves for the loop: which locks to look at, one entry a lock."""

import asyncio
import threading
from collections.abc import Callable, Iterable


class Inbox:
    """Workers whose locks are to be looked at, in the order in which they were first named.

    Any thread puts, the loop takes. Bounded by the number of workers: a lock that is rewritten ten thousand
    times a second is one entry. That a deletion came in between is remembered, for it is evidence.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._loop = loop
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting: dict[str, bool] = {}
        self._woken = False

    def put(self, workers: Iterable[str], *, deleted: bool = False) -> None:
        """Have the locks of `workers` looked at; `deleted`: they were seen to go, which they may have undone."""
        with self._lock:
            for worker in workers:
                self._waiting[worker] = self._waiting.get(worker, False) or deleted
            if self._woken or not self._waiting:
                return
            self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            return  # the loop has ended, and nobody will look any more

    def take(self, most: int) -> list[tuple[str, bool]]:
        """Take the first `most` entries: the worker, and whether a deletion came in between."""
        with self._lock:
            workers = [worker for worker, _ in zip(self._waiting, range(most), strict=False)]
            taken = [(worker, self._waiting.pop(worker)) for worker in workers]
            self._woken = bool(self._waiting)
            if self._woken:
                self._loop.call_soon(self._wake)
        return taken
