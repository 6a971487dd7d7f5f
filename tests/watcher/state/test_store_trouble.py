import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from queue import Queue

import pytest

from rules.alerts import Alert, Step, Transition
from tests.rules.builders import HELD, finding
from watcher.state import StateStore, StoredWorker
from watcher.state import file as file_module
from watcher.state import store as store_module

MINUTE = 60.0

namespaces = pytest.mark.skipif(
    sys.platform != "linux" or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode != 0,
    reason="no mount namespaces here",
)


class Told:
    """Hears how the store is doing."""

    def __init__(self) -> None:
        self.news: Queue[str] = Queue()

    def __call__(self, reason: str, hint: str) -> None:
        """Take the news; every trouble comes with a way out."""
        assert hint or not reason
        self.news.put(reason)

    def next(self) -> str:
        """Wait for it."""
        return self.news.get(timeout=MINUTE)


@pytest.fixture
def told() -> Told:
    """Give what is told."""
    return Told()


@pytest.fixture
def store(home: Path, workspace: Path, told: Told) -> Iterator[StateStore]:
    """Give a store that runs."""
    store = StateStore(str(home / "state"), str(workspace), on_trouble=told)
    store.load()
    yield store
    store.close()


def place(home: Path) -> Path:
    """Give the workspace's directory."""
    return next((home / "state").iterdir())


def left(home: Path, workspace: Path) -> list[str]:
    """Give the workers that the next run would know."""
    store = StateStore(str(home / "state"), str(workspace))
    loaded = store.load()
    store.close()
    assert loaded.trouble == ""
    return sorted(worker.worker for worker in loaded.workers)


def test_a_file_that_somebody_removed(store: StateStore, told: Told, home: Path, workspace: Path) -> None:
    """It is made anew with all that is known, at the next change; nothing is lost, so nothing is told."""
    store.keep([StoredWorker("a", HELD)])
    assert store.flush(MINUTE)
    (place(home) / "state.jsonl").unlink()
    store.keep([StoredWorker("b", HELD)])
    assert store.flush(MINUTE)
    assert left(home, workspace) == ["a", "b"]
    assert told.news.empty()


