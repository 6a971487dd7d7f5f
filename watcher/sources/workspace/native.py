"""watchdog's own observer for this system as a notifier: what it says is a hint, the tree looks for itself.

It does not tell of its losses, and it watches the pruned parts as well.
"""

import os
import threading
from collections import deque
from contextlib import suppress
from typing import Protocol

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from watcher.sources.workspace.crawl import ABSENT, LOCK_NAME, RUNTIME_DIR, lock_signature
from watcher.sources.workspace.nodes import Node
from watcher.sources.workspace.notifier import Notifier
from watcher.sources.workspace.tree import Tree

_WANTED: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]
"""Without those for opening and reading: the walk would cause them."""

_BACKLOG = 65_536
"""Hints kept while the tree is busy; more than that are an overflow."""

_ENDING = 2.0
"""Seconds that watchdog's threads may take to end."""

_COVERED = -1
"""The watch number of a directory that is watched along with the root."""

_LOCK = os.sep + RUNTIME_DIR + os.sep + LOCK_NAME


class NativeNotifier(Notifier):
    """Watches one root by watchdog's observer: FSEvents on macOS, ReadDirectoryChangesW on Windows.

    Raises:
        OSError: that observer does not start.
    """

    backend = "native"

    def __init__(self, root: str) -> None:
        super().__init__()
        self._root = root
        self._hints: deque[tuple[str, bool]] = deque()
        self._lock = threading.Lock()
        self._observer = Observer()
        self._observer.schedule(_Listener(self._hint), root, recursive=True, event_filter=_WANTED)
        self._observer.start()

    @property
    def watches(self) -> int:
        """One, on the root."""
        return 1

    def watch(self, node: Node, path: str) -> bool:
        """All of the tree is watched already."""
        del path
        node.watch = _COVERED
        return True

    def deliver(self, tree: Tree) -> None:
        """Look at the places that were hinted at.

        Raises:
            RuntimeError: watchdog's thread has ended, while the root is still there.
        """
        with self._lock:
            hints, self._hints = self._hints, deque()
        self.events += len(hints)
        for path, removed in hints:
            if path.endswith(_LOCK):
                _look_at_lock(tree, path, removed=removed)
            else:
                _look_at_directory(tree, path)
        if not all(emitter.is_alive() for emitter in self._observer.emitters):
            if os.path.isdir(self._root):  # noqa: PTH112 - a path is made for nothing
                raise RuntimeError("watchdog's observer has ended")
            self.lost = True

    def close(self) -> None:
        """Stop the observer. On Linux its books do not survive every rename: then it cannot let go of everything."""
        try:
            self._observer.stop()
        except KeyError:
            self._observer.event_queue.put(self._observer.stop_event)
        self._observer.join(_ENDING)

    def _hint(self, path: str, *, removed: bool) -> None:
        with self._lock:
            if len(self._hints) < _BACKLOG:
                self._hints.append((path, removed))
            else:
                self.overflowed = True
        self.wake()


class _Hint(Protocol):
    def __call__(self, path: str, *, removed: bool) -> None: ...


class _Listener(FileSystemEventHandler):
    """Takes what watchdog says, in its dispatcher's thread."""

    def __init__(self, hint: _Hint) -> None:
        self._hint = hint

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Pass on the paths of directories and locks."""
        source, target = os.fsdecode(event.src_path), os.fsdecode(event.dest_path)
        removed = isinstance(event, FileDeletedEvent | FileMovedEvent)
        if event.is_directory or source.endswith(_LOCK):
            self._hint(source, removed=removed)
        if target and (event.is_directory or target.endswith(_LOCK)):
            self._hint(target, removed=False)


def _look_at_lock(tree: Tree, path: str, *, removed: bool) -> None:
    found = tree.find(path[: -len(LOCK_NAME) - 1])
    if found is None:
        return
    node, exact = found
    if not exact:
        tree.recheck.append(node)
        return
    if removed:
        tree.lock_removed(node)
    with suppress(OSError):
        if lock_signature(tree.path(node)) != ABSENT:
            tree.lock_written(node)


def _look_at_directory(tree: Tree, path: str) -> None:
    """Something became of this directory: its parent says what, and it may be another one by the same name."""
    above = tree.find(os.path.dirname(path))  # noqa: PTH120 - a path is made for nothing
    if above is not None:
        tree.recheck.append(above[0])
    here = tree.find(path)
    if here is not None and here[1]:
        tree.urgent.append(here[0])
