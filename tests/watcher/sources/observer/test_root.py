import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stress.follower import Follower
from tests.watcher.sources.observer.view import View, write_lock


@pytest.fixture(params=["inotify", "polling"])
def own_backend(request: pytest.FixtureRequest) -> str:
    """The backends that are all ours."""
    return str(request.param)


def _conditions(view: View) -> list[tuple[str, str]]:
    return [(health.component, health.condition.value) for health in view.health]


_LOST = [("workspace", "degraded")]
_BACK = [("workspace", "degraded"), ("workspace", "recovered")]


def test_root_deleted_and_made_again(root: Path, own_backend: str, watching: Callable[..., View]) -> None:
    """A deleted workspace releases its locks, is told, and is watched again when it is back."""
    write_lock(root / "a")
    view = watching(root, backend=own_backend)
    shutil.rmtree(root)
    view.wait(lambda: not view.locks and _conditions(view) == _LOST, "the loss")
    assert view.health[0].reason == "the workspace is gone"
    write_lock(root / "b")
    view.wait(lambda: _conditions(view) == _BACK, "the return")
    assert [scan.reason for scan in view.scans] == ["start", "attached"]
    view.settle("b")
    write_lock(root / "c")
    view.settle("b", "c")


def test_root_replaced(root: Path, own_backend: str, watching: Callable[..., View]) -> None:
    """A workspace that is replaced by another directory is left, and the other one is watched."""
    write_lock(root / "a")
    write_lock(root.parent / "other" / "b")
    view = watching(root, backend=own_backend)
    root.rename(root.parent / "old")
    (root.parent / "other").rename(root)
    view.wait(lambda: _conditions(view) == _BACK, "the change")
    view.settle("b")
    write_lock(root.parent / "old" / "c")
    write_lock(root / "d")
    view.settle("b", "d")


def test_root_with_the_same_inode_number(root: Path) -> None:
    """A new workspace may get the inode number of the old one; it is another directory, and watched as such."""
    with Follower(root) as follower:
        follower.wait(lambda state: bool(state["scans"]))
        follower.pause()
        number = root.stat().st_ino
        root.rmdir()
        made = [root.parent / f"made{count}" for count in range(100)]
        for path in made:
            path.mkdir()
        twins = [path for path in made if path.stat().st_ino == number]
        if not twins:
            pytest.skip("this file system gives each directory a number of its own")
        twins[0].rename(root)
        follower.resume()
        follower.wait(lambda state: [each[1] for each in state["health"]] == ["degraded", "recovered"])
        lock = write_lock(root / "b")
        follower.wait(lambda state: state["locks"] == [str(lock)])


def test_directory_above_the_root_renamed(root: Path, own_backend: str, watching: Callable[..., View]) -> None:
    """No event tells that a directory above the workspace was renamed; it is noticed within a second or so."""
    top = root / "above"
    write_lock(top / "ws" / "a")
    view = watching(top / "ws", backend=own_backend)
    top.rename(root / "moved")
    view.wait(lambda: not view.locks and _conditions(view) == _LOST, "the loss")
    (root / "moved").rename(top)
    view.wait(lambda: _conditions(view) == _BACK, "the return")
    view.settle("a")


def test_root_replaced_by_a_link(root: Path, own_backend: str, watching: Callable[..., View]) -> None:
    """A workspace that turns into a symbolic link is not followed: its path was resolved when it began."""
    write_lock(root / "a")
    view = watching(root, backend=own_backend)
    root.rename(root.parent / "old")
    root.symlink_to(root.parent / "old")
    view.wait(lambda: not view.locks and _conditions(view) == _LOST, "the loss")
    root.unlink()
    (root.parent / "old").rename(root)
    view.wait(lambda: _conditions(view) == _BACK, "the return")
    view.settle("a")


def test_linked_root_is_resolved_once(root: Path, own_backend: str, watching: Callable[..., View]) -> None:
    """A workspace given by a symbolic link is the directory that it led to, and its locks have that path."""
    lock = write_lock(root / "a")
    link = root.parent / "link"
    link.symlink_to(root)
    view = watching(link, backend=own_backend)
    link.unlink()
    assert view.locks == {str(lock)}
    other = write_lock(root / "b")
    view.wait(lambda: view.locks == {str(lock), str(other)}, "the second lock")


@pytest.mark.parametrize("name", [".git", "node_modules"])
def test_root_is_exempt_from_skip_names(tmp_path: Path, backend: str, watching: Callable[..., View], name: str) -> None:
    """A workspace may have any name; below it the skip names hold."""
    write_lock(tmp_path / name / "a")
    write_lock(tmp_path / name / ".git" / "b")
    view = watching(tmp_path / name, backend=backend, rescan_interval=0.1)
    view.settle("a")
