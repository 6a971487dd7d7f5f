"""The `.runtime` directory of one worker: held with the writers' flock, written, and cleared of one lock.

Every name is taken relative to a descriptor of the directory and never followed, so that a directory or a
file swapped for a link between two steps leads nowhere else.
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from watcher.locks.lockfile import LOCK_NAME, RUNTIME_DIR, LockFile, open_runtime, read_lock

FLOCK_NAME = "agent.lock.flock"
TMP_NAME = "agent.lock.tmp"

_FILE_MODE = 0o644
_DIRECTORY_MODE = 0o755
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_CREATE = _OPEN | os.O_CREAT | os.O_EXCL
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.02


@contextmanager
def flocked(worker: str | os.PathLike[str], timeout: float, *, create: bool = False) -> Iterator[int]:
    """Hold the flock on the worker's `agent.lock.flock`; gives a descriptor of its `.runtime`.

    It is the flock that the newer Go writer takes, so the two exclude each other; the older writer takes
    none. Waits `timeout` seconds at most, and blocks its thread meanwhile. `create` makes the directories.

    Raises:
        TimeoutError: another process kept it for that long.
        OSError: there is no `.runtime`, or it or the flock file is not what it should be (a symbolic link).
    """
    if create:
        os.makedirs(os.path.join(worker, RUNTIME_DIR), _DIRECTORY_MODE, exist_ok=True)  # noqa: PTH103, PTH118
    directory = open_runtime(worker)
    try:
        descriptor = _flock(directory, timeout, os.fspath(worker))
        try:
            yield directory
        finally:
            # Closing is not enough: a child forked meanwhile would go on holding it.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
    finally:
        os.close(directory)


def write_lock(directory: int, data: bytes) -> None:
    """Replace the lock in one step; readers see the old or the new one, whole. The caller holds the flock.

    Raises:
        OSError: the directory cannot be written; the old lock is then as it was.
    """
    with suppress(FileNotFoundError):
        os.unlink(TMP_NAME, dir_fd=directory)
    descriptor = os.open(TMP_NAME, _CREATE, _FILE_MODE, dir_fd=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.rename(TMP_NAME, LOCK_NAME, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(OSError):
            os.unlink(TMP_NAME, dir_fd=directory)
        raise


def remove_if_same(directory: int, judged: LockFile) -> bool:
    """Remove the lock if it still is the very file that was judged; tell whether it was removed.

    The caller holds the flock. A writer that takes no flock can still rewrite the file in place in the
    microseconds between the second look and the removal.

    Raises:
        OSError: the directory cannot be written.
    """
    current = read_lock(LOCK_NAME, dir_fd=directory)
    if current is None or not current.is_same(judged):
        return False
    try:
        os.unlink(LOCK_NAME, dir_fd=directory)
    except FileNotFoundError:
        return False
    return True


def _flock(directory: int, timeout: float, worker: str) -> int:
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        descriptor = _open_flock(directory)
        try:
            if _try_flock(descriptor, directory):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        left = deadline - time.monotonic()
        if left <= 0:
            path = f"{worker}/{RUNTIME_DIR}/{FLOCK_NAME}"
            raise TimeoutError(errno.ETIMEDOUT, f"still held by another process after {timeout:g} s", path)
        time.sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE)


def _open_flock(directory: int) -> int:
    try:
        descriptor = os.open(FLOCK_NAME, _CREATE, _FILE_MODE, dir_fd=directory)
    except FileExistsError:
        return os.open(FLOCK_NAME, _OPEN, dir_fd=directory)
    if os.geteuid() == 0:
        # Root cleans for others: a flock file of root's would lock the worker's own writers out.
        owner = os.fstat(directory)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def _try_flock(descriptor: int, directory: int) -> bool:
    """Take the flock if it is free; False too where its file was replaced, since others hold the new one."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", FLOCK_NAME)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        named = os.stat(FLOCK_NAME, dir_fd=directory, follow_symlinks=False)
    except (BlockingIOError, FileNotFoundError):
        return False
    return os.path.samestat(named, os.fstat(descriptor))
