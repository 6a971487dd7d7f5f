import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import watcher
from watcher import Lock, LockedError, clean_stale_locks
from watcher.library.clean import StaleLock, remove, stale_locks
from watcher.parts import this_host
from watcher.settings import Settings
from watcher.settings.rules import Rules, Stale
from watcher.settings.tree import Tmux
from watcher.sources.processes.watch import probe
from watcher.survey import survey
from watcher.testing import write_lock

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")
ROOT = Path(watcher.__file__).parents[1]
PATIENCE = 30.0
NO_TMUX = Settings(tmux=Tmux(enabled=False))


def judged(root: Path) -> StaleLock:
    """Judge the one stale lock below a directory."""
    (lock,) = stale_locks(survey(str(root), NO_TMUX))
    return lock


def test_removes_stale_locks_and_no_others(tmp_path: Path, dead_pid: int, sleeper: subprocess.Popen[bytes]) -> None:
    """Of a dead process's, a living one's, another host's and a broken lock, only the first goes; it says why."""
    stale = write_lock(tmp_path / "rig" / "stale", dead_pid)
    nobody = write_lock(tmp_path / "nobody", 0)
    kept = [
        write_lock(tmp_path / "held", sleeper.pid),
        write_lock(tmp_path / "foreign", dead_pid, hostname="elsewhere"),
    ]
    broken = write_lock(tmp_path / "broken", dead_pid)
    broken.write_bytes(b"{")
    removed = clean_stale_locks(tmp_path)
    assert [(each.worker, each.directory, each.record.pid, each.why) for each in removed] == [
        ("nobody", str(tmp_path / "nobody"), 0, "the lock names no process and the lock names no session"),
        (
            "rig/stale",
            str(tmp_path / "rig" / "stale"),
            dead_pid,
            f"process {dead_pid} is gone and the lock names no session",
        ),
    ]
    assert not stale.exists()
    assert not nobody.exists()
    assert all(path.exists() for path in (*kept, broken))
    assert clean_stale_locks(tmp_path) == []


def test_an_unknown_session_is_never_cleaned(tmp_path: Path, dead_pid: int) -> None:
    """Without an answer from tmux a dead process alone makes no lock stale."""
    lock = write_lock(tmp_path, dead_pid, "gt-ada")
    assert clean_stale_locks(tmp_path, NO_TMUX) == []
    assert lock.exists()


def test_alert_settings_change_nothing(tmp_path: Path, dead_pid: int) -> None:
    """That a dead process alone raises an alert makes nothing stale; that alerts are off keeps nothing from it."""
    unknown = write_lock(tmp_path / "unknown", dead_pid, "gt-ada")
    stale = write_lock(tmp_path / "stale", dead_pid)
    loud = Settings(tmux=NO_TMUX.tmux, rules=Rules(stale=Stale(require_dead_session=False)))
    quiet = Settings(tmux=NO_TMUX.tmux, rules=Rules(ignore_workers=("*",), stale=Stale(enabled=False)))
    assert [each.worker for each in clean_stale_locks(tmp_path, loud)] == ["stale"]
    write_lock(tmp_path / "stale", dead_pid)
    (removed,) = clean_stale_locks(tmp_path, quiet)
    assert removed.why == f"process {dead_pid} is gone and the lock names no session"
    assert not stale.exists()
    assert unknown.exists()


@pytest.mark.parametrize("change", ["rewritten", "replaced", "released"])
def test_what_changed_since_it_was_judged_stays(tmp_path: Path, dead_pid: int, change: str) -> None:
    """A lock that was rewritten in place, replaced by one with the same bytes, or removed is not what was judged."""
    path = write_lock(tmp_path, dead_pid)
    lock = judged(tmp_path)
    before = path.read_bytes()
    if change == "rewritten":
        path.write_bytes(before := before.replace(b'"pid": ', b'"pid":  '))
    elif change == "replaced":
        path.with_name("new").write_bytes(before)
        path.with_name("new").rename(path)
    else:
        path.unlink()
    assert not remove(lock, this_host(Settings()))
    assert path.exists() is (change != "released")
    assert change == "released" or path.read_bytes() == before


