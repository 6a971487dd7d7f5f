"""The observer of a workspace: watchdog's interface, pruned, and deaf to nothing.

    observer = WorkspaceObserver(pruning=Pruning(frozenset({".git", "node_modules"})))
    observer.schedule(handler, "/srv/workspace")
    observer.start()

The handler gets `FileCreatedEvent`, `FileModifiedEvent` and `FileDeletedEvent` on the paths of locks, in the
order in which things happened to each lock, and a `TreeScannedEvent` whenever everything was looked at.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import BaseObserver, ObservedWatch

from watcher.sources.workspace.crawl import Pruning
from watcher.sources.workspace.emitter import WorkspaceEmitter
from watcher.sources.workspace.notifier import Notifier
from watcher.sources.workspace.reports import Component, Condition, Health, ScanReason, Stats, TreeScannedEvent
from watcher.sources.workspace.setup import Setup

__all__ = [
    "Component",
    "Condition",
    "Health",
    "Pruning",
    "ScanReason",
    "Stats",
    "TreeScannedEvent",
    "WorkspaceObserver",
]


class WorkspaceObserver(BaseObserver):
    """Watches whole trees for the locks in them, by one thread a root.

    `pruning` says which directories are looked into. `backend` is `inotify` (Linux), `native` (watchdog's own
    observer for this system), `polling`, or `auto`: the best of them. A slow rescan begins `rescan_interval`
    seconds after the last scan; what is not notified is looked at every `poll_interval` seconds.

    With `on_event` given, the emitter's thread calls it with every event, instead of the handlers: that saves
    the hop through the dispatcher's thread. `on_health` is called in the same thread. Neither may block, and
    what they raise ends the thread; that is told as `FAILED`, and a new observer is the way on.

    Raises:
        ValueError: there is no such backend on this system.
    """

    def __init__(
        self,
        pruning: Pruning | None = None,
        *,
        backend: str = "auto",
        rescan_interval: float = 30.0,
        poll_interval: float = 1.0,
        on_event: Callable[[FileSystemEvent], None] | None = None,
        on_health: Callable[[Health], None] | None = None,
        timeout: float = 1.0,
    ) -> None:
        self._setup = Setup(
            pruning=pruning or Pruning(),
            open_notifier=_notifier(backend),
            rescan_interval=rescan_interval,
            poll_interval=poll_interval,
            on_event=on_event,
            on_health=on_health,
        )
        super().__init__(WorkspaceEmitter, timeout=timeout, setup=self._setup)

    def schedule(
        self,
        event_handler: FileSystemEventHandler,
        path: str | Path,
        *,
        recursive: bool = True,
        event_filter: list[type[FileSystemEvent]] | None = None,
        follow_symlink: bool = False,
    ) -> ObservedWatch:
        """Watch the tree at `path`, which may be a symbolic link; it is resolved once.

        Raises:
            ValueError: `recursive` is false, or `follow_symlink` true: this observer does neither.
            OSError: the observer runs already, and `path` is not a readable directory.
        """
        if not recursive or follow_symlink:
            raise ValueError(f"a workspace is watched whole, and no link in it is followed: {os.fspath(path)!r}")
        return super().schedule(event_handler, path, recursive=True, event_filter=event_filter)

    def watch(self, path: str | Path) -> ObservedWatch:
        """Watch the tree at `path` for `on_event` alone, as `schedule` does for a handler.

        Raises:
            ValueError: there is no `on_event`.
            OSError: the observer runs already, and `path` is not a readable directory.
        """
        if self._setup.on_event is None:
            raise ValueError(f"nobody would hear of {os.fspath(path)!r}: give on_event, or schedule a handler")
        return self.schedule(FileSystemEventHandler(), path)

    @property
    def stats(self) -> Stats:
        """Where the observer stands (its first root; give each root an observer of its own to tell them apart)."""
        for emitter in self.emitters.copy():
            if isinstance(emitter, WorkspaceEmitter):
                return emitter.stats
        return Stats()


def _notifier(backend: str) -> Callable[[str], Notifier]:
    """What opens the notifier of a backend on a root."""
    linux = sys.platform == "linux"
    match backend:
        case "inotify" | "auto" if linux:
            from watcher.sources.workspace.inotify import InotifyNotifier  # noqa: PLC0415 - only Linux has it

            return lambda _root: InotifyNotifier()
        case "native" | "auto":
            from watcher.sources.workspace.native import NativeNotifier  # noqa: PLC0415 - 4 MB that others need not load

            return NativeNotifier
        case "polling":
            return lambda _root: Notifier()
        case _:
            raise ValueError(f"there is no backend {backend!r} here: try auto")
