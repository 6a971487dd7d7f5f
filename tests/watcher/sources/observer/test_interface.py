import errno
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from watchdog.events import FileCreatedEvent, FileDeletedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import BaseObserver

from tests.watcher.sources.observer.view import DEADLINE, View, write_lock
from watcher.sources.workspace import inotify
from watcher.sources.workspace.observer import (
    Condition,
    Health,
    Pruning,
    ScanReason,
    TreeScannedEvent,
    WorkspaceObserver,
)


class _Handler(FileSystemEventHandler):
    """Any handler written for watchdog: it knows nothing of us."""

    def __init__(self) -> None:
        self.calls: queue.Queue[tuple[str, str]] = queue.Queue()

    def on_created(self, event: FileSystemEvent) -> None:
        self.calls.put(("created", os.fsdecode(event.src_path)))

    def on_modified(self, event: FileSystemEvent) -> None:
        self.calls.put(("modified", os.fsdecode(event.src_path)))

    def on_deleted(self, event: FileSystemEvent) -> None:
        self.calls.put(("deleted", os.fsdecode(event.src_path)))

    def next(self) -> tuple[str, str]:
        return self.calls.get(timeout=DEADLINE)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_any_handler_gets_standard_events(root: Path) -> None:
    """It is a watchdog observer: a plain handler hears of the scanned tree, and of each lock, and of nothing else."""
    write_lock(root / "old")
    write_lock(root / "new").unlink()
    handler = _Handler()
    observer = WorkspaceObserver()
    assert isinstance(observer, BaseObserver)
    observer.schedule(handler, str(root))
    with observer:
        assert handler.next() == ("modified", str(root))
        lock = write_lock(root / "new")
        (root / "file").touch()
        assert handler.next() == ("created", str(lock))
        assert handler.next() == ("modified", str(lock))
        lock.unlink()
        assert handler.next() == ("deleted", str(lock))
    assert handler.calls.empty()


def test_event_filter(root: Path) -> None:
    """Only the events that were asked for reach a handler."""
    lock = write_lock(root / "a")
    handler = _Handler()
    with WorkspaceObserver() as observer:
        observer.schedule(handler, root, event_filter=[FileDeletedEvent])
        scanned = observer.stats
        while not scanned.armed:
            scanned = observer.stats
        lock.write_text("[]")
        lock.unlink()
        assert handler.next() == ("deleted", str(lock))


def test_two_workspaces(tmp_path: Path) -> None:
    """One observer may watch several trees; each event reaches the handler of its own."""
    handlers = _Handler(), _Handler()
    with WorkspaceObserver() as observer:
        for name, handler in zip("ab", handlers, strict=True):
            (tmp_path / name).mkdir()
            observer.schedule(handler, tmp_path / name)
            assert handler.next() == ("modified", str(tmp_path / name))
        lock = write_lock(tmp_path / "b" / "w")
        assert handlers[1].next() == ("created", str(lock))
    assert handlers[0].calls.empty()


def test_first_scan_carries_the_locks(root: Path, backend: str, watching: Callable[..., View]) -> None:
    """The first event is the scanned tree, with every lock that was there; no lock has an event of its own."""
    locks = {str(write_lock(root / name)) for name in ("a", "b/c", ".")}
    write_lock(root / ".git" / "d")
    view = watching(root, backend=backend)
    (event,) = view.events
    assert isinstance(event, TreeScannedEvent)
    assert (event.src_path, event.reason, set(event.locks)) == (str(root), ScanReason.START, locks)
    assert (event.directories, event.skipped) == (len({".", "a", "b", "c"}) + 3, 1)
    assert (view.stats.backend, view.stats.directories, view.stats.locks) == (backend, 7, 3)


