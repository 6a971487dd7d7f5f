import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.actors import DEADLINE, Tmux, prime, wait_for
from tests.harness import UNPRIVILEGED, Line, Watching, environment, parsed
from watcher.cli import main
from watcher.schema import record_schema

PROGRESS = b"lockwarden: looking at the workspace: "
WATCH = (sys.executable, "-m", "watcher", "watch")
NO_SESSION = ("--session", "")


@pytest.fixture
def slow(home: Path) -> Iterator[list[str]]:
    """Give options with which a start takes two seconds: a tmux server that does not answer is waited for."""
    with Tmux(home / "s") as tmux:
        tmux.session("first")
        server = int(tmux("display-message", "-p", "#{pid}"))
        os.kill(server, signal.SIGSTOP)
        try:
            yield ["--tmux-socket", str(tmux.path)]
        finally:
            os.kill(server, signal.SIGCONT)


def run(words: Sequence[str | Path], home: Path, *, under: Sequence[str] = ()) -> "subprocess.CompletedProcess[bytes]":
    """Run a command that is to end by itself."""
    command = [*under, sys.executable, "-m", "watcher", *words]
    return subprocess.run(command, capture_output=True, env=environment(home), timeout=DEADLINE, check=False)


def complaint(done: "subprocess.CompletedProcess[bytes]") -> str:
    """Give the one line that a command said on stderr, having said nothing else."""
    assert done.stdout == b""
    said = done.stderr.decode()
    assert said.startswith("lockwarden: ")
    assert said.endswith("\n")
    assert said[:-1].isprintable(), said
    return said


@pytest.mark.parametrize("command", ["watch", "scan"])
@pytest.mark.parametrize("kind", ["missing", "file", "fifo", "closed", "odd\n\x1b[2J\udcff", ""])
def test_a_workspace_that_cannot_be_watched(home: Path, workspace: Path, command: str, kind: str) -> None:
    """It is named in one line, and the exit code is 4."""
    path = workspace / kind
    match kind:
        case "file":
            path.touch()
        case "fifo":
            os.mkfifo(path)
        case "closed":
            path.mkdir(mode=0)
        case _:
            pass
    done = run([command, path if kind else ""], home, under=UNPRIVILEGED)
    assert done.returncode == 4
    said = complaint(done)
    assert said.startswith("lockwarden: workspace: ")
    assert said.endswith("; name a directory that you may list\n")


