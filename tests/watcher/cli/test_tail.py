import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.actors import DEADLINE, Agent, wait_for
from tests.harness import environment
from watcher.cli import main
from watcher.cli.tail import _fields, _Filters, _rendered
from watcher.sinks.console import Console
from watcher.sinks.formats import json_line

Tail = Callable[..., list[str]]
Start = Callable[..., "subprocess.Popen[bytes]"]


def line(event: str, message: str = "m", **fields: str) -> str:
    """Write a line of a log."""
    house = {"service": "lockwarden", "run": "1" * 8, "hostname": "box", "workspace": "/w"}
    return json_line(
        {
            "timestamp": "2026-04-01T12:00:00.000000Z",
            "level": "info",
            "event": event,
            "message": message,
            **house,
            **fields,
        }
    )


def alert(worker: str, kind: str = "stale", step: str = "firing", **fields: str) -> str:
    """Write a line about an alert."""
    status = "resolved" if step == "resolved" else "firing"
    about = {"worker": worker, "kind": kind, "fingerprint": f"{kind} {worker}", "status": status}
    return line(f"alert.{step}", f"{worker}: {kind}", starts_at="2026-04-01T11:00:00.000000Z", **about | fields)


WHEN = re.compile(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(.*)")

LOG = [
    line("watcher.started", "watching"),
    line("lock.acquired", "rig/ada: lock acquired", worker="rig/ada"),
    line("lock.acquired", "bob: lock acquired", worker="bob"),
    "Traceback: no line of ours",
    alert("rig/ada"),
    alert("bob", "orphan"),
    line("watcher.heartbeat", "2 locks"),
    alert("bob", "collision", other_worker="rig/eve"),
    alert("rig/ada", step="resolved"),
    line("watcher.stopped", "stopped"),
]


@pytest.fixture
def log(home: Path) -> Path:
    """Give a log."""
    path = home / "log"
    path.write_text("".join(f"{text}\n" for text in LOG))
    return path


@pytest.fixture
def tail(log: Path, capfd: pytest.CaptureFixture[str]) -> Tail:
    """Give a function that reads the log, and gives what it says after the time."""

    def run(*options: str) -> list[str]:
        assert main(["tail", str(log), *options]) == 0
        return [
            WHEN.sub(lambda shown: " ".join(shown[1].split()), text) for text in capfd.readouterr().out.splitlines()
        ]

    return run


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Give a function that starts `lockwarden tail`."""
    with contextlib.ExitStack() as stack:

        def run(
            *words: object,
            stdin: int = subprocess.DEVNULL,
            stdout: int = subprocess.PIPE,
            pass_fds: Sequence[int] = (),
            **env: str,
        ) -> "subprocess.Popen[bytes]":
            process = subprocess.Popen(
                [sys.executable, "-m", "watcher", "tail", *map(str, words)],
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                pass_fds=pass_fds,
                env=environment(home) | {"PYTHONUNBUFFERED": ""} | env,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield run


def test_a_line_a_record(tail: Tail) -> None:
    """As the terminal of the watcher shows them, in their order; what is not ours as it is."""
    assert tail() == [
        "info started watcher watching",
        "info acquired rig/ada lock acquired",
        "info acquired bob lock acquired",
        "Traceback: no line of ours",
        "info firing rig/ada stale",
        "info firing bob orphan",
        "info heartbeat watcher 2 locks",
        "info firing bob collision",
        "info resolved rig/ada stale",
        "info stopped watcher stopped",
    ]


def test_of_one_kind(tail: Tail) -> None:
    """Alerts of that kind, from their beginning to their end, and what the watcher says, heartbeats aside."""
    assert tail("--kind", "stale") == [
        "info started watcher watching",
        "info firing rig/ada stale",
        "info resolved rig/ada stale",
        "info stopped watcher stopped",
    ]
    assert tail("--kind", "orphan", "--kind", "collision")[1:-1] == [
        "info firing bob orphan",
        "info firing bob collision",
    ]


def test_about_some_workers(tail: Tail) -> None:
    """Locks and alerts of those that the glob names, also as the other worker of a collision."""
    assert tail("--worker", "rig/*") == [
        "info started watcher watching",
        "info acquired rig/ada lock acquired",
        "info firing rig/ada stale",
        "info firing bob collision",
        "info resolved rig/ada stale",
        "info stopped watcher stopped",
    ]
    assert tail("--worker", "rig")[1:-1] == []
    assert tail("--worker", "rig/ada", "--kind", "collision")[1:-1] == []


def test_a_kind_that_we_do_not_know(tail: Tail, log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It may be a rule of another package, or a slip: silence must not look like peace."""
    with log.open("a") as file:
        file.write(f"{alert('bob', 'too_old')}\n")
    assert "info firing bob too_old" in tail("--kind", "too_old")
    assert main(["tail", str(log), "--kind", "stael"]) == 0
    assert capfd.readouterr().err.startswith("lockwarden: --kind stael: only a rule of another package has that kind;")


def test_what_still_fires(tail: Tail) -> None:
    """And nothing else; filters hold here too."""
    assert tail("--firing") == ["info firing bob orphan", "info firing bob collision"]
    assert tail("--firing", "--worker", "rig/*") == ["info firing bob collision"]
    assert tail("--firing", "--kind", "stale") == []


@given(st.lists(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: line(text, text, worker=text).encode())))
def test_nothing_in_a_log_reaches_the_terminal(raw: list[bytes]) -> None:
    """Each line of whatever a file holds becomes one line of printable text."""
    lines = [each.decode("utf-8", "backslashreplace") for each in raw]
    shown = list(_rendered(lines, _Filters(frozenset(), None), Console(colour=False)))
    assert len(shown) == len(lines)
    assert all(text.isprintable() for text in shown)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "1",
        "{",
        '{"a":' * 5000,
        '{"service":"lockwarden"}',
        '{"service":"lockwarden","event":["x"]}',
        '{"service":"lockwarden","event":7}',
        '{"service":"other","event":"x"}',
        '{"service":"lockwarden","event":"x","n":null}',
        '{"service":"lockwarden","event":"x","n":1e999}',
        '{"service":"lockwarden","event":"x"} and more',
    ],
)
def test_lines_that_are_not_ours(text: str) -> None:
    """Whatever is no flat object with an event of ours is shown as it is."""
    assert _fields(text) is None


