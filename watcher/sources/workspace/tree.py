"""The directories of one workspace as they were last seen, and which of them hold a lock.

Two things keep it true. Events say where something happened; a *visit* looks at what is there now. A visit
sets the watch first and lists after, so nothing falls between the two, and every directory that appears or
moves in is visited with all that is below it. Events are read in order and a visit may see further than the
events read so far: what it saw too early is undone by the event that is still to come, and seen again by
the one after that.
"""

import os
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from watcher.sources.workspace.crawl import (
    ABSENT,
    GONE,
    LOCK_NAME,
    RUNTIME_DIR,
    Pruning,
    lock_signature,
    subdirectories,
)
from watcher.sources.workspace.mounts import Mounts
from watcher.sources.workspace.nodes import Node

_SEP = os.sep

_TOLD = -1
"""The signature of a lock of which an event told last: the next look takes down the real one."""


class LockChange(Enum):
    """What happened to a lock file."""

    CREATED = "created"
    MODIFIED = "modified"
    DELETED = "deleted"


class Watches(Protocol):
    """What a tree asks of a notifier (`watcher.sources.workspace.notifier.Notifier`)."""

    def watch(self, node: Node, path: str) -> bool:
        """Have changes in `node` notified from now on; say whether it is still the directory it was.

        Raises:
            OSError: there is no such directory, or it may not be watched.
        """

    def forget(self, node: Node) -> None:
        """Stop that; `node` is gone."""


