"""An owner that removes its lock and writes it again, over and over: the commonest thing that happens to a lock."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.actors import AGENT
from tests.harness import Watching, told
from watcher.registry.registry import REFRESH_WINDOW

TIMES = 1000


both_ways = pytest.mark.parametrize("how", ["in-place", "rename"])


@contextmanager
def rewriting(worker: Path, how: str) -> Iterator["subprocess.Popen[str]"]:
    """Run an owner that removes its lock and writes it again for each line that it is given, and then goes."""
    words = [sys.executable, str(AGENT), str(worker), "--how", how, "--remove", "--again", "--session", ""]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            assert int(writer.stdout.readline()) == writer.pid
            yield writer
        finally:
            writer.kill()


def rewrite(writer: "subprocess.Popen[str]", times: int) -> float:
    """Have it removed and written so many times; say within how many seconds the slowest was.

    A machine under load may keep the writer amid that for longer than a refresh may take: then it is none.
    """
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write("\n" * times)
    writer.stdin.flush()
    return max(float(writer.stdout.readline()) for _ in range(times))


@both_ways
def test_a_thousand_times_removed_and_written(workspace: Path, home: Path, how: str) -> None:
    """Each time is exactly one `lock.refreshed`, and never an alert."""
    with Watching(workspace, home, "--no-tmux") as watching, rewriting(workspace / "a", how) as writer:
        assert writer.stdin is not None
        watching.wait("lock.acquired", pid=writer.pid)
        refreshes, late = 0, 0
        while refreshes < TIMES:
            began = len(watching.lines)
            if rewrite(writer, 1) < REFRESH_WINDOW:
                watching.wait("lock.refreshed", pid=writer.pid)
                assert told(watching.lines[began:]) == ["a: refreshed held"]
                refreshes += 1
            else:
                late += 1
                assert late < TIMES, "the machine is too slow to refresh a lock"
                watching.quiet(workspace)
        assert watching.quiet(workspace) == []
        assert watching.alerts() == []
        writer.stdin.close()
        watching.wait("alert.firing", kind="stale")


@both_ways
def test_a_thousand_times_without_a_pause(workspace: Path, home: Path, how: str) -> None:
    """Faster than anybody can look it is a new lock of its owner now and then: no other's, unread, or an alert."""
    with Watching(workspace, home, "--no-tmux") as watching, rewriting(workspace / "a", how) as writer:
        assert writer.stdin is not None
        watching.wait("lock.acquired", pid=writer.pid)
        rewrite(writer, TIMES)
        lines = told(watching.quiet(workspace))
        # Who looks seldom may find it gone each time.
        assert set(lines) <= {"a: refreshed held", "a: released held", "a: acquired held"}
        assert lines[-1:] != ["a: released held"]
        assert 0 < len(lines) <= 2 * TIMES
        writer.stdin.close()
        watching.wait("alert.firing", kind="stale")
