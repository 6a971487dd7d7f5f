from pathlib import Path

import pytest
from watchdog.events import FileSystemEvent
from watchdog.observers.api import EventQueue, ObservedWatch

from tests.watcher.sources.observer.view import write_lock
from watcher.sources.workspace.crawl import Pruning
from watcher.sources.workspace.emitter import WorkspaceEmitter
from watcher.sources.workspace.inotify import InotifyNotifier
from watcher.sources.workspace.mounts import read_mounts
from watcher.sources.workspace.nodes import Node
from watcher.sources.workspace.notifier import Notifier
from watcher.sources.workspace.reports import TreeScannedEvent
from watcher.sources.workspace.setup import Setup
from watcher.sources.workspace.tree import LockChange, Tree


class _Watches(Notifier):
    """Answers as it is told; may do something at the very moment at which a watch is in place."""

    same = True
    worker: Path | None = None

    def watch(self, node: Node, path: str) -> bool:
        del node, path
        if self.worker is not None:
            write_lock(self.worker)
        return self.same


@pytest.fixture
def told() -> list[tuple[LockChange, str]]:
    """What a tree told."""
    return []


@pytest.fixture
def tree(root: Path, told: list[tuple[LockChange, str]]) -> Tree:
    """A tree of the workspace, not visited yet."""
    return Tree(str(root), Pruning(), _Watches(), read_mounts(), lambda change, path: told.append((change, path)))


def _visit_all(tree: Tree) -> None:
    tree.urgent.append(tree.root)
    while tree.urgent:
        tree.visit(tree.urgent.popleft(), tree.urgent, deep=True)


def test_watch_comes_before_the_look(root: Path, tree: Tree, told: list[tuple[LockChange, str]]) -> None:
    """What is made until a watch is in place gives no event; the look comes after, and sees it."""
    assert isinstance(tree.watches, _Watches)
    tree.watches.worker = root / "late"
    _visit_all(tree)
    assert told[0] == (LockChange.CREATED, str(root / "late" / ".runtime" / "agent.lock"))


def test_another_directory_by_the_same_name(root: Path, tree: Tree) -> None:
    """Where another directory has taken the place of a known one, all that is below it is visited."""
    write_lock(root / "a")
    _visit_all(tree)
    tree.visit(tree.root, tree.urgent, deep=False)
    assert not tree.urgent
    assert isinstance(tree.watches, _Watches)
    tree.watches.same = False
    tree.visit(tree.root, tree.urgent, deep=False)
    assert [node.name for node in tree.urgent] == ["a"]


def test_nothing_grows_on_what_was_dropped(root: Path, tree: Tree) -> None:
    """An event of a directory that was dropped by an earlier one of the same batch adds nothing to the tree."""
    write_lock(root / "a")
    _visit_all(tree)
    found = tree.find(str(root / "a"))
    assert found is not None
    node, _ = found
    tree.drop(node)
    tree.directory_appeared(node, "b", populated=True)
    assert not tree.urgent
    assert tree.directories == 1


def test_find(root: Path, tree: Tree) -> None:
    """A path leads to its node, or to the nearest one above it; outside the tree it leads nowhere."""
    write_lock(root / "a" / "b")
    _visit_all(tree)
    found = tree.find(f"{root}/a/b")
    assert found is not None
    assert (tree.path(found[0]), found[1]) == (f"{root}/a/b", True)
    nearest = tree.find(f"{root}/a/x/y")
    assert nearest is not None
    assert (tree.path(nearest[0]), nearest[1]) == (f"{root}/a", False)
    assert tree.find(str(root.parent)) is None
    assert tree.find(f"{root}x") is None


def test_root_of_the_file_system() -> None:
    """Paths below `/` have one slash in front."""
    tree = Tree("/", Pruning(), Notifier(), read_mounts(), lambda _change, _path: None)
    tree.directory_appeared(tree.root, "etc", populated=True)
    assert [tree.path(tree.root), *map(tree.path, tree.urgent)] == ["/", "/etc"]
    assert tree.find("/etc") == (tree.urgent[0], True)


def test_overflow_during_a_scan(root: Path) -> None:
    """Events lost while a scan runs may be of what it has passed: there is another scan, and no third one."""
    write_lock(root / "a")
    events: list[FileSystemEvent] = []
    setup = Setup(
        pruning=Pruning(),
        open_notifier=lambda _root: InotifyNotifier(),
        rescan_interval=3600.0,
        poll_interval=3600.0,
        on_event=events.append,
    )
    emitter = WorkspaceEmitter(EventQueue(), ObservedWatch(str(root), recursive=True), timeout=0.0, setup=setup)
    emitter.queue_events(0.0)
    emitter._notifier.overflowed = True
    for _ in range(20):
        emitter.queue_events(0.0)
    emitter._notifier.close()
    assert [event.reason for event in events if isinstance(event, TreeScannedEvent)] == ["start", "overflow"]
    assert (emitter.stats.overflows, emitter.stats.rescans) == (1, 1)
