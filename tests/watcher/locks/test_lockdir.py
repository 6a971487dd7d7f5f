import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import watcher
from watcher.locks.lockdir import FLOCK_NAME, TMP_NAME, flocked, remove_if_same, write_lock
from watcher.locks.lockfile import LockFile, read_lock, read_worker_lock

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")
PATIENCE = 30.0
OLD, NEW = b'{"pid":1}', b'{"pid":2}'

# Another program with the protocol of the newer Go writer: open, flock, write aside, rename. It knows nothing of ours.
OTHER_WRITER = """if True:
    import fcntl, os, sys
    directory, rounds = sys.argv[1], int(sys.argv[2])
    for number in range(rounds):
        flock = os.open(directory + "/agent.lock.flock", os.O_CREAT | os.O_RDWR, 0o644)
        fcntl.flock(flock, fcntl.LOCK_EX)
        with open(directory + "/agent.lock.tmp", "w") as file:
            file.write('{"pid":%d}' % number)
        os.rename(directory + "/agent.lock.tmp", directory + "/agent.lock")
        fcntl.flock(flock, fcntl.LOCK_UN)
        os.close(flock)
    """
HOLDER = """if True:
    import fcntl, os, sys
    flock = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR, 0o644)
    fcntl.flock(flock, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
    """
COUNTER = """if True:
    import sys
    from watcher.locks.lockdir import flocked
    for _ in range(25):
        with flocked(sys.argv[1], 60, create=True):
            with open(sys.argv[1] + "/count", "r+") as file:
                count = int(file.read())
                file.seek(0)
                file.write(str(count + 1))
    """


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a Python of its own; whoever starts it waits for it."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=Path(watcher.__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """Let modes be as they are asked for."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def judged(worker: Path) -> LockFile:
    """Look at the lock, which must be there."""
    found = read_worker_lock(worker)
    assert found is not None
    return found


def test_writes_a_lock_that_all_may_read(tmp_path: Path) -> None:
    """The file has 0644, its directory 0755, and nothing is left beside it but the flock file, 0644 too."""
    worker = tmp_path / "rig" / "worker"
    with flocked(worker, PATIENCE, create=True) as directory:
        write_lock(directory, OLD)
    runtime = worker / ".runtime"
    assert (runtime / "agent.lock").read_bytes() == OLD
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o755
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in runtime.iterdir()} == {
        "agent.lock": 0o644,
        "agent.lock.flock": 0o644,
    }


def test_makes_no_directory_unasked(tmp_path: Path) -> None:
    """To look at or remove a lock makes nothing where there is none."""
    with pytest.raises(FileNotFoundError), flocked(tmp_path, PATIENCE):
        pass
    assert list(tmp_path.iterdir()) == []


def test_waits_for_another_program_no_longer_than_told(worker: Path, lock: Path) -> None:
    """Another process's flock keeps us out until it goes, and the time-out names the file."""
    with python(HOLDER, lock.with_name(FLOCK_NAME)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TimeoutError) as refusal, flocked(worker, 0.05):
            pass
        assert refusal.value.filename == str(lock.with_name(FLOCK_NAME))
        assert refusal.value.strerror == "still held by another process after 0.05 s"
        assert descriptors_of(lock.with_name(FLOCK_NAME)) == []
        holder.communicate()
        with flocked(worker, PATIENCE):
            pass


def test_keeps_another_program_out(worker: Path, lock: Path) -> None:
    """While we hold it, another open of the file cannot have the flock; afterwards it can."""
    with flocked(worker, PATIENCE), lock.with_name(FLOCK_NAME).open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with lock.with_name(FLOCK_NAME).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_child_forked_meanwhile_does_not_keep_it(worker: Path) -> None:
    """The flock ends with its block although a descriptor of it lives on in a copy."""
    with flocked(worker, PATIENCE):
        copies = [os.dup(fd) for fd in descriptors_of(worker / ".runtime" / FLOCK_NAME)]
    assert copies
    with flocked(worker, PATIENCE):
        pass
    for copy in copies:
        os.close(copy)


def descriptors_of(path: Path) -> list[int]:
    """Return this process's descriptors of a file."""
    wanted = path.stat()
    found = []
    for descriptor in range(3, 256):
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue
        if os.path.samestat(status, wanted):
            found.append(descriptor)
    return found


def test_processes_take_turns(tmp_path: Path) -> None:
    """Four processes that count up one file under the flock, and make it in a race, lose no count."""
    (tmp_path / "count").write_text("0")
    counters = [python(COUNTER, tmp_path) for _ in range(4)]
    assert [counter.wait(PATIENCE) for counter in counters] == [0] * 4
    for counter in counters:
        counter.communicate()
    assert (tmp_path / "count").read_text() == "100"


