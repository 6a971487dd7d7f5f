"""What a listener believes who has nothing but the observer's events, and what the disk says."""

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from watchdog.events import FileDeletedEvent, FileSystemEvent

from watcher.sources.workspace.observer import Health, Pruning, Stats, TreeScannedEvent, WorkspaceObserver

DEADLINE = 30.0
SKIP = frozenset({".git", "node_modules"})


class View:
    """Follows one workspace by one observer: the locks it was told of, and all that it was told, in order."""

    def __init__(
        self,
        root: Path,
        *,
        backend: str = "inotify",
        pruning: Pruning | None = None,
        rescan_interval: float = 3600.0,
        poll_interval: float = 0.05,
    ) -> None:
        self.root = root
        self.locks: set[str] = set()
        self.events: list[FileSystemEvent] = []
        self.scans: list[TreeScannedEvent] = []
        self.health: list[Health] = []
        self._changed = threading.Condition()
        self.observer = WorkspaceObserver(
            pruning or Pruning(SKIP),
            backend=backend,
            rescan_interval=rescan_interval,
            poll_interval=poll_interval,
            on_event=self._on_event,
            on_health=self._on_health,
        )
        self.observer.watch(root)

    def start(self) -> "View":
        """Start, and wait until the first scan is done."""
        self.observer.start()
        self.wait(lambda: bool(self.scans), "the first scan")
        return self

    def stop(self) -> None:
        """Stop, and wait for the threads."""
        if self.observer.is_alive():
            self.observer.stop()
            self.observer.join(DEADLINE)

    @property
    def stats(self) -> Stats:
        """Where the observer stands."""
        return self.observer.stats

    @property
    def told(self) -> list[str]:
        """All file events so far: `created w/.runtime/agent.lock`."""
        return [
            f"{event.event_type} {os.path.relpath(os.fsdecode(event.src_path), self.root)}"
            for event in list(self.events)
            if not isinstance(event, TreeScannedEvent)
        ]

    def wait(self, fact: Callable[[], bool], what: str = "") -> None:
        """Wait for a fact that the events or the observer's numbers bring about."""
        end = time.monotonic() + DEADLINE
        with self._changed:
            while not fact():
                left = end - time.monotonic()
                assert left > 0, f"waited in vain for {what}: {self.stats}, {self.health}, locks {sorted(self.locks)}"
                self._changed.wait(min(left, 0.02))

    def sync(self) -> None:
        """Wait until all that happened so far was told: a lock of our own was seen to come and go twice."""
        for _ in range(2):
            lock = write_lock(self.root / ".cookie")
            self.wait(lambda: str(lock) in self.locks, "the cookie")  # noqa: B023 - called before the loop goes on
            shutil.rmtree(self.root / ".cookie")
            self.wait(lambda: str(lock) not in self.locks, "the end of the cookie")  # noqa: B023 - as above

    def settle(self, *workers: str) -> None:
        """Wait until the locks that were told of are exactly those of these workers, after all was told."""
        self.sync()
        expected = {str(self.root / worker / ".runtime" / "agent.lock") for worker in workers}
        self.wait(lambda: self.locks == expected, f"locks {sorted(expected)}")

    def settle_as_on_disk(self) -> None:
        """Wait until the locks that were told of are exactly those on the disk."""
        self.sync()
        expected = locks_on_disk(self.root)
        self.wait(lambda: self.locks == expected, f"locks {sorted(expected)}")

    def _on_event(self, event: FileSystemEvent) -> None:
        with self._changed:
            self.events.append(event)
            path = os.fsdecode(event.src_path)
            if isinstance(event, TreeScannedEvent):
                self.scans.append(event)
                self.locks = set(event.locks)
            elif isinstance(event, FileDeletedEvent):
                self.locks.discard(path)
            else:
                self.locks.add(path)
            self._changed.notify_all()

    def _on_health(self, health: Health) -> None:
        with self._changed:
            self.health.append(health)
            self._changed.notify_all()


def locks_on_disk(root: Path, skip: frozenset[str] = SKIP) -> set[str]:
    """Every lock below `root`, found the plain way."""
    found = set()
    for path, directories, _ in os.walk(root):
        directories[:] = [name for name in directories if name not in skip]
        lock = Path(path) / "agent.lock"
        if lock.parent.name == ".runtime" and lock.parent != root and os.path.lexists(lock):
            found.add(str(lock))
    return found


def write_lock(worker: Path, text: str = "{}") -> Path:
    """Write the lock of `worker` in place, making all that it needs."""
    runtime = worker / ".runtime"
    runtime.mkdir(parents=True, exist_ok=True)
    lock = runtime / "agent.lock"
    lock.write_text(text)
    return lock
