"""An owner that removes its lock and writes it again, over and over: the commonest thing that happens to a lock."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.actors import AGENT
from tests.harness import Watching, told

TIMES = 1000


both_ways = pytest.mark.parametrize("how", ["in-place", "rename"])


@contextmanager
def rewriting(worker: Path, how: str) -> Iterator["subprocess.Popen[str]"]:
    """Run an owner that removes its lock and writes it again for each line that it is given, and then goes."""
    words = [sys.executable, str(AGENT), str(worker), "--how", how, "--remove", "--again", "--session", ""]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        try:
            yield writer
        finally:
            writer.kill()


@both_ways
def test_a_thousand_times_removed_and_written(workspace: Path, home: Path, how: str) -> None:
    """Each time is exactly one `lock.refreshed`, and never an alert."""
    with Watching(workspace, home, "--no-tmux") as watching, rewriting(workspace / "a", how) as writer:
        assert writer.stdin is not None
        watching.wait("lock.acquired", pid=writer.pid)
        for _ in range(TIMES):
            writer.stdin.write("\n")
            writer.stdin.flush()
            watching.wait("lock.refreshed", pid=writer.pid)
        assert watching.quiet(workspace) == []
        assert told(watching.lines[1:-1]) == ["a: acquired held", *["a: refreshed held"] * TIMES]
        writer.stdin.close()
        watching.wait("alert.firing", kind="stale")


@both_ways
def test_a_thousand_times_without_a_pause(workspace: Path, home: Path, how: str) -> None:
    """Faster than anybody can look it is a refresh now and then, never a release, another owner or an unread file."""
    with Watching(workspace, home, "--no-tmux") as watching, rewriting(workspace / "a", how) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        watching.wait("lock.acquired", pid=writer.pid)
        writer.stdin.write("\n" * TIMES)
        writer.stdin.flush()
        for _ in range(1 + TIMES):
            assert writer.stdout.readline()
        refreshes = told(watching.quiet(workspace))
        assert set(refreshes) == {"a: refreshed held"}
        assert len(refreshes) <= TIMES
        writer.stdin.close()
        watching.wait("alert.firing", kind="stale")
