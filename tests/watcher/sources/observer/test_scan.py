import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.watcher.sources.observer.view import View, write_lock
from watcher.sources.workspace import emitter
from watcher.sources.workspace.crawl import Pruning
from watcher.sources.workspace.mounts import read_mounts
from watcher.sources.workspace.notifier import Notifier
from watcher.sources.workspace.reports import ScanReason
from watcher.sources.workspace.scan import FullScan, PollScan, SlowScan
from watcher.sources.workspace.tree import LockChange, Tree


class _Seen:
    """A tree that nobody notifies, and what it tells."""

    def __init__(self, root: Path) -> None:
        self.told: list[tuple[LockChange, str]] = []
        self.tree = Tree(
            str(root), Pruning(), Notifier(), read_mounts(), lambda change, path: self.told.append((change, path))
        )

    def finish(self, scan: FullScan | PollScan) -> int:
        """Do a scan to its end; gives the number of slices."""
        slices = 1
        while not scan.advance():
            slices += 1
        return slices


@pytest.fixture
def seen(root: Path) -> _Seen:
    """A tree of the workspace."""
    return _Seen(root)


def test_scan_is_cut_into_slices(root: Path, seen: _Seen) -> None:
    """A scan of thousands of directories lets others have their turn, and resumes where it was."""
    for number in range(4000):
        os.makedirs(root / f"{number % 50}" / f"{number}")  # noqa: PTH103 - many
    scan = FullScan(seen.tree, ScanReason.START)
    assert not scan.advance()
    assert 0 < len(scan.queue) < 4050
    seen.finish(scan)
    assert seen.tree.directories == 4051


def test_slow_scan_rests(root: Path, seen: _Seen) -> None:
    """A slow scan waits a thousand times as long as it looked, so that an idle watcher is idle."""
    for number in range(4000):
        os.makedirs(root / f"{number % 50}" / f"{number}")  # noqa: PTH103 - many
    seen.finish(FullScan(seen.tree, ScanReason.START))
    scan = SlowScan(seen.tree, 0)
    assert not scan.advance()
    assert scan.resume_at - time.monotonic() > 500 * scan.seconds


def test_slow_scan_visits_what_changed(root: Path, seen: _Seen) -> None:
    """A directory that changed after the last scan is visited; one that did not is passed over, its lock is not."""
    lock = write_lock(root / "old" / "w")
    other = write_lock(root / "old" / "v")
    seen.finish(FullScan(seen.tree, ScanReason.START))
    seen.told.clear()
    write_lock(root / "new" / "w")
    other.write_text("[1]")
    lock.unlink()
    seen.finish(SlowScan(seen.tree, time.time_ns()))
    assert sorted(seen.told, key=str) == sorted(
        [
            (LockChange.CREATED, str(root / "new" / "w" / ".runtime" / "agent.lock")),
            (LockChange.MODIFIED, str(other)),
            (LockChange.DELETED, str(lock)),
        ],
        key=str,
    )
    seen.told.clear()
    # An hour from now nothing here will have changed for long: what was done behind its back goes unseen.
    write_lock(root / "late" / "w")
    seen.finish(SlowScan(seen.tree, time.time_ns() + 3600 * 10**9))
    assert seen.told == []
    seen.finish(SlowScan(seen.tree, 0))
    assert len(seen.told) == 1


def test_slow_rescan_heals(root: Path, watching: Callable[..., View]) -> None:
    """What no event told is found by the slow rescan, and told; each rescan gives the whole set of locks."""
    write_lock(root / "a")
    view = watching(root, rescan_interval=0.05)
    notifier = next(iter(view.observer.emitters))._notifier  # type: ignore[attr-defined]  # to make it deaf
    notifier._nodes.clear()
    lock = write_lock(root / "b")
    view.wait(lambda: any(str(lock) in scan.locks for scan in view.scans), "a scan that found the lock")
    assert f"created {lock.relative_to(root)}" in view.told
    assert {scan.reason for scan in view.scans[1:]} == {ScanReason.INTERVAL}
    assert view.stats.rescans >= 1


def test_clock_that_was_set_is_not_trusted(
    root: Path, watching: Callable[..., View], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the clock was set, times of change say nothing: the next rescan visits everything."""
    asked: list[int] = []

    class Spy(SlowScan):
        def __init__(self, tree: Tree, since: int) -> None:
            asked.append(since)
            super().__init__(tree, since)

    monkeypatch.setattr(emitter, "SlowScan", Spy)
    view = watching(root, rescan_interval=0.05)
    view.wait(lambda: bool(asked) and asked[-1] > 0, "a rescan by times")
    offset = emitter._clock_offset()
    monkeypatch.setattr(emitter, "_clock_offset", lambda: offset - 3600)
    view.wait(lambda: 0 in asked, "a whole rescan")
