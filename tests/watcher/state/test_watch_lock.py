import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from rules.model import Liveness
from watcher.errors import JobError
from watcher.state import Running, StateStore
from watcher.state.report import look

WATCHER = """
    import os, sys, time
    from watcher.state import Running, StateStore
    store = StateStore(sys.argv[1], sys.argv[2])
    store.claim_watch(Running(pid=os.getpid(), since=5.0, version="1.2", backend="auto", workspace=sys.argv[2]))
    print("watching", flush=True)
    sys.stdin.read()
    store.close()
"""


@contextmanager
def another_watcher(state: Path, workspace: Path) -> Iterator[subprocess.Popen[str]]:
    """Have another process watch the workspace meanwhile."""
    code = "\n".join(line.removeprefix("    ") for line in WATCHER.splitlines())
    with subprocess.Popen(
        [sys.executable, "-c", code, state, workspace], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "watching\n"
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def about(workspace: Path) -> Running:
    """Say who we are."""
    return Running(pid=os.getpid(), since=time.time(), version="1", backend="auto", workspace=str(workspace))


@pytest.fixture
def state(home: Path) -> Path:
    """Give a state directory that is not there yet."""
    return home / "state"


def test_a_second_watcher(state: Path, workspace: Path) -> None:
    """Another watcher of the same workspace is refused with exit code 4, and told who has it."""
    store = StateStore(str(state), str(workspace))
    with another_watcher(state, workspace) as first:
        with pytest.raises(JobError) as caught:
            store.claim_watch(about(workspace))
        assert caught.value.exit_code == 4
        assert str(caught.value) == (
            f"workspace {workspace}: already watched by process {first.pid}: end that one first, or run with --no-state"
        )
    store.close()


def test_under_another_name(state: Path, workspace: Path, home: Path) -> None:
    """A link to the workspace does not make two of it."""
    link = home / "link"
    link.symlink_to(workspace)
    store = StateStore(str(state), str(link))
    with another_watcher(state, workspace), pytest.raises(JobError, match="already watched by process"):
        store.claim_watch(about(link))
    store.close()


def test_a_killed_watcher_leaves_no_lock(state: Path, workspace: Path) -> None:
    """The kernel lets go of it, however the first one ended; the file that stays does not matter."""
    with another_watcher(state, workspace) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
    store = StateStore(str(state), str(workspace))
    store.claim_watch(about(workspace))
    store.close()


def test_another_workspace_is_free(state: Path, workspace: Path, home: Path) -> None:
    """One state directory serves any number of workspaces."""
    other = home / "other"
    other.mkdir()
    with another_watcher(state, workspace):
        store = StateStore(str(state), str(other))
        store.claim_watch(about(other))
        store.close()


def test_a_link_in_the_place_of_the_lock(state: Path, workspace: Path, home: Path) -> None:
    """A planted link is not followed: what it points at is neither made nor emptied."""
    store = StateStore(str(state), str(workspace))
    (next(state.iterdir()) / "lock").symlink_to(home / "elsewhere")
    with pytest.raises(JobError, match="lock: too many levels of symbolic links: name another place with --state-dir"):
        store.claim_watch(about(workspace))
    assert not (home / "elsewhere").exists()
    store.close()


def test_looking_tells_who_watches(state: Path, workspace: Path) -> None:
    """Before, while and after a watcher runs, `look` says so and names it, and it keeps its lock."""
    assert look(str(state), str(workspace)).watcher is Liveness.DEAD
    assert not state.exists()
    with another_watcher(state, workspace) as process:
        for _ in range(3):
            report = look(str(state), str(workspace))
            assert report.watcher is Liveness.ALIVE
            assert report.running == Running(
                pid=process.pid, since=5.0, version="1.2", backend="auto", workspace=str(workspace)
            )
        process.kill()
        process.wait()
    report = look(str(state), str(workspace))
    assert report.watcher is Liveness.DEAD
    assert report.running is not None
    assert report.running.pid == process.pid


@contextmanager
def looked_at(state: Path) -> Iterator[None]:
    """Hold the lock as one who looks does."""
    descriptor = os.open(next(state.iterdir()) / "lock", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    yield
    os.close(descriptor)


def test_those_who_look_do_not_see_each_other(state: Path, workspace: Path) -> None:
    """Looking is no watching, however many do it at once."""
    store = StateStore(str(state), str(workspace))
    store.claim_watch(about(workspace))
    store.close()
    with looked_at(state), looked_at(state):
        assert look(str(state), str(workspace)).watcher is Liveness.DEAD


def test_looking_does_not_keep_a_watcher_from_starting(
    state: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One who looks holds the lock for a moment: a watcher that starts just then waits a little, and tries again."""
    store = StateStore(str(state), str(workspace))
    store.claim_watch(about(workspace))
    store.close()
    store = StateStore(str(state), str(workspace))
    with ExitStack() as looking:
        looking.enter_context(looked_at(state))
        monkeypatch.setattr(time, "sleep", lambda _: looking.close())
        store.claim_watch(about(workspace))
    store.close()


def test_an_unreadable_signature(state: Path, workspace: Path) -> None:
    """A lock that nobody signed, on a full disk for one, is a lock all the same."""
    with another_watcher(state, workspace):
        for content in (b"\xff" * 10, b"{}", b'{"pid": 0}', b"[" * 70_000, b""):
            (next(state.iterdir()) / "lock").write_bytes(content)
            report = look(str(state), str(workspace))
            assert (report.watcher, report.running) == (Liveness.ALIVE, None)
        store = StateStore(str(state), str(workspace))
        with pytest.raises(JobError, match="already watched by another process"):
            store.claim_watch(about(workspace))
        store.close()