@pytest.mark.parametrize(
    "words",
    [
        ["--frob"],
        ["--format", "xml"],
        ["--level", "loud"],
        ["--backend", "magic"],
        ["--heartbeat", "soon"],
        ["--orphan-hold", "-1"],
        ["--max-depth", "-1"],
        ["--max-depth", "many"],
        ["--skip-dir", "a/b"],
        ["--metrics", "99999999"],
        ["--otlp", "nowhere"],
        ["--alertmanager", "ftp://a"],
        ["--config", "/nonexistent"],
        ["--config", "/dev/null/x"],
        ["another"],
        ["--log-file"],
    ],
)
def test_a_wrong_option_or_value(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is named in one line, and the exit code is 2; whether the workspace is there is not even asked."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert main(["watch", str(tmp_path / "missing"), *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("lockwarden: ")


def test_the_schema_that_its_lines_are_held_to(capsys: pytest.CaptureFixture[str]) -> None:
    """What the harness holds each line to is what `lockwarden schema` prints."""
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == record_schema()


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT")])
def test_a_signal_stops_it(home: Path, workspace: Path, number: int, name: str) -> None:
    """TERM and INT end it with 0, and the last line says which it was; alerts stay as they are."""
    prime(workspace / "a", *NO_SESSION)
    with Watching(workspace, home, "--no-tmux") as watching:
        watching.wait("alert.firing", kind="stale")
        assert watching.stop(number) == 0
        assert watching.lines[-1]["event"] == "watcher.stopped"
        assert watching.lines[-1]["reason"] == name
        assert len(watching.alerts()) == 1


def test_usr1_goes_on_in_a_new_log_file(home: Path, workspace: Path) -> None:
    """After a rotation the next line begins the new file, and none is lost."""
    log, old = home / "log", home / "log.1"
    with Watching(workspace, home, "--no-tmux", "--log-file", str(log)) as watching:
        wait_for(log.read_bytes, "the first line in the file")
        log.rename(old)
        watching.process.send_signal(signal.SIGUSR1)
        prime(workspace / "a", *NO_SESSION)
        watching.wait("alert.firing", kind="stale")
    lines = lines_in(old) + lines_in(log)
    assert [line["id"] for line in lines] == [line["id"] for line in watching.lines]
    assert [line["event"] for line in lines_in(old)] == ["watcher.started"]


def lines_in(log: Path) -> list[Line]:
    """Read a log file, each line of it by the schema."""
    return [parsed(raw) for raw in log.read_bytes().splitlines(keepends=True)]


def test_hup_reads_the_settings_again(home: Path, workspace: Path) -> None:
    """What has changed is told and in force; a file that cannot be is told, and the old settings stay."""
    config = home / "config.toml"
    config.write_text("")
    prime(workspace / "a", *NO_SESSION)
    with Watching(workspace, home, "--no-tmux", "--config", str(config)) as watching:
        watching.wait("alert.firing", kind="stale")
        config.write_text("rules.stale.enabled = false\n")
        watching.process.send_signal(signal.SIGHUP)
        watching.wait("watcher.reloaded", changed="rules.stale.enabled")
        watching.wait("alert.resolved", kind="stale", reason="disabled")
        config.write_text("rules.stale.enabled = perhaps\n")
        watching.process.send_signal(signal.SIGHUP)
        assert str(config) in watching.wait("watcher.degraded", component="config")["reason"]
        config.write_text("")
        watching.process.send_signal(signal.SIGHUP)
        watching.wait("watcher.recovered", component="config")
        watching.wait("alert.firing", kind="stale")


def test_a_reader_that_leaves_ends_a_watcher_that_nobody_else_hears(home: Path, workspace: Path) -> None:
    """It exits with 4 and says so, for silence would look like peace."""
    with subprocess.Popen(
        [*WATCH, workspace, "--no-tmux"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(home)
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        parsed(process.stdout.readline())
        process.stdout.close()
        prime(workspace / "a", *NO_SESSION)
        assert process.wait(DEADLINE) == 4
        said = process.stderr.read()
    assert said == b"lockwarden: log: nobody reads the log any more; send it to a file too with --log-file\n"


def test_a_reader_that_leaves_is_told_in_the_log_file(home: Path, workspace: Path) -> None:
    """With a file to write to the watcher goes on."""
    log = home / "log"
    with subprocess.Popen(
        [*WATCH, workspace, "--no-tmux", "--log-file", log], stdout=subprocess.PIPE, env=environment(home)
    ) as process:
        assert process.stdout is not None
        parsed(process.stdout.readline())
        process.stdout.close()
        prime(workspace / "a", *NO_SESSION)
        wait_for(lambda: b"watcher.degraded" in log.read_bytes(), "the log file to tell of stdout")
        prime(workspace / "b", *NO_SESSION)
        wait_for(lambda: b'"worker":"b"' in log.read_bytes(), "the log file to go on")
        process.terminate()
        assert process.wait(DEADLINE) == 0
    [told] = [line for line in lines_in(log) if line["event"] == "watcher.degraded"]
    assert (told["component"], told["reason"]) == ("log", "stdout: broken pipe")


def test_a_reader_that_reads_no_more_does_not_hold_up_the_end(home: Path, workspace: Path) -> None:
    """A full pipe stops neither the watching nor a stop."""
    for number in range(8):
        prime(workspace / f"w{number}", *NO_SESSION)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    log = home / "log"
    with subprocess.Popen(
        [*WATCH, workspace, "--no-tmux", "--log-file", log], stdout=writer, env=environment(home)
    ) as process:
        wait_for(lambda: log.exists() and log.read_bytes().count(b"alert.firing") == 8, "all alerts in the file")
        process.terminate()
        assert process.wait(DEADLINE) == 0
    os.close(reader)
    os.close(writer)
    assert lines_in(log)[-1]["event"] == "watcher.stopped"


def test_a_closed_stdout(home: Path, workspace: Path) -> None:
    """Nothing can be written there: one line says so, and the way out."""
    words = ["sh", "-c", 'exec "$@" >&-', "sh", *WATCH, str(workspace)]
    done = subprocess.run(words, stderr=subprocess.PIPE, env=environment(home), timeout=DEADLINE, check=False)
    assert (done.returncode, done.stderr) == (4, b"lockwarden: stdout: closed; use --quiet\n")


@contextmanager
def on_a_terminal(words: Sequence[str | Path], home: Path, **env: str) -> Iterator["Terminal"]:
    """Run a watcher on a terminal of its own."""
    ours, theirs = pty.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST  # newlines as they are written
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    process = subprocess.Popen(
        [*WATCH, *words], stdout=theirs, stderr=theirs, env=environment(home) | {"TERM": "xterm"} | env
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait(DEADLINE)
        os.close(ours)


class Terminal:
    """What a person sees."""

    def __init__(self, process: "subprocess.Popen[bytes]", descriptor: int) -> None:
        self.process = process
        self.shown = b""
        self._descriptor = descriptor

    def wait(self, text: bytes) -> None:
        """Wait until a text is shown."""
        wait_for(lambda: text in self.look(), repr(text))

    def look(self) -> bytes:
        """Read what is shown by now."""
        try:
            while more := os.read(self._descriptor, 65536):
                self.shown += more
        except OSError:
            pass  # nothing more for now, or for ever: the other side is closed
        return self.shown

    def lines(self) -> list[str]:
        """Give the lines that stay: what a carriage return goes back over is written over."""
        return [line.decode().rpartition("\r")[2].removeprefix("\x1b[K") for line in self.shown.split(b"\n")[:-1]]

    def end(self, number: int) -> int:
        """Send a signal, wait for the end, and read the rest."""
        self.process.send_signal(number)
        wait_for(lambda: self.look() and self.process.poll() is not None, "the end")
        self.look()
        return self.process.returncode


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_on_a_terminal_it_writes_for_a_person(
    home: Path, workspace: Path, env: dict[str, str], *, coloured: bool
) -> None:
    """The format is console there, coloured where the person wants it; Ctrl-C ends it with 0."""
    prime(workspace / "ada", *NO_SESSION)
    with on_a_terminal([workspace, "--no-tmux"], home, **env) as terminal:
        terminal.wait(b"lock is stale")
        assert terminal.end(signal.SIGINT) == 0
    assert (b"\x1b[33m" in terminal.shown) == coloured
    started, found, stale, stopped = terminal.shown.decode().splitlines()
    assert "watching 3 directories with 1 locks" in started
    assert "ada" in found
    assert "ada" in stale
    assert "SIGINT" in stopped
    assert "{" not in terminal.shown.decode()


def test_a_slow_start_shows_progress_on_a_terminal(home: Path, workspace: Path, slow: list[str]) -> None:
    """While the workspace is looked at, a line says how far that is; the log takes its place."""
    with on_a_terminal([workspace, *slow], home, NO_COLOR="1") as terminal:
        terminal.wait(PROGRESS)
        terminal.wait(b"watching 1 directories")
        assert terminal.end(signal.SIGTERM) == 0
    assert [line.split()[4] for line in terminal.lines()] == ["started", "degraded", "stopped"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start(home: Path, workspace: Path, slow: list[str], number: int) -> None:
    """It ends at once, with 0 and without a word: nothing had begun."""
    with on_a_terminal([workspace, *slow], home) as terminal:
        terminal.wait(PROGRESS)
        assert terminal.end(number) == 0
    assert terminal.lines() == []
    assert terminal.shown.endswith(b"\r\x1b[K")


def test_a_reload_during_the_start(home: Path, workspace: Path, slow: list[str]) -> None:
    """The start is told first, also where the settings are read again before."""
    with on_a_terminal([workspace, *slow, "--format", "json"], home) as terminal:
        terminal.wait(PROGRESS)
        terminal.process.send_signal(signal.SIGHUP)
        terminal.wait(b"watcher.reloaded")
        assert terminal.end(signal.SIGTERM) == 0
    events = [json.loads(line)["event"] for line in terminal.lines()]
    assert events == ["watcher.started", "watcher.degraded", "watcher.reloaded", "watcher.stopped"]


def test_no_progress_where_there_is_no_terminal(home: Path, workspace: Path, slow: list[str]) -> None:
    """Stderr stays empty: it may be a log."""
    command = [*WATCH, str(workspace), *slow]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(home)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert parsed(process.stdout.readline())["event"] == "watcher.started"
        process.terminate()
        assert process.stderr.read() == b""
