"""One look at one pid: the predicate that every other question about a process comes down to.

The order makes it free of races: take a pidfd, read /proc/PID/stat, then ask the pidfd whether its process
has ended or been reaped. If not, what was read is of that very process.
"""

import os
import select
import sys
from collections.abc import Callable
from dataclasses import dataclass
from errno import EINVAL, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSYS, ESRCH
from functools import cache

from rules.model import Liveness, ProcessIdentity
from watcher.sources.processes import proctable
from watcher.sources.processes.pidns import InnerPids

_PID_LIMIT = 2**31

_NO_PROCESS = frozenset({ESRCH, ENOENT, EINVAL})
"""What pidfd_open(2) says of a number that no process bears. The last two: it is a thread's id. Threads draw
their ids from the same numbers, so the process that once bore this one is gone all the same."""

_NO_ROOM = frozenset({EMFILE, ENFILE, ENOMEM})

_inner_pids = InnerPids()


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one look at one pid gave.

    `identity` is None where nothing tells this bearer of the pid from the next. `started` is in seconds
    since boot, None where it may not be read. `parent` is 0 where that is not known.

    UNKNOWN with a `started` means that the pid belongs to another PID namespace, as far as can be seen: the
    process that bears it here cannot have written the lock (a kernel thread, or one that has another number
    in its own namespace), or none bears it here, but one does in a namespace below ours. That process
    started then; a lock older than that is not its own.
    """

    state: Liveness
    identity: ProcessIdentity | None = None
    started: float | None = None
    parent: int = 0

    @property
    def failed(self) -> bool:
        """True where the look came to nothing, as for want of a descriptor."""
        return self.state is Liveness.UNKNOWN and self.identity is None and self.started is None


def names_process(pid: object) -> bool:
    """Say whether `pid` can be a pid at all: `True` would pass for init, 2**31 overflows a pid_t."""
    return type(pid) is int and 0 < pid < _PID_LIMIT


def look(pid: int, keep: Callable[[int], bool] = lambda _: False) -> Sighting:
    """Look at `pid` once; never blocks, never raises.

    `keep` is offered the pidfd of a living process, and owns it if it returns True. Without pidfds (no
    Linux, or a sandbox that forbids them) it is not called, and the process table alone must do.
    """
    if not names_process(pid):
        return Sighting(Liveness.DEAD)
    try:
        return _look_by_pidfd(pid, keep)
    except OSError:
        return Sighting(Liveness.UNKNOWN)


def same_process(one: ProcessIdentity | None, two: ProcessIdentity | None) -> bool:
    """Say whether two identities may be of one process; what only one of them knows tells nothing."""
    if one is None or two is None:
        return True
    if one.inode and two.inode:
        return one.inode == two.inode
    return not one.start or not two.start or one.start == two.start


def has_ended(pidfd: int) -> bool:
    """Say whether the process of a pidfd has ended; a zombie has."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _look_by_pidfd(pid: int, keep: Callable[[int], bool]) -> Sighting:
    try:
        pidfd = _open_pidfd(pid)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        return _absent(pid) if error.errno in _NO_PROCESS else _look_in_table(pid)
    kept = False
    try:
        sighting = _examine(pid, pidfd)
        kept = sighting.state is Liveness.ALIVE and keep(pidfd)
    finally:
        if not kept:
            os.close(pidfd)
    return sighting


def _open_pidfd(pid: int) -> int:
    if sys.platform != "linux":
        raise OSError(ENOSYS, "no pidfds here")
    return os.pidfd_open(pid)


def _examine(pid: int, pidfd: int) -> Sighting:
    row = proctable.read_row(pid)
    numbers = proctable.pidfd_numbers(pidfd)
    ended = has_ended(pidfd)
    if numbers == [-1] or (ended and not numbers):
        row = None  # reaped, so it may be of the pid's next bearer
    inode = _inode(pidfd)
    identity = ProcessIdentity(pid, inode, row.start if row else 0) if inode or row else None
    if ended:
        state = Liveness.DEAD
    elif len(numbers) > 1 or (row is not None and row.kernel):
        state = Liveness.UNKNOWN
    else:
        state = Liveness.ALIVE
    return Sighting(state, identity, row.started if row else None, row.parent if row else 0)


def _look_in_table(pid: int) -> Sighting:
    row = proctable.read_row(pid)
    if row is None:
        # Hidden is not gone: kill(2) says EPERM for what /proc does not show.
        return Sighting(Liveness.ALIVE) if _may_be_signalled(pid) else _absent(pid)
    if not proctable.is_process(pid):
        return _absent(pid)
    state = Liveness.DEAD if row.ended else Liveness.UNKNOWN if row.kernel else Liveness.ALIVE
    return Sighting(state, ProcessIdentity(pid, 0, row.start), row.started, row.parent)


def _absent(pid: int) -> Sighting:
    started = _inner_pids.oldest(pid)
    return Sighting(Liveness.DEAD) if started is None else Sighting(Liveness.UNKNOWN, started=started)


def _may_be_signalled(pid: int) -> bool:
    if os.name != "posix":
        return False  # on Windows os.kill(pid, 0) is Ctrl-C
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _inode(pidfd: int) -> int:
    found = os.fstat(pidfd)
    return found.st_ino if found.st_dev != _nameless_device() else 0


@cache
def _nameless_device() -> int:
    """Return the device of files without a name: before Linux 6.9 all pidfds share its one inode."""
    if sys.platform != "linux":
        return 0
    with select.epoll() as other:
        return os.fstat(other.fileno()).st_dev