def test_the_process_is_asked_once_more(
    tmp_path: Path, dead_pid: int, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock whose process turns out to be there after all stays."""
    path = write_lock(tmp_path, dead_pid)
    lock = judged(tmp_path)
    monkeypatch.setattr("watcher.library.clean.probe", lambda _: probe(sleeper.pid))
    assert not remove(lock, this_host(Settings()))
    assert path.exists()


def test_one_that_cannot_go_keeps_no_other(tmp_path: Path, dead_pid: int) -> None:
    """A worker whose flock cannot be had is passed over, and is not said to be clean."""
    stuck, free = write_lock(tmp_path / "a", dead_pid), write_lock(tmp_path / "b", dead_pid)
    stuck.with_name("agent.lock.flock").mkdir()
    assert [each.worker for each in clean_stale_locks(tmp_path)] == ["b"]
    assert stuck.exists()
    assert not free.exists()


@AS_ROOT
def test_roots_visit_does_not_lock_the_owner_out(tmp_path: Path, dead_pid: int) -> None:
    """The flock file that root leaves behind belongs to the worker's owner."""
    lock = write_lock(tmp_path, dead_pid)
    os.chown(lock.parent, 12345, 12345)
    assert len(clean_stale_locks(tmp_path)) == 1
    assert lock.with_name("agent.lock.flock").stat().st_uid == 12345


# It swaps the directory for a link to one that holds the very same file, and back, and puts back what was removed.
ATTACKER = """if True:
    import os, sys
    worker, outside = sys.argv[1:]
    os.chdir(worker)
    print("up", flush=True)
    while os.getppid() == int(os.environ["TESTER"]):
        os.rename(".runtime", "aside")
        os.symlink(outside, ".runtime")
        os.unlink(".runtime")
        os.rename("aside", ".runtime")
        try:
            os.link(outside + "/agent.lock", ".runtime/agent.lock")
        except FileExistsError:
            pass
    """


@contextmanager
def attacked(worker: Path, outside: Path) -> Iterator[None]:
    """Have the worker's `.runtime` swapped for a link to `outside` and back all the while."""
    environment = {**os.environ, "TESTER": str(os.getpid())}
    attacker = subprocess.Popen(
        [sys.executable, "-c", ATTACKER, worker, outside], env=environment, stdout=subprocess.PIPE, text=True
    )
    with attacker:
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == "up\n"
        try:
            yield
            assert attacker.poll() is None
        finally:
            attacker.kill()


@pytest.mark.parametrize("act", ["clean", "remove", "release", "force_release"])
def test_nothing_is_removed_outside(
    worker: Path, lock: Path, tmp_path_factory: pytest.TempPathFactory, dead_pid: int, act: str
) -> None:
    """While an agent swaps `.runtime` for a link, what the link leads to stays, though it is the same file."""
    pid = os.getpid() if act == "release" else dead_pid
    outside = write_lock(tmp_path_factory.mktemp("outside"), pid, hostname=socket.gethostname())
    os.link(outside, lock)
    stale = judged(worker) if act == "remove" else None
    visitor = Lock(worker)
    tried = removed = 0
    enough = 300 if act == "clean" else 3000
    deadline = time.monotonic() + PATIENCE
    with attacked(worker, outside.parent):
        while (tried < enough or not removed) and time.monotonic() < deadline:
            tried += 1
            with suppress(OSError, LockedError):
                if stale is not None:
                    removed += remove(stale, this_host(Settings()))
                elif act == "clean":
                    removed += len(clean_stale_locks(worker))
                else:
                    removed += getattr(visitor, act)()
            assert outside.exists()
    assert removed
    assert [path.name for path in outside.parent.iterdir()] == ["agent.lock"]
