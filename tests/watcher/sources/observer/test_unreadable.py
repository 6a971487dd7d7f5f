import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.stress.follower import Follower
from tests.watcher.sources.observer.view import write_lock

_AS_ANYBODY = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--")


@pytest.fixture
def anybody() -> tuple[str, ...]:
    """What runs a command with no right to read what its user may not; nothing is needed where that is so anyway."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None or subprocess.run((*_AS_ANYBODY, "true"), check=False).returncode:
        pytest.skip("root cannot give up its rights here (setpriv)")
    return _AS_ANYBODY


def test_unreadable_directory_is_looked_at_again(root: Path, anybody: tuple[str, ...]) -> None:
    """A directory that may not be read at first is watched from when it may."""
    lock = write_lock(root / "a" / "w")
    other = write_lock(root / "b")
    (root / "a").chmod(0)
    try:
        with Follower(root, wrapper=anybody) as follower:
            state = follower.wait(lambda state: bool(state["scans"]))
            assert state["locks"] == [str(other)]
            assert state["stats"]["unreadable"] == 1
            (root / "a").chmod(0o755)
            state = follower.wait(lambda state: state["locks"] == sorted([str(lock), str(other)]))
            assert state["health"] == []
            lock.unlink()
            state = follower.wait(lambda state: state["locks"] == [str(other)] and not state["stats"]["polled"])
    finally:
        (root / "a").chmod(0o755)


@pytest.mark.parametrize("closed", ["a", "a/w", "a/w/.runtime"])
def test_closed_directory_is_not_gone(root: Path, anybody: tuple[str, ...], closed: str) -> None:
    """A directory that may not be read any more keeps its locks: nothing says that they are gone."""
    lock = write_lock(root / "a" / "w")
    with Follower(root, "--rescan-interval", "0.05", wrapper=anybody) as follower:
        follower.wait(lambda state: state["locks"] == [str(lock)])
        (root / closed).chmod(0)
        try:
            done = follower.state()["stats"]["rescans"]
            state = follower.wait(lambda state: state["stats"]["rescans"] > done + 2)
            assert state["locks"] == [str(lock)]
            assert state["told"] == []
        finally:
            (root / closed).chmod(0o755)
        follower.wait(lambda state: state["stats"]["unreadable"] == 0)
        lock.unlink()
        follower.wait(lambda state: state["locks"] == [])


def test_workspace_out_of_reach(root: Path, anybody: tuple[str, ...]) -> None:
    """A workspace behind a directory that was closed is not gone: that is told, and no lock is given up."""
    (root / "above").mkdir()
    lock = write_lock(root / "above" / "ws" / "a")
    with Follower(root / "above" / "ws", wrapper=anybody) as follower:
        follower.wait(lambda state: state["locks"] == [str(lock)])
        (root / "above").chmod(0)
        try:
            state = follower.wait(lambda state: bool(state["health"]))
            assert state["health"][0][:3] == ["workspace", "degraded", "the workspace cannot be looked at"]
            assert (state["locks"], state["told"]) == ([str(lock)], [])
        finally:
            (root / "above").chmod(0o755)
        state = follower.wait(lambda state: len(state["health"]) == 2)
        assert state["health"][1][:2] == ["workspace", "recovered"]
        lock.unlink()
        follower.wait(lambda state: state["locks"] == [])
