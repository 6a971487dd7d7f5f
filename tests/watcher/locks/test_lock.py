import errno
import fcntl
import os
import re
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import watcher
from rules.model import LockRecord, Verdict
from watcher import InvalidLockError, Lock, LockedError, NotLockedError
from watcher.library import lock as lock_module
from watcher.library.standing import Standing
from watcher.locks.lockfile import LockFile, encode
from watcher.settings import Settings
from watcher.settings.rules import Invalid, Rules
from watcher.settings.tree import Tmux

ROOT = Path(watcher.__file__).parents[1]
HOST = socket.gethostname()
IMPATIENT = Settings(rules=Rules(invalid=Invalid(grace=0.0)))
PATIENT = Settings(rules=Rules(invalid=Invalid(grace=3600.0)))


def written(pid: int, session_id: str = "", hostname: str = HOST, *, ago: float = 0.0) -> bytes:
    """Give the bytes of a lock that was taken some seconds ago."""
    taken = time.time_ns() - int(ago * 1e9)
    return encode(pid=pid, acquired_ns=taken, utc_offset=0, session_id=session_id, hostname=hostname)


def test_acquire_writes_what_go_would_write(tmp_path: Path) -> None:
    """The file has our pid, time, session and host in Go's layout, and the directories are made."""
    worker = tmp_path / "rig" / "ada"
    before = datetime.now(UTC)
    record = Lock(worker).acquire("gt-ada")
    text = (worker / ".runtime" / "agent.lock").read_text()
    layout = (
        r'\{\n  "pid": %d,\n  "acquired_at": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)",\n'
        r'  "session_id": "gt-ada",\n  "hostname": "%s"\n\}'
    )
    assert re.fullmatch(layout % (os.getpid(), re.escape(HOST)), text)
    assert (record.pid, record.session_id, record.hostname) == (os.getpid(), "gt-ada", HOST)
    assert record.acquired_at is not None
    assert before - timedelta(milliseconds=1) <= record.acquired_at <= datetime.now(UTC)


def test_release_removes_our_lock_and_forgives_its_absence(tmp_path: Path) -> None:
    """What we took we give back; to give back what is not there is fine, whether there ever was a `.runtime` or not."""
    lock = Lock(tmp_path)
    assert not lock.release()
    assert list(tmp_path.iterdir()) == []
    lock.acquire()
    assert lock.release()
    assert not Path(lock.path).exists()
    assert not lock.release()


