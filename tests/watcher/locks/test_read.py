import errno
import fcntl
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import watcher
from rules.model import LockRecord
from watcher.events import Reading, Unreadable
from watcher.locks.lockfile import LockFile, open_runtime, read_lock, read_worker_lock

RECORD = LockRecord(4242, session_id="%5")
DATA = b'{"pid":4242,"session_id":"%5"}'
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")


def seen(found: LockFile | None) -> LockFile:
    """Return the look, which must have found something."""
    assert found is not None
    return found


def reason(found: LockFile | None) -> str:
    """Return why the file is not readable as a lock; nothing of what it holds or points at may be with it."""
    content = seen(found).content
    assert isinstance(content, Unreadable)
    return content.reason


def test_reads_the_lock_of_a_worker(worker: Path, lock: Path) -> None:
    """A look has the record, the bytes, and which file of whose it was."""
    lock.write_bytes(DATA)
    status = lock.stat()
    assert read_worker_lock(worker) == LockFile(
        RECORD, os.geteuid(), status.st_dev, status.st_ino, status.st_ctime_ns, DATA
    )
    assert read_worker_lock(os.fsencode(worker)) == read_lock(str(lock)) == read_lock(os.fsencode(lock))


def test_a_look_becomes_a_reading(lock: Path) -> None:
    """The registry takes the content, the owner, the process as it was probed, and by what the file is known again."""
    lock.write_bytes(DATA)
    status = lock.stat()
    file = (status.st_dev, status.st_ino, status.st_ctime_ns)
    assert seen(read_lock(str(lock))).reading() == Reading(RECORD, os.geteuid(), file=file)


@AS_ROOT
def test_the_owner_is_the_files_owner(lock: Path) -> None:
    """The uid is that of the file, opened or not: whose tmux servers are asked depends on it."""
    lock.write_bytes(DATA)
    os.chown(lock, 12345, 12345)
    assert seen(read_lock(str(lock))).uid == 12345
    lock.unlink()
    os.mkfifo(lock)
    os.chown(lock, 12345, 12345)
    assert seen(read_lock(str(lock))).uid == 12345


def test_no_lock_is_none(worker: Path, lock: Path) -> None:
    """Neither an absent file, nor an absent directory, nor a file in a directory's place is a lock."""
    assert read_worker_lock(worker) is None
    assert read_worker_lock(worker / "absent") is None
    assert read_lock(str(lock / "agent.lock")) is None
    lock.write_bytes(DATA)
    assert read_lock(str(lock / "agent.lock")) is None
    assert read_worker_lock(lock) is None


@pytest.mark.parametrize("target", ["/etc/shadow", "agent.lock", "absent", "real"])
def test_a_symlink_is_never_followed(worker: Path, lock: Path, target: str) -> None:
    """A link named agent.lock is invalid: to a secret, to itself, to nothing, even to a good lock."""
    lock.with_name("real").write_bytes(DATA)
    lock.symlink_to(target)
    found = seen(read_worker_lock(worker))
    assert reason(found) == "a symbolic link"
    assert found.data == b""


def test_a_fifo_does_not_block(worker: Path, lock: Path) -> None:
    """A named pipe that nobody writes to is an answer at once."""
    os.mkfifo(lock)
    assert reason(read_worker_lock(worker)) == "a named pipe"