def test_what_changes_while_the_file_is_rewritten(
    store: StateStore, told: Told, home: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rewrite takes its time: what is kept meanwhile is in the new file too."""
    hanging, back = threading.Event(), threading.Event()

    def hang(_: int) -> None:
        hanging.set()
        assert back.wait(MINUTE)

    store.keep([StoredWorker("a", HELD)])
    assert store.flush(MINUTE)
    monkeypatch.setattr(os, "fsync", hang)
    (place(home) / "state.jsonl").unlink()
    store.keep([StoredWorker("b", HELD)])
    assert hanging.wait(MINUTE)
    store.keep([StoredWorker("c", HELD)])
    back.set()
    assert store.flush(MINUTE)
    monkeypatch.undo()
    assert left(home, workspace) == ["a", "b", "c"]
    assert told.news.empty()


def test_a_disk_that_loses_what_it_was_given(
    store: StateStore, told: Told, home: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed fsync the kernel may have dropped what was written, so all is written anew."""
    works, inode = file_module._datasync, (place(home) / "state.jsonl").stat().st_ino

    def fail(_: int) -> None:
        monkeypatch.setattr(file_module, "_datasync", works)
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(store_module, "_FIRST_RETRY", 0.01)
    monkeypatch.setattr(file_module, "_datasync", fail)
    store.keep([StoredWorker("a", HELD)])
    assert told.next().endswith(": input/output error")
    assert told.next() == ""
    assert (place(home) / "state.jsonl").stat().st_ino != inode
    assert left(home, workspace) == ["a"]


def test_a_directory_that_somebody_removed(store: StateStore, told: Told, home: Path) -> None:
    """What cannot be written is told once, with the place; the store goes on without."""
    gone = place(home)
    store.keep([StoredWorker("a", HELD)])
    assert store.flush(MINUTE)
    shutil.rmtree(gone)
    for number in range(3):
        store.keep([StoredWorker(f"w{number}", HELD)])
    assert told.next() == f"{gone}: no such file or directory"
    assert not store.flush(0.0)
    assert store.intend([Transition(Step.FIRING, Alert(finding(), "0" * 16, 1.0))])
    assert told.news.empty()


def test_a_disk_that_does_not_answer(
    store: StateStore, told: Told, home: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an fsync hangs the loop stops writing to that disk, and says so; when it is back, nothing is missing."""
    hanging, back = threading.Event(), threading.Event()

    def hang(_: int) -> None:
        hanging.set()
        assert back.wait(MINUTE)

    monkeypatch.setattr(file_module, "_datasync", hang)
    monkeypatch.setattr(store_module, "_STUCK", 0.0)
    store.keep([StoredWorker("a", HELD)])
    assert hanging.wait(MINUTE)
    size = (place(home) / "state.jsonl").stat().st_size
    store.keep([StoredWorker("b", HELD)])
    assert (place(home) / "state.jsonl").stat().st_size == size
    assert told.next() == f"{place(home)}: the disk does not answer"
    back.set()
    assert told.next() == ""
    assert store.flush(MINUTE)
    assert left(home, workspace) == ["a", "b"]


def test_a_slow_disk_keeps_no_mark_waiting(
    home: Path, workspace: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a line is out is noted while an fsync still lasts: the less is in doubt when we are killed."""
    hanging, back, drained = threading.Event(), threading.Event(), threading.Event()

    def hang(_: int) -> None:
        hanging.set()
        assert back.wait(MINUTE)

    store = StateStore(str(home / "state"), str(workspace), drained=drained.wait, on_trouble=told)
    store.load()
    monkeypatch.setattr(file_module, "_datasync", hang)
    store.intend([Transition(Step.FIRING, Alert(finding(), "0" * 16, 1.0))])
    store.keep()
    assert hanging.wait(MINUTE)
    drained.set()
    deadline = time.monotonic() + MINUTE
    while b'"upto":1' not in (place(home) / "state.jsonl").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    back.set()
    store.close()


FULL = """
    import subprocess, sys, threading
    from dataclasses import replace
    from pathlib import Path
    from queue import Queue
    from rules.alerts import Alert, Step, Transition
    from tests.rules.builders import HELD, finding
    from watcher.state import StateStore, StoredWorker
    from watcher.state.report import look

    disk, workspace = Path(sys.argv[1]), sys.argv[2]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", disk], check=True)
    news = Queue()
    store = StateStore(str(disk), workspace, on_trouble=lambda reason, hint: news.put(reason))
    store.load()
    store.intend([Transition(Step.FIRING, Alert(finding(), "0" * 16, 1.0))])
    store.keep([StoredWorker("early", HELD)])
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        try:
            while stream.write(bytes(4096)):
                pass
        except OSError:
            pass
    big = replace(HELD, tmux_socket="x" * 6000)
    for number in range(4):
        store.keep([StoredWorker(f"w{number}", big)])
    store.intend([Transition(Step.FIRING, Alert(finding(), "1" * 16, 1.0))])
    assert news.get(timeout=60).endswith(": no space left on device")
    # The old file is whole, and still says what it said.
    report = look(str(disk), workspace)
    assert (report.trouble, [alert.fingerprint for alert in report.alerts]) == ("", ["0" * 16]), report
    ballast.unlink()
    assert news.get(timeout=60) == ""
    assert store.flush(60)
    report = look(str(disk), workspace)
    assert report.trouble == "" and len(report.alerts) == 2 and report.claims == 5, report
    store.close()
    assert news.empty()
    assert not [path for path in disk.rglob("*.tmp")]
"""

READ_ONLY = """
    import subprocess, sys
    from pathlib import Path
    from watcher.errors import JobError
    from watcher.state import Running, StateStore

    disk, workspace = Path(sys.argv[1]), sys.argv[2]
    about = Running(pid=1, since=1.0, version="1", backend="auto")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=True)
    store = StateStore(str(disk), workspace)
    store.load()
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    store = StateStore(str(disk), workspace)
    try:
        store.claim_watch(about)
        raise SystemExit("it was claimed")
    except JobError as error:
        print(error)
    (disk / "nothing").exists()
    try:
        StateStore(str(disk / "new"), workspace)
        raise SystemExit("it was made")
    except JobError as error:
        print(error)
"""


def in_a_namespace(code: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run code where it may mount."""
    return subprocess.run(
        ["unshare", "-Urm", sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
    )


@namespaces
def test_a_full_disk(home: Path, workspace: Path) -> None:
    """The old file stays whole, the trouble is told once, and when there is room again all is written."""
    disk = home / "disk"
    disk.mkdir()
    job = in_a_namespace(FULL, disk, workspace)
    assert job.returncode == 0, job.stderr


@namespaces
def test_a_read_only_place(home: Path, workspace: Path) -> None:
    """A watcher that cannot take its lock does not run beside another one: it says what to do."""
    disk = home / "disk"
    disk.mkdir()
    job = in_a_namespace(READ_ONLY, disk, workspace)
    assert job.returncode == 0, job.stderr
    lines = job.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith(f"state: cannot use {disk}/")
        assert line.endswith(
            ": read-only file system: name another place with --state-dir, or keep none with --no-state"
        )


def test_an_alert_in_trouble_is_kept_in_memory(
    store: StateStore, told: Told, home: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that fails, and the rewrite after it, cost nothing once they work: the next run knows all."""
    failing = True

    def write(descriptor: int, data: bytes) -> int:
        if failing:
            raise OSError(5, os.strerror(5))
        return os.write(descriptor, data)

    monkeypatch.setattr(store_module, "_FIRST_RETRY", 0.01)
    monkeypatch.setattr(file_module, "_write_all", write)
    store.intend([Transition(Step.FIRING, Alert(finding(), "0" * 16, 1.0))])
    store.keep([StoredWorker("a", HELD)])
    assert told.next().endswith(": input/output error")
    failing = False
    assert told.next() == ""
    assert store.flush(MINUTE)
    store.keep([StoredWorker("b", replace(HELD))])
    assert store.flush(MINUTE)
    assert left(home, workspace) == ["a", "b"]
