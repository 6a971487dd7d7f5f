"""When a process started, by the wall clock that its lock was stamped with."""

import time
from collections.abc import Callable

_STEP = 1.0
"""Seconds by which the wall clock may be off from the boot clock before that counts as a step: well below
the 2 s by which a process may seem younger than its lock, above what a time daemon slews away in passing."""


def uptime() -> float:
    """Return seconds since boot, time asleep included where the system counts it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def boot_epoch() -> float:
    """Return the epoch time of boot, as the wall clock has it now.

    Exact to microseconds, where `btime` of /proc/stat is cut to whole seconds (and psutil's times with it).
    """
    return time.time() - uptime()


class StartClock:
    """Turns seconds since boot into epoch seconds, for as long as the wall clock can be trusted to agree.

    A lock's time is what the wall clock said when it was written. If the clock was stepped between the start
    of the process and the writing, the two cannot be compared: set back, it would make an owner seem younger
    than its own lock. So after a step, a process that started before it has no time any more. One that
    started after the step has: its lock bears the new time too, and an older lock is not its own. A step is
    noticed at the next question, so a process that started in between has none either.
    """

    def __init__(self, epoch: Callable[[], float] = boot_epoch, now: Callable[[], float] = uptime) -> None:
        self._epoch = epoch
        self._now = now
        self._reference = epoch()
        self._stepped = float("-inf")

    def started_at(self, started: float | None) -> float | None:
        """Return the epoch time of a start given in seconds since boot, None where it cannot be compared."""
        epoch = self._epoch()
        if abs(epoch - self._reference) > _STEP:
            self._reference = epoch
            self._stepped = self._now()
        return self._reference + started if started is not None and started > self._stepped else None