def test_a_socket_is_no_lock(worker: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket named agent.lock is invalid."""
    monkeypatch.chdir(lock.parent)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(lock.name)
        assert reason(read_worker_lock(worker)) == "a socket"


def test_a_directory_is_no_lock(worker: Path, lock: Path) -> None:
    """A directory named agent.lock is invalid."""
    lock.mkdir()
    assert reason(read_worker_lock(worker)) == "a directory"


@AS_ROOT
@pytest.mark.parametrize(
    ("kind", "device", "expected"),
    [(stat.S_IFCHR, os.makedev(1, 5), "a character device"), (stat.S_IFBLK, os.makedev(7, 0), "a block device")],
)
def test_a_device_is_no_lock(worker: Path, lock: Path, kind: int, device: int, expected: str) -> None:
    """A device node named agent.lock is invalid, and is not opened."""
    try:
        os.mknod(lock, kind | 0o644, device)
    except PermissionError:
        pytest.skip("may not make device nodes here")
    assert reason(read_worker_lock(worker)) == expected


def test_a_giant_file_is_no_lock(worker: Path, lock: Path) -> None:
    """A sparse file of 1 GiB is invalid, and none of it is kept."""
    lock.touch()
    os.truncate(lock, 1 << 30)
    found = seen(read_worker_lock(worker))
    assert reason(found) == "larger than 64 KiB"
    assert found.data == b""


@pytest.mark.parametrize(("size", "readable"), [(64 * 1024, True), (64 * 1024 + 1, False)])
def test_64_kib_is_the_limit(worker: Path, lock: Path, size: int, readable: bool) -> None:  # noqa: FBT001  # a table
    """A lock of exactly 64 KiB is read, one byte more is not."""
    lock.write_bytes(DATA.ljust(size))
    assert (seen(read_worker_lock(worker)).content == RECORD) is readable


def test_reading_ends_at_the_limit_of_a_file_that_grows(
    worker: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that appends faster than the reader reads does not keep it reading."""
    lock.write_bytes(DATA)
    read = os.read
    read_so_far = 0

    def slow_read(descriptor: int, size: int) -> bytes:
        with lock.open("ab") as file:
            file.write(b" " * 1024)
        nonlocal read_so_far
        data = read(descriptor, min(size, 1000))
        read_so_far += len(data)
        return data

    monkeypatch.setattr(os, "read", slow_read)
    assert reason(read_worker_lock(worker)) == "larger than 64 KiB"
    assert read_so_far == 64 * 1024 + 1


def test_short_reads_are_joined(worker: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that gives a byte at a time gives the same lock."""
    lock.write_bytes(DATA)
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, _: read(descriptor, 1))
    assert seen(read_worker_lock(worker)).content == RECORD


@pytest.mark.parametrize("data", [b"", DATA[:-7]])
def test_a_half_written_file_is_unreadable(worker: Path, lock: Path, data: bytes) -> None:
    """A file between its truncation and the end of its writing is invalid, with its bytes kept for comparison."""
    lock.write_bytes(data)
    found = seen(read_worker_lock(worker))
    assert reason(found)
    assert found.data == data


@pytest.mark.parametrize(("closed", "uid"), [("agent.lock", os.geteuid()), (".", -1)])
def test_a_lock_that_may_not_be_read_says_so(worker: Path, lock: Path, closed: str, uid: int) -> None:
    """Without permission the reason is that; the owner is still known unless the directory hides even that."""
    lock.write_bytes(DATA)
    (lock.parent / closed).chmod(0)
    script = """if True:
        import os, sys
        from watcher.locks.lockfile import read_lock
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        found = read_lock("agent.lock", dir_fd=int(sys.argv[1]))
        print(found.content.reason, found.uid, found.data)
        """
    directory = open_runtime(worker)
    try:
        child = subprocess.run(
            [sys.executable, "-c", script, str(directory)],
            pass_fds=[directory],
            cwd=Path(watcher.__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    finally:
        os.close(directory)
        lock.parent.chmod(0o755)
    assert child.stdout == f"permission denied {uid} b''\n"


def test_a_lease_does_not_block(worker: Path, lock: Path) -> None:
    """open(2) would wait up to 45 s for the holder of a lease; the reader does not."""
    lock.write_bytes(DATA)
    descriptor = os.open(lock, os.O_RDWR)
    # The kernel sends SIGIO to the holder when somebody else opens the file; it would end this process.
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            pytest.skip("this file system has no leases")
        assert reason(read_worker_lock(worker)) == "another process holds a lease on it"
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        assert seen(read_worker_lock(worker)).content == RECORD
    finally:
        os.close(descriptor)
        signal.signal(signal.SIGIO, before)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (os.mkfifo, "a named pipe"),
        (lambda path: path.symlink_to("/etc/shadow"), "too many levels of symbolic links"),
    ],
)
def test_a_file_swapped_after_the_first_look_is_not_trusted(
    worker: Path, lock: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], expected: str
) -> None:
    """What is opened is checked again: a FIFO or a link put there in between neither blocks nor is followed."""
    make(lock)
    regular = Path(__file__).stat()
    monkeypatch.setattr(os, "stat", lambda *_, **__: regular)
    found = seen(read_worker_lock(worker))
    assert reason(found) == expected
    assert found.data == b""


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EACCES])
@pytest.mark.parametrize("call", ["stat", "open", "fstat", "read"])
def test_a_failing_file_system_is_an_answer(lock: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> None:
    """An error at any step makes the lock unreadable, by the error's own words, and leaks no descriptor."""
    lock.write_bytes(DATA)
    real_open = os.open
    opened: list[int] = []

    def opening(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        opened.append(real_open(path, flags, dir_fd=dir_fd))
        return opened[-1]

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", opening)
        patch.setattr(os, call, fail)
        found = read_lock(str(lock))
    assert reason(found) == os.strerror(code).lower()
    for descriptor in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_the_readers_own_shortage_is_no_fact_about_the_lock(worker: Path, lock: Path) -> None:
    """Out of descriptors, the reader raises: it must not call a good lock invalid."""
    lock.write_bytes(DATA)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            read_worker_lock(worker)
        with pytest.raises(OSError, match="Too many open files"):
            read_lock(str(lock))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(("clock", "age"), [(100.0, 100.0), (-100.0, 0.0)])
def test_the_age_counts_from_the_last_change(
    lock: Path, monkeypatch: pytest.MonkeyPatch, clock: float, age: float
) -> None:
    """An unreadable file is as old as its ctime says, never of the future."""
    lock.mkdir()
    changed = lock.stat().st_ctime
    monkeypatch.setattr(time, "time", lambda: changed + clock)
    content = seen(read_lock(str(lock))).content
    assert isinstance(content, Unreadable)
    assert content.age == pytest.approx(age)


def test_a_runtime_that_is_a_symlink_is_no_lock_directory(worker: Path, lock: Path) -> None:
    """A link to another worker's `.runtime` does not lend its lock."""
    lock.write_bytes(DATA)
    borrower = worker / "borrower"
    borrower.mkdir()
    (borrower / ".runtime").symlink_to(lock.parent)
    assert read_worker_lock(borrower) is None


def test_a_runtime_swapped_in_between_is_not_followed(worker: Path, lock: Path) -> None:
    """Once the directory is open, a link put in its place leads nowhere."""
    lock.write_bytes(DATA)
    elsewhere = worker / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "agent.lock").write_bytes(b'{"pid":666}')
    directory = open_runtime(worker)
    try:
        lock.parent.rename(worker / "moved")
        lock.parent.symlink_to(elsewhere)
        assert seen(read_lock("agent.lock", dir_fd=directory)).content == RECORD
    finally:
        os.close(directory)
    assert read_worker_lock(worker) is None


def test_the_same_lock_is_the_same_inode_with_the_same_bytes(lock: Path) -> None:
    """A chmod changes nothing; new bytes in place or a new file with the old bytes is another lock."""
    lock.write_bytes(DATA)
    first = seen(read_lock(str(lock)))
    lock.chmod(0o600)
    assert seen(read_lock(str(lock))).is_same(first)
    copy = lock.with_name("copy")
    copy.write_bytes(DATA)
    assert not seen(read_lock(str(copy))).is_same(first)
    lock.write_bytes(DATA + b"\n")
    assert not seen(read_lock(str(lock))).is_same(first)


def test_where_no_bytes_were_read_any_change_makes_it_another(lock: Path) -> None:
    """Two looks at one FIFO are the same until it changes."""
    os.mkfifo(lock)
    first = seen(read_lock(str(lock)))
    assert seen(read_lock(str(lock))).is_same(first)
    while lock.lstat().st_ctime_ns == first.changed_ns:
        lock.chmod(0o600)
    assert not seen(read_lock(str(lock))).is_same(first)
