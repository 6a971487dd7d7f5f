"""The ends of processes as macOS and the BSDs announce them: NOTE_EXIT (kqueue(2))."""

import contextlib
import select
import sys

from rules.model import Liveness
from watcher.sources.processes.sighting import Sighting, look, names_process

if sys.platform == "linux" or sys.platform == "win32":
    raise ImportError("there is no kqueue here")


class KqueueNotifier:
    """One kqueue with a NOTE_EXIT filter for each process (kqueue(2))."""

    def __init__(self) -> None:
        self._kqueue = select.kqueue()
        self._pids: set[int] = set()

    def fileno(self) -> int:
        """Return the kqueue's descriptor."""
        return self._kqueue.fileno()

    def take(self, pid: int) -> tuple[Sighting, bool]:
        """Hold `pid`, then look at it: in this order no end goes unseen."""
        if names_process(pid):
            with contextlib.suppress(OSError):  # ESRCH; the look will tell
                self._change(pid, select.KQ_EV_ADD | select.KQ_EV_ONESHOT)
                self._pids.add(pid)
        sighting = look(pid)
        if sighting.state is not Liveness.ALIVE:
            self.release(pid)
        return sighting, pid in self._pids

    def release(self, pid: int) -> None:
        """Remove the filter of `pid`."""
        if pid in self._pids:
            self._pids.remove(pid)
            with contextlib.suppress(OSError):  # it has ended, and its filter with it
                self._change(pid, select.KQ_EV_DELETE)

    def ended(self) -> list[int]:
        """Return who has ended."""
        pids = [event.ident for event in self._kqueue.control(None, 256, 0) if event.ident in self._pids]
        self._pids.difference_update(pids)
        return pids

    def close(self) -> None:
        """Close the kqueue, and every filter with it."""
        self._pids.clear()
        self._kqueue.close()

    def _change(self, pid: int, flags: int) -> None:
        event = select.kevent(pid, select.KQ_FILTER_PROC, flags, select.KQ_NOTE_EXIT)
        self._kqueue.control([event], 0)