def test_a_living_process_keeps_its_lock(worker: Path, lock: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """Who wants a lock that is held is told by whom, in words and as facts, and changes nothing."""
    lock.write_bytes(before := written(sleeper.pid, hostname=""))
    with pytest.raises(LockedError) as refusal:
        Lock(worker).acquire("gt-me")
    assert refusal.value.record is not None
    assert refusal.value.record.pid == sleeper.pid
    assert (refusal.value.path, refusal.value.verdict) == (str(lock), Verdict.HELD)
    assert str(refusal.value) == f"{lock}: locked by PID {sleeper.pid} (session: none)"
    assert lock.read_bytes() == before


def test_a_dead_process_loses_its_lock(worker: Path, lock: Path, dead_pid: int) -> None:
    """A stale lock is replaced."""
    lock.write_bytes(written(dead_pid))
    assert Lock(worker).is_stale()
    assert Lock(worker).acquire().pid == os.getpid()
    assert Lock(worker).read().pid == os.getpid()


def test_a_zombie_is_dead(worker: Path, lock: Path) -> None:
    """A process that ended, and that nobody has reaped, holds no lock."""
    with subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        lock.write_bytes(written(zombie.pid))
        assert Lock(worker).acquire().pid == os.getpid()


def test_a_recycled_pid_is_a_stranger(worker: Path, lock: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """A process that started after the lock was taken only bears its number; our own number is no exception."""
    for pid in (sleeper.pid, os.getpid()):
        lock.write_bytes(written(pid, ago=10**8))
        assert Lock(worker).status() == f"stale (dead PID {pid})"
        with pytest.raises(LockedError):
            Lock(worker).release()
        assert Lock(worker).acquire().pid == os.getpid()


def test_our_own_lock_is_taken_anew(worker: Path) -> None:
    """The owner's second acquire is a refresh: a later time, and another session if it names one."""
    lock = Lock(worker)
    first = lock.acquire("gt-one")
    assert lock.acquire().session_id == "gt-one"
    second = Lock(worker, settings=Settings(tmux=Tmux(enabled=False))).acquire("gt-two")
    assert second.session_id == "gt-two"
    assert first.acquired_at is not None
    assert second.acquired_at is not None
    assert first.acquired_at < second.acquired_at


def test_a_lock_without_a_host_is_this_hosts(worker: Path, lock: Path) -> None:
    """Older writers name no host; our pid in such a lock is ours."""
    lock.write_bytes(written(os.getpid(), hostname=""))
    assert Lock(worker).status() == "locked (by us)"
    assert Lock(worker).release()


def test_another_hosts_lock_is_left_alone(worker: Path, lock: Path, dead_pid: int) -> None:
    """Nobody here can say whether it is stale: it is not taken, not released, and not removed by a check."""
    lock.write_bytes(before := written(dead_pid, hostname="elsewhere"))
    visitor = Lock(worker)
    for attempt in (visitor.acquire, visitor.release, visitor.check):
        with pytest.raises(LockedError, match=r"unverifiable \(host elsewhere\)") as refusal:
            attempt()
        assert refusal.value.verdict is Verdict.UNVERIFIABLE
    assert not visitor.is_stale()
    assert lock.read_bytes() == before
    assert Lock(worker, settings=Settings(host_aliases=("elsewhere",))).is_stale()


def test_a_lock_for_another_process(worker: Path, sleeper: subprocess.Popen[bytes], dead_pid: int) -> None:
    """The owner may be another process than the one that asks; one that does not live cannot be."""
    lock = Lock(worker, pid=sleeper.pid)
    assert lock.acquire().pid == sleeper.pid
    assert lock.status() == "locked (by us)"
    assert Lock(worker).status() == f"locked by PID {sleeper.pid} (session: none)"
    assert lock.release()
    with pytest.raises(ProcessLookupError):
        Lock(worker, pid=dead_pid).acquire()
    assert not Path(lock.path).exists()


def test_release_after_the_owner_died(worker: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """Who took a lock for another process can remove it when that one has ended and been reaped."""
    lock = Lock(worker, pid=sleeper.pid)
    lock.acquire()
    sleeper.kill()
    sleeper.wait()
    assert lock.release()


FORKED = """if True:
    import os, sys
    from watcher import Lock, LockedError
    lock = Lock(sys.argv[1])
    lock.acquire()
    child = os.fork()
    if not child:
        refused = 0
        for attempt in (lock.release, lock.acquire, lock.check):
            try:
                attempt()
            except LockedError:
                refused += 1
        os._exit(refused)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), lock.status())
    """


def test_a_forked_child_is_somebody_else(worker: Path) -> None:
    """A child that inherits the object can neither release nor retake its parent's lock."""
    done = subprocess.run(
        [sys.executable, "-c", FORKED, worker], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "3 locked (by us)\n"


def test_release_spares_anothers_lock(
    worker: Path, lock: Path, sleeper: subprocess.Popen[bytes], dead_pid: int
) -> None:
    """Neither a living owner's lock nor a stale one is ours to release."""
    for pid in (sleeper.pid, dead_pid):
        lock.write_bytes(before := written(pid))
        with pytest.raises(LockedError):
            Lock(worker).release()
        assert lock.read_bytes() == before


def test_force_release_removes_any(worker: Path, lock: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """Whoever holds it, and whatever it is; that there is none is fine."""
    for content in (written(sleeper.pid), written(1, hostname="elsewhere"), b"{"):
        lock.write_bytes(content)
        assert Lock(worker).force_release()
        assert not lock.exists()
    assert not Lock(worker).force_release()
    assert not Lock(worker / "nowhere").force_release()


def test_read(worker: Path, lock: Path) -> None:
    """A lock that is missing and one that cannot be read are told apart; nobody is judged."""
    with pytest.raises(NotLockedError, match="there is no lock"):
        Lock(worker).read()
    lock.write_bytes(b'{"pid": "x"}')
    with pytest.raises(InvalidLockError, match="pid is not an integer") as error:
        Lock(worker).read()
    assert error.value.path == str(lock)
    lock.write_bytes(b'{"pid": 42, "session_id": "gt-x"}')
    assert Lock(worker).read() == LockRecord(42, None, "gt-x")


def test_check(worker: Path, lock: Path, sleeper: subprocess.Popen[bytes], dead_pid: int) -> None:
    """It is silent where nobody else holds the lock, removes a stale one, and raises else."""
    visitor = Lock(worker)
    visitor.check()
    lock.write_bytes(written(dead_pid))
    visitor.check()
    assert not lock.exists()
    visitor.acquire()
    visitor.check()
    assert lock.exists()
    lock.write_bytes(written(sleeper.pid))
    with pytest.raises(LockedError, match=f"locked by PID {sleeper.pid}"):
        visitor.check()
    lock.write_bytes(b"{")
    with pytest.raises(InvalidLockError, match="not JSON"):
        Lock(worker, settings=IMPATIENT).check()
    assert lock.exists()


def test_check_is_content_where_a_stale_lock_cannot_go(worker: Path, lock: Path, dead_pid: int) -> None:
    """That a stale lock stays, for want of a flock, makes it nobody's."""
    lock.write_bytes(written(dead_pid))
    lock.with_name("agent.lock.flock").mkdir()
    Lock(worker).check()
    assert lock.exists()


def test_status(worker: Path, lock: Path) -> None:
    """Who holds the lock is said in a few words, on one line that no terminal can be fooled by."""
    parent = os.getppid()
    cases = (
        (written(os.getpid(), "gt-x"), Settings(), "locked (by us)"),
        (written(parent), Settings(), f"locked by PID {parent} (session: none)"),
        (written(parent, "gt-x\n"), Settings(), f"locked by PID {parent} (session: gt-x\\n)"),
        (written(0), Settings(), "stale (dead PID 0)"),
        (written(1, hostname="y\x1b"), Settings(), "unverifiable (host y\\x1b)"),
        (b"{", IMPATIENT, "invalid: not JSON at byte 1"),
        (b"{", PATIENT, "unverifiable (not JSON at byte 1)"),
    )
    assert Lock(worker).status() == "unlocked"
    for content, settings, said in cases:
        lock.write_bytes(content)
        assert Lock(worker, settings=settings).status() == said


def test_an_unreadable_lock_has_its_grace(worker: Path, lock: Path) -> None:
    """A lock that may only be half written is not replaced; after the grace it is. It is never released as ours."""
    lock.write_bytes(b'{"pid": 4')
    with pytest.raises(LockedError, match="unverifiable"):
        Lock(worker, settings=PATIENT).acquire()
    with pytest.raises(LockedError, match="unverifiable"):
        Lock(worker, settings=PATIENT).release()
    with pytest.raises(InvalidLockError):
        Lock(worker, settings=IMPATIENT).release()
    assert lock.read_bytes() == b'{"pid": 4'
    assert Lock(worker, settings=IMPATIENT).acquire().pid == os.getpid()


def test_what_is_no_file_is_replaced_by_one(worker: Path, lock: Path) -> None:
    """A link or a pipe in the lock's place is replaced after the grace, and neither followed nor opened."""
    victim = worker / "victim"
    victim.write_bytes(b"precious")
    lock.symlink_to(victim)
    Lock(worker, settings=IMPATIENT).acquire()
    assert not lock.is_symlink()
    lock.unlink()
    os.mkfifo(lock)
    Lock(worker, settings=IMPATIENT).acquire()
    assert lock.is_file()
    assert victim.read_bytes() == b"precious"


def test_a_link_in_the_directorys_place_leads_nowhere(lock: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is written or removed where a `.runtime` that is a link leads."""
    other = tmp_path_factory.mktemp("other")
    (other / ".runtime").symlink_to(lock.parent)
    lock.write_bytes(before := written(os.getpid()))
    visitor = Lock(other)
    with pytest.raises(NotADirectoryError):
        visitor.acquire()
    assert not visitor.release()
    assert not visitor.force_release()
    assert visitor.status() == "unlocked"
    assert [path.name for path in lock.parent.iterdir()] == ["agent.lock"]
    assert lock.read_bytes() == before


def test_the_block_of_a_context_manager_holds_it(worker: Path, lock: Path) -> None:
    """The lock is there inside the block and gone after it, also where the block fails."""
    with Lock(worker, session_id="gt-x") as held:
        assert held.read().session_id == "gt-x"
    assert not lock.exists()
    with pytest.raises(ZeroDivisionError), Lock(worker):
        _ = 1 // 0
    assert not lock.exists()


def test_a_robbed_block_is_told(worker: Path, lock: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """Whose lock was overwritten learns it at the end of the block, unless that has failed already."""
    with pytest.raises(LockedError), Lock(worker):
        lock.write_bytes(written(sleeper.pid))
    lock.unlink()
    with pytest.raises(ZeroDivisionError), Lock(worker):
        _ = lock.write_bytes(written(sleeper.pid)) // 0
    assert lock.exists()


def test_a_flock_that_is_kept_is_not_waited_for_without_end(
    worker: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every change gives up after its time and names the file; to look needs no flock."""
    monkeypatch.setattr(lock_module, "PATIENCE", 0.05)
    lock.write_bytes(written(os.getpid()))
    with lock.with_name("agent.lock.flock").open("w") as kept:
        fcntl.flock(kept, fcntl.LOCK_EX)
        visitor = Lock(worker)
        for attempt in (visitor.acquire, visitor.release, visitor.force_release):
            with pytest.raises(TimeoutError) as refusal:
                attempt()
            assert refusal.value.filename == str(lock.with_name("agent.lock.flock"))
        assert visitor.status() == "locked (by us)"


class Meddling(Lock):
    """A lock that an older writer, which takes no flock, rewrites in place each time while it is being judged."""

    contents: tuple[bytes, ...] = ()

    def _stand(self, file: LockFile) -> Standing:
        standing = super()._stand(file)
        if self.contents:
            Path(self.path).write_bytes(self.contents[0])
            type(self).contents = self.contents[1:]
        return standing


@pytest.mark.parametrize("attempt", ["acquire", "release", "check"])
def test_a_lock_rewritten_while_it_is_judged_is_judged_again(
    worker: Path, lock: Path, sleeper: subprocess.Popen[bytes], dead_pid: int, attempt: str
) -> None:
    """The judgement of a lock is no excuse to replace or remove the next one."""
    lock.write_bytes(written(os.getpid() if attempt == "release" else dead_pid))
    Meddling.contents = (after := written(sleeper.pid),)
    with pytest.raises(LockedError, match=f"locked by PID {sleeper.pid}"):
        getattr(Meddling(worker), attempt)()
    assert lock.read_bytes() == after


def test_a_lock_that_is_rewritten_for_ever_is_not_waited_for(worker: Path, lock: Path, dead_pid: int) -> None:
    """A writer that never rests cannot hold up who wants the lock."""
    lock.write_bytes(written(dead_pid))
    Meddling.contents = tuple(written(dead_pid) for _ in range(1000))
    with pytest.raises(LockedError, match="rewritten again and again"):
        Meddling(worker).acquire()
    Meddling.contents = ()


def test_a_relative_path_is_fixed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who goes to another directory does not take the lock along."""
    monkeypatch.chdir(tmp_path)
    lock = Lock("ada")
    lock.acquire()
    monkeypatch.chdir("/")
    assert lock.release()


def test_a_full_disk_is_told_and_keeps_the_old_lock(
    worker: Path, lock: Path, dead_pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the file system refuses is an OSError, and the lock is as it was."""
    lock.write_bytes(before := written(dead_pid))

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        Lock(worker).acquire()
    assert lock.read_bytes() == before


def test_import_watcher_is_cheap() -> None:
    """The names are there, and what is behind them is imported when it is asked for."""
    script = (
        "import sys, watcher; before = set(sys.modules); assert 'Lock' in dir(watcher) and 'Watcher' in dir(watcher);"
        "watcher.Lock; assert 'watcher.library.lock' not in before and 'watcher.library.lock' in sys.modules;"
        "print(*(name for name in before if name.startswith(('watcher', 'msgspec', 'psutil'))))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "watcher\n"
    with pytest.raises(AttributeError, match="no attribute 'Locke'"):
        _ = watcher.Locke


def test_all_names_that_the_package_promises_are_there() -> None:
    """Each name in `__all__` can be imported."""
    assert all(getattr(watcher, name) for name in watcher.__all__)


def test_a_signal_meanwhile_leaves_no_flock(worker: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is interrupted while holding the flock lets go of it."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    lock.write_bytes(written(1))
    monkeypatch.setattr(lock_module, "stand", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Lock(worker).acquire()
    with lock.with_name("agent.lock.flock").open("w") as free:
        fcntl.flock(free, fcntl.LOCK_EX | fcntl.LOCK_NB)