class Tree:
    """All directories below `root` that the pruning lets in, with the locks in them.

    `report` is called with each change of a lock and its path. `urgent` are the nodes to visit, with all
    below them, before anything else; `recheck` those to visit alone. `polled` are the nodes in which changes
    are not notified, or not all. `unreadable` are among them. `names` keeps one copy of each name while many
    are taken down (workers are clones of one another); it may be emptied at any time. Belongs to one thread.
    """

    def __init__(
        self,
        root: str,
        pruning: Pruning,
        watches: Watches,
        mounts: Mounts,
        report: Callable[[LockChange, str], None],
    ) -> None:
        self.root = Node(root.rstrip(_SEP), None)
        self.locks: dict[Node, int] = {}
        self.polled: dict[Node, None] = {}
        self.unreadable: set[Node] = set()
        self.urgent: deque[Node] = deque()
        self.recheck: deque[Node] = deque()
        self.names: dict[str, str] = {}
        self.directories = 1
        self.watches = watches
        self.mounts = mounts
        self.report = report
        self._root_path = root
        self._pruning = pruning
        self._parent: Node | None = None
        self._prefix = ""

    # -- where things are

    def path(self, node: Node) -> str:
        """The absolute path of a node that is in the tree."""
        parent = node.parent
        if parent is None:
            return self._root_path
        if parent is not self._parent:
            names = []
            above: Node | None = parent
            while above is not None:
                names.append(above.name)
                above = above.parent
            names.reverse()
            self._parent, self._prefix = parent, _SEP.join(names) + _SEP
        return self._prefix + node.name

    def find(self, path: str) -> tuple[Node, bool] | None:
        """The node at `path`, or else the nearest above it, and whether it is the very one.

        None where the path is outside the tree or in a pruned part of it.
        """
        if path == self._root_path:
            return self.root, True
        if not path.startswith(self.root.name + _SEP):
            return None
        node = self.root
        for depth, name in enumerate(path[len(self.root.name) + 1 :].split(_SEP), 1):
            if not self._pruning.enters(name, depth):
                return None
            child = node.children.get(name) if node.children else None
            if child is None:
                return node, False
            node = child
        return node, True

    def holds(self, node: Node) -> bool:
        """Say whether `node` is still in the tree."""
        return node.parent is not None or node is self.root

    def lock_paths(self) -> frozenset[str]:
        """The absolute path of every lock that is known."""
        return frozenset(self.path(node) + _SEP + LOCK_NAME for node in self.locks)

    # -- what events say

    def directory_appeared(self, node: Node, name: str, *, populated: bool) -> None:
        """A directory was made in `node`, or moved there (`populated`)."""
        if not self.holds(node) or not self._pruning.enters(name, self._depth_below(node)):
            return
        child = node.children.get(name) if node.children else None
        if child is None:
            self.urgent.append(self._grow(node, name))
        elif populated:
            self.urgent.append(child)
        else:
            self.recheck.append(child)

    def directory_vanished(self, node: Node, name: str, *, moved: bool) -> None:
        """A directory was removed from `node`, or moved away.

        Of two directories that exchange their names, the last event says that it went. So look again.
        """
        child = node.children.get(name) if node.children else None
        if child is not None:
            self.drop(child)
        if moved:
            self.recheck.append(node)

    def lock_written(self, node: Node) -> None:
        """The lock in `node` was made, replaced, written or touched."""
        change = LockChange.MODIFIED if node in self.locks else LockChange.CREATED
        self.locks[node] = _TOLD
        self._tell(change, node)

    def lock_removed(self, node: Node, *, moved: bool = False) -> None:
        """The lock in `node` was removed, or moved away (see above).

        It is told even if the lock was not known: it may have been made and removed since the last look.
        """
        self.locks.pop(node, None)
        self._tell(LockChange.DELETED, node)
        if moved:
            self.recheck.append(node)

    # -- what a look says

    def visit(self, node: Node, queue: deque[Node], *, deep: bool) -> int:
        """Look at one directory; put those in it that must be visited as well at the end of `queue`.

        These are the new ones, and all of them where `deep`, or where another directory has taken its place.
        Returns how many were pruned.
        """
        if not self.holds(node):
            return 0
        path = self.path(node)
        try:
            deep |= not self.watches.watch(node, path)
            names, device = subdirectories(path, self.mounts.leafy)
            if node.name == RUNTIME_DIR:
                self._look_for_lock(node, path)
        except OSError as error:
            self._failed(node, error)
            return 0
        self.unreadable.discard(node)
        if node.watch and device not in self.mounts.silent:
            self.polled.pop(node, None)
        else:
            self.polled[node] = None
        return self._compare(node, names, queue, deep=deep) if names or node.children else 0

    def glance(self, node: Node, queue: deque[Node], since: int) -> None:
        """Visit a directory only if it changed since `since` (nanoseconds since the epoch, by its ctime).

        All below it go to `queue` in any case. Its lock is looked at, as a write to it leaves the directory
        unchanged.
        """
        if not self.holds(node):
            return
        path = self.path(node)
        try:
            if os.lstat(path).st_ctime_ns >= since:
                self.visit(node, queue, deep=True)
                return
            if node.name == RUNTIME_DIR:
                self._look_for_lock(node, path)
        except OSError as error:
            self._failed(node, error)
            return
        if node.children:
            queue.extend(node.children.values())

    def drop(self, node: Node) -> None:
        """Take a directory and all that is below it out of the tree; its locks are told as deleted."""
        if node.parent is None:
            return
        gone = list(node.subtree())
        for each in gone:
            if self.locks.pop(each, None) is not None:
                self._tell(LockChange.DELETED, each)
            self.polled.pop(each, None)
            self.unreadable.discard(each)
            self.watches.forget(each)
        if node.parent.children is not None:
            node.parent.children.pop(node.name, None)
        for each in gone:
            each.parent = each.children = None
        self.directories -= len(gone)

    def clear(self) -> None:
        """The root is gone: every lock is told as deleted."""
        while self.locks:
            node, _ = self.locks.popitem()
            self._tell(LockChange.DELETED, node)

    def _compare(self, node: Node, names: list[str], queue: deque[Node], *, deep: bool) -> int:
        known = node.children or {}
        depth = self._depth_below(node)
        entered = [name for name in names if self._pruning.enters(name, depth)]
        if known:
            for name in known.keys() - entered:
                self.drop(known[name])
        for name in entered:
            child = known.get(name)
            if child is None:
                queue.append(self._grow(node, name))
            elif deep:
                queue.append(child)
        return len(names) - len(entered)

    def _look_for_lock(self, node: Node, path: str) -> None:
        if node.parent is None:
            return
        now, before = lock_signature(path), self.locks.get(node, ABSENT)
        if now == before:
            return
        if now == ABSENT:
            self.lock_removed(node)
            return
        self.locks[node] = now
        if before == ABSENT:
            self._tell(LockChange.CREATED, node)
        elif before != _TOLD or node in self.polled:
            self._tell(LockChange.MODIFIED, node)

    def _failed(self, node: Node, error: OSError) -> None:
        """A directory that may not be read now keeps what was known of it: nothing says that it is gone."""
        if error.errno in GONE:
            self.drop(node)
        else:
            self.unreadable.add(node)
            self.polled[node] = None

    def _depth_below(self, node: Node) -> int:
        """The depth of what is in `node`; 0 where nothing depends on it."""
        return 0 if self._pruning.max_depth is None else node.depth() + 1

    def _grow(self, parent: Node, name: str) -> Node:
        name = self.names.setdefault(name, name)
        child = Node(name, parent)
        if parent.children is None:
            parent.children = {}
        parent.children[name] = child
        self.directories += 1
        return child

    def _tell(self, change: LockChange, node: Node) -> None:
        self.report(change, self.path(node) + _SEP + LOCK_NAME)