def test_escape_sequences_in_lines_of_any_kind(log: Path, tail: Tail) -> None:
    """In a name, in a line that is not ours, in bytes that are no text."""
    log.write_bytes(alert("a\x1b[2Jb").encode() + b"\n\x1b]0;owned\x07\r\xff\x9b31m\xe2\x80\xae\n")
    ours, other = tail()
    assert ours == "info firing a\\x1b[2Jb stale"
    assert other == "\\x1b]0;owned\\x07\\r\\xff\\x9b31m\\u202e"


def test_a_file_that_is_not_there(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One line, and exit code 4; with --follow too, where not even its directory is there."""
    missing = home / "no" / "log"
    said = f"log: {missing}: no such file or directory; name the file that `lockwarden watch --log-file` writes"
    for options in [], ["--follow"], ["--firing"]:
        assert main(["tail", str(missing), *options]) == 4
        assert capfd.readouterr() == ("", f"lockwarden: {said}\n")
    assert main(["tail", str(home)]) == 4
    assert "is a directory" in capfd.readouterr().err


def test_what_does_not_go_together(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A log that is followed has no end."""
    assert main(["tail", str(log), "--follow", "--firing"]) == 2
    assert capfd.readouterr().err.startswith("lockwarden: tail: --firing is about the end of a log")


def test_stdin_line_by_line(start: Start) -> None:
    """What a pipe brings is shown at once, and the end of the pipe is the end; the last line needs no newline."""
    process = start(stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{alert('ada')}\n{alert('bob')[:50]}".encode())
    process.stdin.flush()
    assert b" ada " in process.stdout.readline()
    process.stdin.write(f"{alert('bob')[50:]}".encode())
    process.stdin.close()
    assert b" bob " in process.stdout.readline()
    assert process.stdout.read() == b""
    assert process.wait(DEADLINE) == 0


def test_a_pipe_that_is_followed_ends(start: Start, log: Path) -> None:
    """Nothing is added to it once its writer has gone."""
    reader, writer = os.pipe()
    process = start("--follow", f"/dev/fd/{reader}", pass_fds=[reader])
    os.close(reader)
    os.write(writer, log.read_bytes())
    os.close(writer)
    out, err = process.communicate(timeout=DEADLINE)
    assert (out.count(b"\n"), err, process.returncode) == (len(LOG), b"", 0)


def test_nothing_is_awaited_from_a_keyboard(start: Start) -> None:
    """Without a file, on a terminal, it says what it needs."""
    with terminal() as (_, keyboard):
        process = start(stdin=keyboard)
        _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert err == b"lockwarden: tail: nothing to read: name the file that `lockwarden watch --log-file` writes\n"


def test_colour(start: Start) -> None:
    """A terminal gets it, unless NO_COLOR says otherwise."""
    shown = {}
    for wish in "", "1":
        with terminal() as (person, screen):
            process = start(stdin=subprocess.PIPE, stdout=screen, TERM="xterm", NO_COLOR=wish)
            process.communicate(alert("ada").encode(), DEADLINE)
            shown[wish] = os.read(person, 65536)
    assert b"\x1b[" in shown[""]
    assert b"\x1b" not in shown["1"]
    assert b" ada " in shown["1"]


def test_an_encoding_that_cannot_say_it(start: Start) -> None:
    """What the terminal has no sign for is spelled out."""
    process = start(stdin=subprocess.PIPE, PYTHONIOENCODING="ascii")
    out, err = process.communicate(f"{alert('zoé')}\n".encode(), DEADLINE)
    assert b"zo\\xe9" in out
    assert err == b""


def test_following(start: Start, log: Path) -> None:
    """What is there, then what comes, through a rotation; Ctrl-C ends it quietly."""
    process = start("--follow", log, "--worker", "new*")
    assert process.stdout is not None
    assert process.stderr is not None
    assert b" watching\n" in process.stdout.readline()
    assert b" stopped\n" in process.stdout.readline()
    with log.open("a") as file:
        file.write(f"{alert('new-1')}\n")
    assert b" new-1 " in process.stdout.readline()
    log.rename(log.with_suffix(".1"))
    log.write_text(f"{alert('new-2')}\n")
    assert b" new-2 " in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE) == 130
    assert process.stderr.read() == b""


def test_following_a_file_that_comes_later(start: Start, log: Path) -> None:
    """A rotator has just taken it: it is said on stderr, and waited for."""
    log.unlink()
    process = start("--follow", log)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stderr.readline() == f"lockwarden: log: {log}: no such file or directory: waiting for it\n".encode()
    log.write_text(f"{alert('ada')}\n")
    assert b" ada " in process.stdout.readline()


def test_a_reader_that_leaves_while_nothing_comes(start: Start, log: Path) -> None:
    """It is noticed without a line to write: a pipeline ends when its last part does."""
    process = start("--follow", log)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(DEADLINE) == 4
    assert process.stderr.read() == b""


def test_over_a_kill_of_the_watcher(tail: Tail, log: Path, workspace: Path, home: Path) -> None:
    """What is stale is firing, over a kill -9; what was mended while nobody watched is not."""
    log.unlink()
    for worker in "ada", "bob":
        with Agent(workspace / worker):
            pass
    watch(workspace, home, log, signal.SIGKILL, "ada: lock is stale", "bob: lock is stale")
    assert [text.split()[2] for text in tail("--firing")] == ["ada", "bob"]
    (workspace / "bob" / ".runtime" / "agent.lock").unlink()
    watch(workspace, home, log, signal.SIGTERM, "bob: lock is no longer stale", '"restored":true')
    (shown,) = tail("--firing")
    assert shown.startswith("warning firing ada lock is stale: process ")
    assert "later run" not in shown


def watch(workspace: Path, home: Path, log: Path, number: int, *said: str) -> None:
    """Watch until all of this is said in the log, then send a signal."""
    options = ["--log-file", str(log), "--quiet", "--no-tmux"]
    command = [sys.executable, "-m", "watcher", "watch", str(workspace), *options]
    with subprocess.Popen(command, env=environment(home)) as process:
        try:
            wait_for(lambda: log.exists() and all(text in log.read_text() for text in said), f"{said} in the log")
        finally:
            process.send_signal(number)


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """Give the person's end of a terminal, and the program's."""
    ends = os.openpty()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)