@pytest.mark.parametrize("name", ["missing", "file"])
def test_no_directory_to_watch(root: Path, name: str) -> None:
    """What is not a directory cannot be watched: starting says so."""
    (root / "file").touch()
    observer = WorkspaceObserver(on_event=lambda _: None)
    observer.watch(root / name)
    with pytest.raises(OSError, match=name) as caught:
        observer.start()
    assert caught.value.errno in {errno.ENOENT, errno.ENOTDIR}
    observer.stop()


def test_wrong_use_is_refused(root: Path) -> None:
    """A backend that is not there, a watch that nobody would hear of, and half a tree are errors at once."""
    with pytest.raises(ValueError, match="no backend 'fsevents'"):
        WorkspaceObserver(backend="fsevents")
    with pytest.raises(ValueError, match="nobody would hear"):
        WorkspaceObserver().watch(root)
    with pytest.raises(ValueError, match="watched whole"):
        WorkspaceObserver().schedule(_Handler(), root, recursive=False)


def test_nothing_is_left_behind(root: Path, backend: str, watching: Callable[..., View]) -> None:
    """A stopped observer has no thread and no descriptor any more."""
    write_lock(root / "a")
    threads, files = threading.active_count(), _open_files()
    view = watching(root, backend=backend, rescan_interval=0.1)
    write_lock(root / "b")
    view.settle("a", "b")
    view.stop()
    assert (threading.active_count(), _open_files()) == (threads, files)


def test_stopped_before_it_ran(root: Path) -> None:
    """An observer may be stopped at any time, also at once."""
    files = _open_files()
    for _ in range(20):
        observer = WorkspaceObserver(on_event=lambda _: None)
        observer.watch(root)
        observer.start()
        observer.stop()
        observer.join(DEADLINE)
        assert not observer.is_alive()
    assert _open_files() == files


def test_death_of_the_thread_is_told(root: Path) -> None:
    """Whatever ends the emitter's thread is told at once, with the error; a new observer goes on from there."""
    health: queue.Queue[Health] = queue.Queue()

    def break_down(event: FileSystemEvent) -> None:
        if isinstance(event, FileCreatedEvent):
            raise RuntimeError("a defect")  # noqa: TRY004 - the type is of no account

    observer = WorkspaceObserver(on_event=break_down, on_health=health.put)
    observer.watch(root)
    observer.start()
    while not observer.stats.armed:
        pass
    write_lock(root / "a")
    told = health.get(timeout=DEADLINE)
    assert (told.component, told.condition) == ("inotify", Condition.FAILED)
    assert told.reason == "the observer ended: RuntimeError: a defect"
    assert isinstance(told.error, RuntimeError)
    observer.stop()
    observer.join(DEADLINE)
    assert not observer.is_alive()


def test_events_of_other_files_are_skipped_but_counted(root: Path, watching: Callable[..., View]) -> None:
    """The number of events counts all that the kernel sent."""
    view = watching(root)
    before = view.stats.events
    for number in range(100):
        (root / f"file{number}").touch()
    view.wait(lambda: view.stats.events == before + 100, "the events")
    assert len(view.events) == 1


def test_wake_after_the_end(root: Path) -> None:
    """A notifier that was closed ignores a late wake: its descriptor may be another's by now."""
    notifier = inotify.InotifyNotifier()
    notifier.close()
    notifier.wake()
    assert root.is_dir()


def test_depth(root: Path, backend: str, watching: Callable[..., View]) -> None:
    """Workers deeper than `max_depth` are not known, also when they are moved there; those that come up are."""
    for worker in (".", "a", "a/b", "a/b/c"):
        write_lock(root / worker)
    view = watching(root, backend=backend, pruning=Pruning(max_depth=2), rescan_interval=0.1)
    view.settle(".", "a", "a/b")
    (root / "a" / "b" / "c").rename(root / "c")
    view.settle(".", "a", "a/b", "c")
    (root / "c").rename(root / "a" / "b" / "c")
    view.settle(".", "a", "a/b")
    (root / "a").rename(root / "z")
    view.settle(".", "z", "z/b")
