import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stress import observer, renames, storm
from tests.stress.follower import Follower
from tests.watcher.sources.observer.script import exchange
from tests.watcher.sources.observer.view import View, locks_on_disk, write_lock


def test_trees_renamed_as_soon_as_they_are_made(root: Path) -> None:
    """`mkdir -p x/y/.runtime`, a lock and a rename of x at once: each lock is told under its last path."""
    assert renames.run(root, 300) == 0


def test_parents_renamed_while_they_are_crawled(root: Path, watching: Callable[..., View]) -> None:
    """Directories that go to and fro during the first crawl are known under the names that they end up with."""
    for number in range(300):
        write_lock(root / "moving" / f"w{number}" / "deep" / "er")
    enough = threading.Event()

    def move() -> None:
        while not enough.is_set():
            (root / "moving").rename(root / "moved")
            (root / "moved").rename(root / "moving")

    mover = threading.Thread(target=move)
    mover.start()
    try:
        view = watching(root)
    finally:
        enough.set()
        mover.join()
    view.settle_as_on_disk()
    assert len(view.locks) == 300


def test_locks_during_a_storm_of_other_events(root: Path) -> None:
    """Each of 100 locks is told while two processes make and delete files in watched directories."""
    assert storm.run(root, 100).startswith("100 of 100 told")


def _wait_for_the_disk(follower: Follower, root: Path) -> None:
    expected = sorted(locks_on_disk(root)), observer.directories_on_disk(root)
    follower.wait(lambda state: (state["locks"], state["watched"]) == expected)


def test_moves_while_the_watcher_is_stopped(root: Path) -> None:
    """After moves that it slept through, it knows each lock under its last path, and watches each directory."""
    for name in "abcd":
        write_lock(root / name / "w")
    outside = root.parent / "out"
    with Follower(root) as follower:
        follower.wait(lambda state: len(state["locks"]) == 4)
        for _ in range(3):
            follower.pause()
            (root / "a").rename(root / "t")
            (root / "b").rename(root / "a")
            (root / "t").rename(root / "b")
            exchange(root / "c", root / "d")
            (root / "c").rename(outside)
            write_lock(outside / "late")
            outside.rename(root / "d" / "c")
            exchange(root / "d" / "c", root / "a")
            (root / "d" / "c").rename(root / "c")
            write_lock(root / "a" / "new")
            shutil.rmtree(root / "b" / "w")
            (root / "b").rename(root / ".git")
            (root / ".git").rename(root / "b")
            write_lock(root / "b" / "w")
            follower.resume()
            _wait_for_the_disk(follower, root)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_operations_of_two_processes(tmp_path: Path, seed: int) -> None:
    """After thousands of random operations, with pauses, the observer knows and watches exactly what is there."""
    assert "as on the disk" in observer.run(tmp_path, 8_000, seed)


def test_no_watch_inside_a_skip_name(root: Path) -> None:
    """Watches are on the directories outside skip names, and on nothing else, also after renames to and fro."""
    write_lock(root / "a" / "w")
    write_lock(root / "node_modules" / "v")
    (root / "b" / ".git" / "objects").mkdir(parents=True)
    with Follower(root) as follower:
        follower.wait(lambda state: bool(state["scans"]))
        (root / "a").rename(root / ".git")
        (root / "node_modules").rename(root / "modules")
        (root / "b").rename(root / "modules" / "node_modules")
        (root / "modules" / "node_modules" / ".git").rename(root / "modules" / "git")
        expected = observer.directories_on_disk(root)
        inside = (root / ".git" / "w").stat().st_ino
        state = follower.wait(lambda state: state["watched"] == expected)
    assert inside not in state["watched"]
    assert len(expected) == len({"ws", "modules", "v", ".runtime", "git", "objects"})
