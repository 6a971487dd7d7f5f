import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.watcher.sources.observer.view import SKIP, View, locks_on_disk, write_lock
from watcher.sources.workspace import crawl as crawling
from watcher.sources.workspace.crawl import Pruning, crawl, lock_signature, reached, subdirectories

_COMPONENT = "d" * 250


def test_crawl_finds_what_a_plain_walk_finds(root: Path) -> None:
    """Every lock outside skip names is found, once, by its absolute path, and the directories are counted."""
    for worker in (".", "a", "a/b", "c/d/e", "a/.git/x", ".git", "node_modules/m", "q/.runtime/w"):
        write_lock(root / worker)
    found = crawl(root, Pruning(SKIP))
    assert sorted(found.locks) == sorted(locks_on_disk(root))
    assert (found.directories, found.skipped, found.unreadable) == (
        len([".", "a", "b", "c", "d", "e", "q", "w"]) + 6,
        3,
        0,
    )


@pytest.mark.parametrize(
    ("depth", "workers"), [(0, {"."}), (1, {".", "a"}), (2, {".", "a", "a/b"}), (None, {".", "a", "a/b", "a/b/c"})]
)
def test_depth(root: Path, depth: int | None, workers: set[str]) -> None:
    """`max_depth` is how many levels below the root a worker may lie."""
    locks = {worker: str(write_lock(root / worker)) for worker in (".", "a", "a/b", "a/b/c")}
    assert set(crawl(root, Pruning(max_depth=depth)).locks) == {locks[worker] for worker in workers}


def test_every_type_of_file_is_a_lock(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory, a link that leads nowhere, a FIFO, a socket: what bears the name is found, and not opened."""
    runtimes = [root / name / ".runtime" for name in "abcd"]
    for runtime in runtimes:
        runtime.mkdir(parents=True)
    (runtimes[0] / "agent.lock").mkdir()
    (runtimes[1] / "agent.lock").symlink_to("/nonexistent")
    os.mkfifo(runtimes[2] / "agent.lock")
    listener = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(runtimes[3])
    listener.bind("agent.lock")
    listener.close()
    assert len(crawl(root, Pruning()).locks) == 4


def test_links_are_not_followed(root: Path) -> None:
    """Links to directories are not entered, whether they lead in, out, or round; only the root may be one."""
    write_lock(root.parent / "out" / "w")
    write_lock(root / "w")
    (root / "loop").symlink_to(root)
    (root / "out").symlink_to(root.parent / "out")
    (root / "v").mkdir()
    (root / "v" / ".runtime").symlink_to(root / "w" / ".runtime")
    link = root.parent / "link"
    link.symlink_to(root)
    assert crawl(link, Pruning()).locks == (str(root / "w" / ".runtime" / "agent.lock"),)


def test_runtime_directory_as_root(root: Path) -> None:
    """A root named `.runtime` is no worker's: its worker would lie outside."""
    lock = write_lock(root)
    assert crawl(lock.parent, Pruning()).locks == ()


def test_missing_root(root: Path) -> None:
    """A root that is not there, or no directory, is an error."""
    (root / "file").touch()
    with pytest.raises(FileNotFoundError):
        crawl(root / "missing", Pruning())
    with pytest.raises(NotADirectoryError):
        crawl(root / "file", Pruning())


def test_directory_replaced_by_a_link_is_no_directory(root: Path) -> None:
    """A look at a link says that there is no directory, wherever it leads."""
    (root / "link").symlink_to(root)
    with pytest.raises(NotADirectoryError):
        subdirectories(str(root / "link"), frozenset())


def test_leaf_is_not_listed_where_links_are_counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device that counts subdirectories, a directory with two links is not listed; elsewhere it is."""
    device = root.stat().st_dev
    listed = []
    plain = os.scandir

    def scandir(path: str) -> object:
        listed.append(path)
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert subdirectories(str(root), frozenset({device})) == ([], device)
    if root.stat().st_nlink == 2:
        assert listed == []


def test_signature_tells_states_of_a_lock_apart(root: Path) -> None:
    """Writing, replacing and deleting each change the signature; looking again does not."""
    lock = write_lock(root / "a")
    seen = [lock_signature(str(lock.parent)), lock_signature(str(lock.parent))]
    lock.write_text("[]]")
    seen.append(lock_signature(str(lock.parent)))
    other = lock.with_name("other")
    other.write_text("[]]")
    other.rename(lock)
    seen.append(lock_signature(str(lock.parent)))
    lock.unlink()
    seen.append(lock_signature(str(lock.parent)))
    assert seen[0] == seen[1]
    assert len(set(seen)) == 4
    assert seen[-1] == crawling.ABSENT


@pytest.fixture
def deep(root: Path) -> Iterator[str]:
    """A worker whose path is longer than PATH_MAX; it has a lock."""
    descriptor = os.open(root, os.O_RDONLY)
    names = [_COMPONENT] * 20 + ["w", ".runtime"]
    for name in names:
        os.mkdir(name, dir_fd=descriptor)
        deeper = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = deeper
    os.close(os.open("agent.lock", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)
    yield "/".join([str(root), *names])
    (root / _COMPONENT).rename(root / "d")


def test_deep_tree_is_crawled(root: Path, deep: str) -> None:
    """A lock below a path that the kernel does not take in one piece is found."""
    assert crawl(root, Pruning()).locks == (f"{deep}/agent.lock",)


@pytest.mark.parametrize("backend", ["inotify", "polling"])
def test_deep_tree_is_watched(root: Path, deep: str, backend: str, watching: Callable[..., View]) -> None:
    """What happens to such a lock is told; watchdog's own observer does not reach that deep."""
    view = watching(root, backend=backend)
    lock = f"{deep}/agent.lock"
    assert view.locks == {lock}
    with reached(deep) as descriptor:
        os.unlink("agent.lock", dir_fd=descriptor)
        view.wait(lambda: not view.locks, "the deletion")
        os.close(os.open("agent.lock", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        view.wait(lambda: view.locks == {lock}, "the new lock")


def test_path_without_an_end(root: Path, deep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of directories is not followed for ever: what lies too deep counts as unreadable."""
    assert len(deep) > 5000
    monkeypatch.setattr(crawling, "LONGEST_PATH", 4500)
    found = crawl(root, Pruning())
    assert (found.locks, found.unreadable) == ((), 1)
