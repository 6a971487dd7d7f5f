import os
from pathlib import Path

import pytest

from tests.stress.follower import Follower
from tests.stress.observer import directories_on_disk
from tests.watcher.sources.observer.view import locks_on_disk, write_lock

_LIMIT = Path("/proc/sys/fs/inotify/max_queued_events")


def _flood(directory: Path) -> None:
    """Make more events in a watched directory than the queue of a stopped watcher takes."""
    queue = int(_LIMIT.read_text())
    if queue > 100_000:
        pytest.skip(f"the event queue takes {queue} events: too many to fill")
    for number in range(queue // 2 + 1000):
        path = directory / f"file{number}"
        path.touch()
        path.unlink()


def test_overflow_is_healed_by_one_scan(root: Path) -> None:
    """After lost events everything is looked at once; what they would have told, also of deletions, is told."""
    for number in range(10):
        write_lock(root / f"w{number}")
    with Follower(root) as follower:
        follower.wait(lambda state: len(state["locks"]) == 10)
        follower.pause()
        _flood(root)
        (root / "w1" / ".runtime" / "agent.lock").unlink()
        (root / "w2").rename(root / "moved")
        (root / "w3").rename(root / ".git")
        (root / "w4").rename(root.parent / "out")
        write_lock(root / "w5", "[]")
        write_lock(root / "new" / "one")
        follower.resume()
        locks, directories = sorted(locks_on_disk(root)), directories_on_disk(root)
        state = follower.wait(
            lambda state: (
                (state["scans"], state["locks"], state["watched"]) == (["start", "overflow"], locks, directories)
            )
        )
        told = [event.replace(f"{root}/", "").replace("/.runtime/agent.lock", "") for event in state["told"]]
        assert sorted(told) == sorted(
            [
                "deleted w1",
                "deleted w2",
                "created moved",
                "deleted w3",
                "deleted w4",
                "modified w5",
                "created new/one",
            ]
        )


def test_overflow_with_more_watches_than_the_queue_takes(root: Path) -> None:
    """The one scan after an overflow makes no events of its own, however many watches there are: no second overflow."""
    count = int(_LIMIT.read_text()) + 500
    if count > 30_000:
        pytest.skip(f"an event queue of {count} would need as many directories")
    for number in range(count):
        os.makedirs(root / f"{number % 20}" / f"{number}")  # noqa: PTH103 - many
    with Follower(root) as follower:
        follower.wait(lambda state: bool(state["scans"]))
        follower.pause()
        _flood(root)
        write_lock(root / "w")
        follower.resume()
        follower.wait(lambda state: len(state["locks"]) == 1 and len(state["scans"]) == 2)
        write_lock(root / "v")
        state = follower.wait(lambda state: len(state["locks"]) == 2)
        assert state["scans"] == ["start", "overflow"]
        assert (state["stats"]["overflows"], state["stats"]["rescans"]) == (1, 1)
        assert state["stats"]["watches"] == len(directories_on_disk(root))


def test_thousands_of_watches_dropped_at_once(root: Path) -> None:
    """A tree that is moved out loses its watches a few at a time: removing them does not overflow the queue."""
    count = min(int(_LIMIT.read_text()) + 500, 30_000)
    for number in range(count):
        os.makedirs(root / "big" / f"{number % 20}" / f"{number}")  # noqa: PTH103 - many
    with Follower(root) as follower:
        follower.wait(lambda state: bool(state["scans"]))
        (root / "big").rename(root.parent / "out")
        write_lock(root / "w")
        expected = directories_on_disk(root)
        state = follower.wait(lambda state: state["watched"] == expected and len(state["locks"]) == 1)
        assert state["stats"]["overflows"] == 0