def test_a_flock_on_a_removed_file_is_worth_nothing(worker: Path, lock: Path) -> None:
    """Who holds the flock of a file that is gone does not keep out who holds the new one's, so we take the new one."""
    flock = lock.with_name(FLOCK_NAME)
    with flock.open("w") as old:
        fcntl.flock(old, fcntl.LOCK_EX)
        flock.unlink()
        with flocked(worker, PATIENCE):
            assert descriptors_of(flock)


@pytest.mark.parametrize("swap", [lambda flock: flock.unlink(), lambda flock: (flock.parent / "new").rename(flock)])
def test_a_flock_file_replaced_meanwhile_is_taken_anew(
    worker: Path, lock: Path, monkeypatch: pytest.MonkeyPatch, swap: Callable[[Path], None]
) -> None:
    """The file may go or be swapped between its opening and its flock: what is held is the one with the name."""
    flock = lock.with_name(FLOCK_NAME)
    flock.with_name("new").touch()
    take = fcntl.flock

    def swap_and_take(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", take)
        swap(flock)
        take(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", swap_and_take)
    with flocked(worker, PATIENCE):
        assert descriptors_of(flock)


@pytest.mark.parametrize("name", [FLOCK_NAME, TMP_NAME])
@pytest.mark.parametrize("dangling", [True, False])
def test_a_link_in_our_files_place_is_not_followed(worker: Path, lock: Path, name: str, *, dangling: bool) -> None:
    """Neither the flock file nor the file written aside leads to what an agent would have us write."""
    victim = worker / "victim"
    if not dangling:
        victim.write_bytes(b"precious")
    lock.with_name(name).symlink_to(victim)
    if name == FLOCK_NAME:
        with pytest.raises(OSError, match="symbolic links"), flocked(worker, PATIENCE):
            pass
    else:
        with flocked(worker, PATIENCE) as directory:
            write_lock(directory, NEW)
        assert lock.read_bytes() == NEW
        assert not lock.is_symlink()
    assert victim.exists() is not dangling
    assert dangling or victim.read_bytes() == b"precious"


def test_a_fifo_in_our_files_place_does_not_block(worker: Path, lock: Path) -> None:
    """A named pipe as the flock file is refused; as the file written aside it is replaced."""
    os.mkfifo(lock.with_name(TMP_NAME))
    with flocked(worker, PATIENCE) as directory:
        write_lock(directory, NEW)
    assert lock.read_bytes() == NEW
    lock.with_name(FLOCK_NAME).unlink()
    os.mkfifo(lock.with_name(FLOCK_NAME))
    with pytest.raises(OSError, match="not a regular file"), flocked(worker, PATIENCE):
        pass
    assert descriptors_of(lock.with_name(FLOCK_NAME)) == []


def test_a_runtime_that_is_a_link_is_not_entered(worker: Path, lock: Path) -> None:
    """Nothing is written where a link in the directory's place leads, asked to make it or not."""
    other = worker / "other"
    other.mkdir()
    (other / ".runtime").symlink_to(lock.parent)
    for create in (False, True):
        with pytest.raises(NotADirectoryError), flocked(other, PATIENCE, create=create):
            pass
    assert list(lock.parent.iterdir()) == []


@AS_ROOT
def test_roots_flock_file_belongs_to_the_workers_owner(worker: Path, lock: Path) -> None:
    """The worker's own writer opens the flock file for writing; root's visit must not lock it out."""
    os.chown(lock.parent, 12345, 12346)
    with flocked(worker, PATIENCE):
        pass
    status = lock.with_name(FLOCK_NAME).stat()
    assert (status.st_uid, status.st_gid) == (12345, 12346)


@AS_ROOT
def test_root_gives_away_no_file_that_was_there(worker: Path, lock: Path) -> None:
    """A hard link to root's file in the flock file's place stays root's."""
    os.chown(lock.parent, 12345, 12346)
    precious = worker / "precious"
    precious.touch()
    os.link(precious, lock.with_name(FLOCK_NAME))
    with flocked(worker, PATIENCE):
        pass
    assert precious.stat().st_uid == 0


def test_a_failed_write_leaves_the_old_lock(worker: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk fails before the rename, the old lock stands and nothing is left beside it."""
    lock.write_bytes(OLD)

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with flocked(worker, PATIENCE) as directory, pytest.raises(OSError, match="No space left"):
        write_lock(directory, NEW)
    assert lock.read_bytes() == OLD
    assert not lock.with_name(TMP_NAME).exists()


def test_the_bytes_are_on_disk_before_the_name(worker: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment of the fsync the new bytes are in the file, and the old lock still has its name."""
    lock.write_bytes(OLD)
    seen: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append((lock.with_name(TMP_NAME).read_bytes(), lock.read_bytes())))
    with flocked(worker, PATIENCE) as directory:
        write_lock(directory, NEW)
    assert seen == [(NEW, OLD)]


def test_removes_the_very_file_that_was_judged(worker: Path, lock: Path) -> None:
    """A lock that is as it was is removed, once."""
    lock.write_bytes(OLD)
    verdict_on = judged(worker)
    with flocked(worker, PATIENCE) as directory:
        assert remove_if_same(directory, verdict_on)
        assert not lock.exists()
        assert not remove_if_same(directory, verdict_on)


@pytest.mark.parametrize("data", [b"", b'{"pid":'])
def test_removes_an_unreadable_file_that_was_judged(worker: Path, lock: Path, data: bytes) -> None:
    """A broken lock, even an empty one, can be judged and removed too."""
    lock.write_bytes(data)
    verdict_on = judged(worker)
    with flocked(worker, PATIENCE) as directory:
        assert remove_if_same(directory, verdict_on)
    assert not lock.exists()


def test_spares_a_lock_that_was_rewritten_in_place(worker: Path, lock: Path) -> None:
    """The older writer truncates and writes: same inode, other bytes."""
    lock.write_bytes(OLD)
    verdict_on = judged(worker)
    lock.write_bytes(NEW)
    with flocked(worker, PATIENCE) as directory:
        assert not remove_if_same(directory, verdict_on)
    assert lock.read_bytes() == NEW


def test_spares_a_new_file_with_the_old_bytes(worker: Path, lock: Path) -> None:
    """Another inode is another lock, whatever it says."""
    lock.write_bytes(OLD)
    verdict_on = judged(worker)
    with flocked(worker, PATIENCE) as directory:
        write_lock(directory, OLD)
        assert not remove_if_same(directory, verdict_on)
    assert lock.read_bytes() == OLD


def test_spares_what_a_link_points_at(worker: Path, lock: Path) -> None:
    """The judged file moved away and linked to: neither it nor the link is removed."""
    lock.write_bytes(OLD)
    verdict_on = judged(worker)
    lock.rename(worker / "moved")
    lock.symlink_to(worker / "moved")
    with flocked(worker, PATIENCE) as directory:
        assert not remove_if_same(directory, verdict_on)
    assert lock.is_symlink()
    assert (worker / "moved").read_bytes() == OLD


def test_removes_from_the_directory_that_was_opened(worker: Path, lock: Path) -> None:
    """`.runtime` swapped for a link in between: what the link leads to is not touched."""
    lock.write_bytes(OLD)
    verdict_on = judged(worker)
    elsewhere = worker / "elsewhere"
    elsewhere.mkdir()
    with flocked(worker, PATIENCE) as directory:
        lock.parent.rename(worker / "moved")
        lock.parent.symlink_to(elsewhere)
        os.link(worker / "moved" / "agent.lock", elsewhere / "agent.lock")
        assert remove_if_same(directory, verdict_on)
    assert not (worker / "moved" / "agent.lock").exists()
    assert (elsewhere / "agent.lock").read_bytes() == OLD


def test_against_a_writer_that_never_rests(worker: Path, lock: Path) -> None:
    """While another program rewrites the lock, each removal takes exactly what was judged, never a newer lock."""
    removed = spared = 0
    with python(OTHER_WRITER, lock.parent, 400) as writer:
        while writer.poll() is None:
            verdict_on = read_worker_lock(worker)
            if verdict_on is None:
                continue
            with flocked(worker, PATIENCE) as directory:
                before = read_lock("agent.lock", dir_fd=directory)
                if remove_if_same(directory, verdict_on):
                    assert before is not None
                    assert before.data == verdict_on.data
                    assert not lock.exists()
                    removed += 1
                else:
                    assert read_lock("agent.lock", dir_fd=directory) == before
                    spared += 1
        assert writer.returncode == 0
    assert removed + spared > 0


def test_readers_see_the_old_lock_or_the_new_one(worker: Path, lock: Path) -> None:
    """While another program replaces the lock by rename, no look finds half of one."""
    lock.write_bytes(OLD)
    with python(OTHER_WRITER, lock.parent, 400) as writer:
        while writer.poll() is None:
            judged_now = judged(worker)
            assert judged_now.data.endswith(b"}")
        assert writer.returncode == 0
