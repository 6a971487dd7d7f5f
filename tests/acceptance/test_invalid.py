"""What agents may leave where a lock should be: told once, with the reason, and the watcher goes on."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.actors import Agent
from tests.harness import UNPRIVILEGED, Line, Watching, moment, told

NO_SESSION = ("--session", "")


def closed(path: Path) -> None:
    """Leave a good lock that nobody may read."""
    path.write_text('{"pid": 1}')
    path.chmod(0)


def huge(path: Path) -> None:
    """Leave a file of a gigabyte, without a byte in it."""
    with path.open("wb") as file:
        file.truncate(1 << 30)


def listening(path: Path) -> None:
    """Leave a socket, by a short relative name: that of the workspace may be too long for one (unix(7))."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


LEFT: dict[str, tuple[Callable[[Path], object], str]] = {
    "garbage": (lambda path: path.write_bytes(b"\x00\xff\x1b[2J garbage"), "the lock file cannot be read: "),
    "empty": (Path.touch, "the lock file cannot be read: "),
    "half": (lambda path: path.write_text('{"pid": 1'), "the lock file cannot be read: "),
    "text-pid": (lambda path: path.write_text('{"pid": "1"}'), "pid is not an integer"),
    "fifo": (os.mkfifo, "a named pipe"),
    "socket": (listening, "a socket"),
    "link": (lambda path: path.symlink_to("/etc/passwd"), "a symbolic link"),
    "directory": (Path.mkdir, "a directory"),
    "huge": (huge, "larger than 64 KiB"),
    "closed": (closed, "permission denied"),
}
"""Each thing that may be left, and what the alert must say of it."""


def leave(workspace: Path) -> None:
    """Leave one of each, in a worker of its name."""
    for name, (make, _) in LEFT.items():
        lock = workspace / name / ".runtime" / "agent.lock"
        lock.parent.mkdir(parents=True)
        make(lock)


def remove(lock: Path) -> None:
    """Remove whatever is there."""
    if lock.is_dir():
        lock.rmdir()
    else:
        lock.unlink()


def hold_to_the_reasons(alerts: list[Line]) -> None:
    """Each thing has one alert, whose reason says what it is and holds nothing of what is in it."""
    assert sorted(alert["worker"] for alert in alerts) == sorted(LEFT)
    for alert in alerts:
        assert LEFT[alert["worker"]][1] in alert["reason"]
        assert alert["severity"] == alert["level"] == "warning"
        assert "pid" not in alert
        assert "root:" not in str(alert)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_whatever_is_left_is_one_alert_after_its_grace(workspace: Path, home: Path, when: str) -> None:
    """Found at the start or seen to come, it is one alert each, which ends with the thing."""
    if when == "before":
        leave(workspace)
    with Watching(workspace, home, "--no-tmux", under=UNPRIVILEGED) as watching:
        if when == "meanwhile":
            leave(workspace)
        hold_to_the_reasons([watching.wait("alert.firing", kind="invalid") for _ in LEFT])
        for name in LEFT:
            remove(workspace / name / ".runtime" / "agent.lock")
            watching.wait("lock.released", worker=name, verdict="invalid")
            watching.wait("alert.resolved", worker=name, reason="released")
        assert len(watching.alerts()) == 2 * len(LEFT)


def test_a_lock_turns_to_garbage_and_back(workspace: Path, home: Path) -> None:
    """The alert comes when the grace is over, and ends when the file can be read; a stale one gives way to it."""
    lock = workspace / "a" / ".runtime" / "agent.lock"
    with Watching(workspace, home, "--no-tmux") as watching:
        with Agent(workspace / "a", *NO_SESSION):
            watching.wait("lock.acquired")
            good = lock.read_bytes()
            lock.write_bytes(b"{")
            written = lock.stat().st_mtime
            alert = watching.wait("alert.firing", kind="invalid")
            assert moment(alert) - written >= 1
            lock.write_bytes(good)
            watching.wait("alert.resolved", kind="invalid")
        watching.wait("alert.firing", kind="stale")
        lock.write_bytes(b"{")
        watching.wait("alert.firing", kind="invalid")
        assert told(watching.lines[1:]) == [
            "a: acquired held",
            "a: verdict held invalid",
            "a: firing invalid",
            "a: verdict invalid held",
            "a: resolved invalid readable",
            "a: verdict held stale",
            "a: firing stale",
            "a: verdict stale invalid",
            "a: resolved stale superseded",
            "a: firing invalid",
        ]
