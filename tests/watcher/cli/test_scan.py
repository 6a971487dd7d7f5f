import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.actors import DEADLINE, Agent, Tmux, prime, wait_for
from tests.harness import environment

SCAN = (sys.executable, "-m", "watcher", "scan")
NO_SESSION = ("--session", "")


def scan(words: Sequence[str | Path], home: Path) -> "subprocess.CompletedProcess[str]":
    """Look once."""
    return subprocess.run(
        [*SCAN, *words], capture_output=True, text=True, env=environment(home), timeout=DEADLINE, check=False
    )


def test_the_worst_comes_first(home: Path, workspace: Path) -> None:
    """A row for each lock, what is wrong before what is not; the exit code says that something is."""
    with Tmux(home / "s") as tmux, Agent(workspace / "held", *NO_SESSION) as agent:
        pane = tmux.session("ada")
        (workspace / "garbage" / ".runtime").mkdir(parents=True)
        garbage = workspace / "garbage" / ".runtime" / "agent.lock"
        garbage.write_text("{")
        dead = prime(workspace / "stale", *NO_SESSION)
        prime(workspace / "older", "--session", pane)
        prime(workspace / "newer", "--session", pane)
        with Agent(workspace / "orphan", "--session", "gone"):
            prime(workspace / "elsewhere", "--host", "elsewhere", *NO_SESSION)
            wait_for(lambda: time.time() > garbage.stat().st_ctime + 1, "garbage to be older than its grace")
            done = scan([workspace, "--tmux-socket", tmux.path], home)
            data = scan([workspace, "--tmux-socket", tmux.path, "--json"], home)
    assert (done.returncode, done.stderr) == (1, "")
    head, *rows, blank, summary, way_out = done.stdout.splitlines()
    assert head.split("  ")[0] == "WORKER"
    assert blank == ""
    assert summary.startswith("7 locks, 4 findings; 15 directories looked at, 0 skipped, ")
    assert way_out == f"to remove what is stale: lockwarden clean {workspace}"
    assert [row.split()[:2] for row in rows] == [
        ["newer", "held_by_session"],
        ["orphan", "orphan"],
        ["stale", "stale"],
        ["garbage", "invalid"],
        ["elsewhere", "unverifiable"],
        ["held", "held"],
        ["older", "held_by_session"],
    ]
    assert f"the locks of newer and older both name pane {pane}" in rows[0]
    assert f"process {dead} is gone" in rows[2]
    assert rows[4].endswith("  nobody here can tell: host elsewhere")
    assert f"{agent.pid} {Path(sys.executable).name}" in rows[5]

    assert (data.returncode, data.stderr) == (1, "")
    told = json.loads(data.stdout)
    assert (told["workspace"], told["directories"], told["skipped"]) == (str(workspace), 15, 0)
    kinds = [(lock["worker"], [finding["kind"] for finding in lock["findings"]]) for lock in told["locks"]]
    wrong = [("newer", ["collision"]), ("orphan", ["orphan"]), ("stale", ["stale"]), ("garbage", ["invalid"])]
    assert kinds == [*wrong, ("elsewhere", []), ("held", []), ("older", [])]


def test_all_is_well(home: Path, workspace: Path) -> None:
    """With nothing wrong the exit code is 0, with locks and without any."""
    done = scan([workspace, "--no-tmux"], home)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("0 locks, 0 findings; 1 directory looked at")
    with Agent(workspace, *NO_SESSION):
        done = scan([workspace, "--no-tmux"], home)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split()[:2] == [".", "held"]


def test_it_looks_where_it_is_by_default(home: Path, workspace: Path) -> None:
    """Without WORKSPACE it is the current directory."""
    prime(workspace / "a", *NO_SESSION)
    words = [*SCAN, "--json"]
    env = environment(home) | {"PYTHONSAFEPATH": "1"}
    done = subprocess.run(words, cwd=workspace, capture_output=True, env=env, timeout=DEADLINE, check=False)
    assert (done.returncode, json.loads(done.stdout)["workspace"]) == (1, str(workspace))


def test_a_name_that_is_not_utf8_is_strict_json(home: Path, workspace: Path) -> None:
    """Any reader takes it, and the exact bytes are there."""
    worker = os.fsencode(workspace) + b"/\xff\n"
    prime(Path(os.fsdecode(worker)), *NO_SESSION)
    done = scan([workspace, "--json", "--no-tmux"], home)
    [lock] = msgspec.json.decode(done.stdout)["locks"]
    assert (lock["worker"], lock["worker_hex"]) == ("\\xff\n", "ff0a")


@pytest.mark.parametrize("words", [["--frob"], ["--max-depth", "x"], ["--format", "json"], ["a", "b"]])
def test_a_wrong_option_or_value(home: Path, workspace: Path, words: list[str]) -> None:
    """It is named in one line, and the exit code is 2; what makes no sense to one look is no option of it."""
    done = scan([workspace, *words], home)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("lockwarden: ")


def test_a_reader_that_leaves_is_no_finding(home: Path, workspace: Path) -> None:
    """`lockwarden scan | head -0` is quiet on stderr."""
    prime(workspace / "a", *NO_SESSION)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(
            [*SCAN, workspace, "--no-tmux"], stdout=pipe, stderr=subprocess.PIPE, env=environment(home), check=False
        )
    assert (done.returncode, done.stderr) == (4, b"")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_slow_look_shows_on_a_terminal_that_it_goes_on(home: Path, workspace: Path, *, terminal: bool) -> None:
    """A line on stderr says so, and is wiped; elsewhere stderr stays empty, and stdout always has the table only."""
    with Tmux(home / "s") as tmux:
        pane = tmux.session("ada")
        prime(workspace / "a", "--session", pane)
        server = int(tmux("display-message", "-p", "#{pid}"))
        os.kill(server, signal.SIGSTOP)
        ours, theirs = os.openpty() if terminal else os.pipe()
        try:
            words = [*SCAN, str(workspace), "--tmux-socket", str(tmux.path)]
            done = subprocess.run(
                words, stdout=subprocess.PIPE, stderr=theirs, env=environment(home), timeout=DEADLINE, check=False
            )
        finally:
            os.kill(server, signal.SIGCONT)
            os.close(theirs)
            shown = os.read(ours, 65536) if terminal else b"".join(iter(lambda: os.read(ours, 65536), b""))
            os.close(ours)
    assert done.returncode == 0
    assert done.stdout.decode().splitlines()[1].split()[:2] == ["a", "unverifiable"]
    if terminal:
        assert shown.startswith(b"lockwarden: looking at the workspace: 0 s\x1b[K\r")
        assert shown.endswith(b"\r\x1b[K")
    else:
        assert shown == b""
