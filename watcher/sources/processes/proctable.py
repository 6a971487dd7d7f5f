"""One row of the process table, read from /proc on Linux and by psutil elsewhere.

Nothing here reads a process's memory (`cmdline`, `environ`): that waits for a lock which the process itself
may hold for as long as it likes.
"""

import os
import sys
from dataclasses import dataclass
from errno import EACCES, ENOENT, ENOTDIR, EPERM, ESRCH
from functools import cache
from pathlib import Path

from watcher.sources.processes.starttime import boot_epoch

_UNSEEN = frozenset({ENOENT, ESRCH, EACCES, EPERM, ENOTDIR})
"""How /proc says that a process is not there or is hidden (`hidepid`, proc(5)); anything else is a failure."""

_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD of include/linux/sched.h, in the ninth field of /proc/PID/stat."""

_CENTISECOND = 0.01

_DELETED = " (deleted)"


@dataclass(frozen=True, slots=True)
class Row:
    """What the table says of one pid.

    `start` tells bearers of one pid apart (clock ticks since boot, or another unit where there is no /proc);
    `started` is the same in seconds since boot. `ended`: a zombie, with no thread of it left running.
    """

    name: str
    parent: int
    start: int
    started: float
    ended: bool = False
    kernel: bool = False


def read_row(pid: int) -> Row | None:
    """Read the row of `pid`, None where it is not there or hidden from us.

    Raises OSError where the look itself failed, as for want of a descriptor. On Linux a thread's id has a
    row too: see `is_process`.
    """
    if sys.platform != "linux":
        return _read_by_psutil(pid)
    if not shows_our_namespace():
        return None
    raw = _read(f"/proc/{pid}/stat")
    return _parse_stat(raw) if raw else None


def is_process(pid: int) -> bool:
    """Say whether a pid that has a row is a process and not one of the threads of another."""
    return sys.platform != "linux" or _field(_read(f"/proc/{pid}/status"), b"Tgid") == [pid]


def executable(pid: int) -> str:
    """Name the program file that a process runs, without its directory; empty where it may not be read."""
    if sys.platform != "linux":
        return _executable_by_psutil(pid)
    try:
        return Path(f"/proc/{pid}/exe").readlink().name.removesuffix(_DELETED)
    except OSError:
        return ""


def pidfd_numbers(pidfd: int) -> list[int]:
    """List the numbers that a process has in our PID namespace and, level by level, in those below it.

    `[-1]` once it has been reaped; empty where the system does not tell. Unlike `/proc/PID` it cannot speak
    of another process, nor is it hidden. Source: `pidfd_show_fdinfo`, kernel/fork.c and fs/pidfs.c.
    """
    return _field(_read(f"/proc/self/fdinfo/{pidfd}"), b"NSpid") if shows_our_namespace() else []


def namespace_numbers(pid: int) -> list[int]:
    """List the numbers of a process as `pidfd_numbers` does, by its pid."""
    return _field(_read(f"/proc/{pid}/status"), b"NSpid")


def pids() -> list[int]:
    """List all pids in /proc; empty where it is not mounted, or shows another PID namespace than ours."""
    if not shows_our_namespace():
        return []
    with os.scandir("/proc") as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]


def shows_our_namespace() -> bool:
    """Say whether /proc is there and counts as we do: one mounted from outside has other numbers."""
    return _shows_namespace_of(os.getpid())


@cache
def _shows_namespace_of(me: int) -> bool:
    try:
        return Path("/proc/self").readlink().name == str(me)
    except OSError:
        return False


@cache
def _ticks() -> int:
    return os.sysconf("SC_CLK_TCK")


def _read(path: str) -> bytes:
    """Read a small file of /proc in one call, as it must be for its fields to agree; empty where unseen."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _UNSEEN:
            return b""
        raise
    try:
        return os.read(descriptor, 4096)
    except ProcessLookupError:
        return b""  # it was reaped since
    finally:
        os.close(descriptor)


def _field(text: bytes, name: bytes) -> list[int]:
    for line in text.splitlines():
        key, _, value = line.partition(b":")
        if key == name:
            return [int(number) for number in value.split()]
    return []


def _parse_stat(raw: bytes) -> Row:
    # The name may hold anything, parentheses too: it ends at the last one.
    head, _, tail = raw.rpartition(b") ")
    fields = tail.split()
    start = int(fields[19])
    return Row(
        name=os.fsdecode(head.partition(b"(")[2]),
        parent=int(fields[1]),
        start=start,
        started=start / _ticks(),
        # A leader that ended before its other threads is a zombie too, of a process that lives on.
        ended=fields[0] in {b"Z", b"X"} and int(fields[17]) <= 1,
        kernel=bool(int(fields[6]) & _KERNEL_THREAD),
    )


def _read_by_psutil(pid: int) -> Row | None:
    import psutil  # noqa: PLC0415 (18 ms and 2 MB that Linux does without)

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            created = process.create_time()
            return Row(
                name=process.name(),
                parent=process.ppid(),
                start=round(created / _CENTISECOND),
                started=created - boot_epoch(),
                ended=process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD},
            )
    except psutil.ZombieProcess:
        return Row(name="", parent=0, start=0, started=0.0, ended=True)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    except psutil.Error as error:
        raise OSError(str(error)) from error


def _executable_by_psutil(pid: int) -> str:
    import psutil  # noqa: PLC0415 (18 ms and 2 MB that Linux does without)

    try:
        return Path(psutil.Process(pid).exe()).name
    except (psutil.Error, OSError):
        return ""
