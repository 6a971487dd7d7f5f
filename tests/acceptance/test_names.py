"""Directories may be named anything but `/` and NUL: each line of the log stays one line, and says which it was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.actors import AGENT, DEADLINE
from tests.harness import Line, Watching, environment, lines_of

NAMES = [
    b"two\nlines",
    b'{"event":"alert.firing"}\r\n{"event":"alert.resolved"}',
    b"\x1b[2J\x1b]0;owned\x07",
    b"\xff\xfe not utf-8 \xc3",
    "\u202e right to left \u200b".encode(),
    "\x9b31m C1 and \U0001f512".encode(),
    b" -- '\"\\$(touch owned)`",
    b"a" * 255,
    b"/".join([b"deep" * 60] * 12),
]


def leave_locks(town: bytes) -> None:
    """Have another process leave a stale lock under each name."""
    for name in NAMES:
        words = [os.fsencode(sys.executable), os.fsencode(AGENT), town + b"/" + name, b"--session", b""]
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True, timeout=DEADLINE)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_any_name_is_told_and_breaks_no_line(home: Path, when: str) -> None:
    """The worker is the name where that is text; where it is not, the exact bytes are beside it."""
    town = os.path.join(os.fsencode(home), b"t\xffown\n")  # noqa: PTH118 - not UTF-8
    os.mkdir(town)  # noqa: PTH102 - as above
    if when == "before":
        leave_locks(town)
    with Watching(Path(os.fsdecode(town)), home, "--no-tmux") as watching:
        if when == "meanwhile":
            leave_locks(town)
        alerts = [watching.wait("alert.firing", kind="stale") for _ in NAMES]
        assert {exactly(alert) for alert in alerts} == set(NAMES)
        assert {alert["workspace"] for alert in alerts} == {f"{home}/t\\xffown\n"}
        assert [alert["worker"] for alert in alerts if "worker_hex" in alert] == ["\\xff\\xfe not utf-8 \\xc3"]


def exactly(line: Line) -> bytes:
    """Give the bytes of the name that a line is about."""
    return bytes.fromhex(line["worker_hex"]) if "worker_hex" in line else str(line["worker"]).encode()


@pytest.mark.parametrize("form", ["console", "logfmt", "ecs"])
def test_any_name_is_one_line_in_every_format(home: Path, workspace: Path, form: str) -> None:
    """What a terminal would act on is spelled out, whatever the format."""
    leave_locks(os.fsencode(workspace))
    expected = 1 + 2 * len(NAMES) + 1
    lines = lines_of(["watch", workspace, "--no-tmux", "--format", form], home, expected - 1)
    assert len(lines) == expected
    assert all(line.decode().removesuffix("\n").isprintable() for line in lines)


def test_scan_prints_any_name_as_one_row(home: Path, workspace: Path) -> None:
    """A table has a row for each lock, and nothing in it that a terminal acts on."""
    leave_locks(os.fsencode(workspace))
    words = [sys.executable, "-m", "watcher", "scan", str(workspace), "--no-tmux"]
    done = subprocess.run(words, capture_output=True, env=environment(home), timeout=DEADLINE, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    head, *rows, blank, summary, way_out = done.stdout.decode().splitlines()
    assert head.startswith("WORKER")
    assert (len(rows), blank) == (len(NAMES), "")
    assert summary.startswith(f"{len(NAMES)} locks, {len(NAMES)} findings")
    assert all(row.isprintable() for row in rows)
    assert way_out == f"to remove what is stale: lockwarden clean {workspace}"
