"""The ends of processes as Linux announces them: a pidfd becomes readable (pidfd_open(2))."""

import os
import select
import sys
from functools import partial

from watcher.sources.processes.sighting import Sighting, look

if sys.platform != "linux":
    raise ImportError("pidfds are Linux's")

import resource

_RESERVE = 64
"""Descriptors left to the rest of the program: locks and logs are opened, tmux is asked."""


def have_pidfds() -> bool:
    """Say whether pidfds are to be had: not before Linux 5.3 (ENOSYS), nor in some sandboxes (EPERM)."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


class PidfdNotifier:
    """A pidfd for each process, all in one epoll: one reader in the loop, one event for many deaths."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._pidfds: dict[int, int] = {}
        self._pids: dict[int, int] = {}

    def fileno(self) -> int:
        """Return the epoll's descriptor."""
        return self._epoll.fileno()

    def take(self, pid: int) -> tuple[Sighting, bool]:
        """Look at `pid` and hold its pidfd, unless that would use up the last descriptors."""
        self.release(pid)
        sighting = look(pid, partial(self._keep, pid))
        return sighting, pid in self._pidfds

    def release(self, pid: int) -> None:
        """Close the pidfd of `pid`."""
        pidfd = self._pidfds.pop(pid, None)
        if pidfd is not None:
            del self._pids[pidfd]
            # Closing alone would not do while a child that is about to exec still has a copy.
            self._epoll.unregister(pidfd)
            os.close(pidfd)

    def ended(self) -> list[int]:
        """Return who has ended, each once: a pidfd stays readable."""
        pids = [self._pids[pidfd] for pidfd, _ in self._epoll.poll(0)]
        for pid in pids:
            self.release(pid)
        return pids

    def close(self) -> None:
        """Close every pidfd, then the epoll."""
        for pid in list(self._pidfds):
            self.release(pid)
        self._epoll.close()

    def _keep(self, pid: int, pidfd: int) -> bool:
        # Descriptors are given out lowest first: the number says how many there are.
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit != resource.RLIM_INFINITY and pidfd >= limit - min(_RESERVE, limit // 4):
            return False
        try:
            self._epoll.register(pidfd, select.EPOLLIN)
        except OSError:
            return False  # /proc/sys/fs/epoll/max_user_watches
        self._pidfds[pid] = pidfd
        self._pids[pidfd] = pid
        return True
