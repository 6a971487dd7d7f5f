import errno
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

import watcher
from watcher.cli import main
from watcher.locks.lockfile import encode
from watcher.settings import Settings
from watcher.settings.keys import KEYS
from watcher.survey import judge

PATIENCE = 30.0
ROOT = Path(watcher.__file__).parents[1]
RUN = (sys.executable, "-m", "watcher", "run")

# Tells what it hears, a name a line, and ends with 7 when it hears SIGUSR1.
LISTENER = """if True:
    import os, signal, sys
    heard = {signal.Signals[name] for name in sys.argv[1:]}
    signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    print(os.getpid(), flush=True)
    while True:
        number = signal.sigwait(heard)
        print(number.name, flush=True)
        if number is signal.SIGUSR1:
            sys.exit(7)
    """


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """An environment without the settings and the pane of whoever runs the tests."""
    names = {*(key.variable for key in KEYS.values()), "LOCKWARDEN_CONFIG", "TMUX", "TMUX_PANE"}
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "XDG_CONFIG_HOME": str(tmp_path_factory.mktemp("etc"))}


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(environment: Mapping[str, str]) -> Iterator[Start]:
    """Give a function that starts `lockwarden run` with some arguments, in a process group of its own."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*RUN, *map(str, arguments)],
            cwd=ROOT,
            env=environment,
            process_group=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """The place of the lock of the worker `tmp_path`."""
    return tmp_path / ".runtime" / "agent.lock"


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end; give the exit code and both outputs."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def line_of(process: subprocess.Popen[str]) -> str:
    """Read the next line of its stdout."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def wait_until(fact: Callable[[], bool]) -> None:
    """Wait for a fact."""
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def state_of(pid: int) -> str:
    """Give the state letter of a process, empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def goes_on(pid: int) -> bool:
    """Say whether a process is there and not stopped."""
    return state_of(pid) not in {"", "Z", "X", "T"}


def children_of(pid: int) -> list[int]:
    """List the pids of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_lock_names_the_command_before_it_begins(start: Start, tmp_path: Path, lock: Path) -> None:
    """The first thing that the command can see is its own pid in the lock, with the session; then it is gone."""
    code, out, err = finished(start(tmp_path, "--session", "gt-x", "--", "sh", "-c", f"echo $$; cat '{lock}'"))
    pid, _, content = out.partition("\n")
    fields = json.loads(content)
    assert (code, err) == (0, "")
    assert (fields["pid"], fields["session_id"]) == (int(pid), "gt-x")
    assert not lock.exists()


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
)
def test_the_exit_code_is_passed_through(start: Start, tmp_path: Path, lock: Path, script: str, code: int) -> None:
    """However the command ends, the lock goes with it; a signal is 128 and its number."""
    assert finished(start(tmp_path, "--", "sh", "-c", script)) == (code, "", "")
    assert not lock.exists()


def test_who_comes_second_does_not_begin(start: Start, tmp_path: Path, lock: Path) -> None:
    """While one command holds the lock, another is refused with who holds it, and is not started."""
    first = start(tmp_path, "--session", "", "--", "sh", "-c", "echo $$; cat")
    pid = int(line_of(first))
    before = lock.read_bytes()
    said = f"lockwarden: {lock}: locked by PID {pid} (session: none); see lockwarden lock show {tmp_path}\n"
    assert finished(start(tmp_path, "--", "touch", tmp_path / "begun")) == (1, "", said)
    assert not (tmp_path / "begun").exists()
    assert lock.read_bytes() == before
    assert finished(first)[0] == 0


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [("/nowhere/at/all", 127, "no such file or directory"), ("/etc/passwd", 126, "permission denied")],
)
def test_a_command_that_cannot_be_run(  # noqa: PLR0917 - fixtures
    start: Start, tmp_path: Path, lock: Path, command: str, code: int, said: str
) -> None:
    """It is told as a shell tells it, with the reason in one line, and no lock is left."""
    assert finished(start(tmp_path, "--", command)) == (code, "", f"lockwarden: {command}: {said}\n")
    assert not lock.exists()


def test_options_of_the_command_are_its_own(start: Start, tmp_path: Path) -> None:
    """What comes after `--` is not read, and stdin is the command's."""
    process = start(tmp_path, "--", "sh", "-c", 'cat; echo "$@"', "sh", "--session", "--help", "--", "-x")
    out, _ = process.communicate("in\n", timeout=PATIENCE)
    assert out == "in\n--session --help -- -x\n"


def test_signals_are_passed_on(start: Start, tmp_path: Path, lock: Path) -> None:
    """Each signal that is sent to `run` reaches the command, once, and `run` lives as long as that."""
    names = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR2", "SIGWINCH", "SIGCONT", "SIGUSR1"]
    process = start(tmp_path, "--", sys.executable, "-c", LISTENER, *names)
    assert int(line_of(process)) == json.loads(lock.read_bytes())["pid"]
    for name in names:
        process.send_signal(signal.Signals[name])
        assert line_of(process) == name
    assert finished(process) == (7, "", "")
    assert not lock.exists()


class Terminal:
    """A terminal of its own, whose foreground is `lockwarden run` with the listener as its command."""

    def __init__(self, environment: Mapping[str, str], worker: Path, *heard: str) -> None:
        self.keys, theirs = pty.openpty()
        listener = (*RUN, str(worker), "--", sys.executable, "-c", LISTENER, *heard)
        self.process = subprocess.Popen(
            [sys.executable, "-c", LEADER, *listener],
            cwd=ROOT,
            env=environment,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        os.close(theirs)
        line_of(self.process)

    def close(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):
            os.close(self.keys)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


# Makes the terminal on stdin its own, then becomes what it is told.
LEADER = """if True:
    import fcntl, os, sys, termios
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.execv(sys.argv[1], sys.argv[1:])
    """


@pytest.fixture
def terminal(environment: Mapping[str, str], tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Give a function that makes a terminal whose command listens to some signals, and to SIGUSR1."""
    opened: list[Terminal] = []

    def make(*heard: str) -> Terminal:
        opened.append(Terminal(environment, tmp_path, *heard, "SIGUSR1"))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def test_a_key_reaches_the_command_once(terminal: Callable[..., Terminal]) -> None:
    """Ctrl-C goes to all who are in the foreground; it is not passed on to the command a second time."""
    opened = terminal("SIGINT")
    # Two pending signals of one number are one: so `run` takes it when the command already has.
    opened.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: state_of(opened.process.pid) == "T")
    os.write(opened.keys, b"\x03")
    assert line_of(opened.process) == "SIGINT"
    # It takes signals in the order of their numbers: this one after the key.
    opened.process.send_signal(signal.SIGUSR1)
    opened.process.send_signal(signal.SIGCONT)
    assert finished(opened.process)[:2] == (7, "SIGUSR1\n")


def test_the_end_of_a_terminal_reaches_the_command(terminal: Callable[..., Terminal], lock: Path) -> None:
    """The hangup goes to the leader of the session alone, which `run` is in a pane of its own."""
    opened = terminal("SIGHUP")
    os.close(opened.keys)
    assert line_of(opened.process) == "SIGHUP"
    opened.process.send_signal(signal.SIGUSR1)
    assert finished(opened.process)[0] == 7
    assert not lock.exists()


def test_stop_and_go_on(start: Start, tmp_path: Path) -> None:
    """Where the command is stopped as by Ctrl-Z, `run` stops too, which a shell waits for; both go on together."""
    process = start(tmp_path, "--", "sh", "-c", "echo $$; read -r _; exit 3")
    pid = int(line_of(process))
    for _ in range(3):
        process.send_signal(signal.SIGTSTP)
        wait_until(lambda: state_of(pid) == "T" and state_of(process.pid) == "T")
        process.send_signal(signal.SIGCONT)
        wait_until(lambda: goes_on(pid) and goes_on(process.pid))
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == "T")
    os.kill(pid, signal.SIGCONT)
    assert finished(process)[0] == 3


def test_killed_itself_it_leaves_a_lock_that_is_held_and_then_stale(start: Start, tmp_path: Path, lock: Path) -> None:
    """The command goes on and holds its lock; when it has ended too, the lock is stale."""

    def verdict() -> str:
        return judge(str(tmp_path), ["."], Settings())["."].view.verdict

    process = start(tmp_path, "--session", "", "--", "sh", "-c", "echo $$; cat")
    pid = int(line_of(process))
    process.kill()
    process.wait(PATIENCE)
    assert goes_on(pid)
    assert verdict() == "held"
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: verdict() == "stale")
    assert main(["clean", str(tmp_path), "--no-tmux"]) == 0
    assert not lock.exists()


def test_the_watcher_calls_what_a_killed_run_leaves_stale(
    start: Start, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """The alert comes when the command has ended too, and names its process."""
    process = start(tmp_path, "--session", "", "--", "sh", "-c", "echo $$; cat")
    pid = int(line_of(process))
    with subprocess.Popen(
        [sys.executable, "-m", "watcher", "watch", tmp_path, "--no-state", "--no-tmux", "--format", "json"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as watch:

        def next_of(event: str) -> dict[str, object]:
            while record := json.loads(line_of(watch)):
                if record["event"] == event:
                    break
            return dict(record)

        try:
            assert next_of("lock.acquired")["verdict"] == "held"
            process.kill()
            os.kill(pid, signal.SIGKILL)
            alert = next_of("alert.firing")
        finally:
            watch.terminate()
    assert (alert["kind"], alert["pid"], alert["verdict"]) == ("stale", pid, "stale")


def test_killed_before_the_lock_is_there_nothing_begins(start: Start, tmp_path: Path, lock: Path) -> None:
    """A command whose `run` dies while it waits for the lock is never started."""
    lock.parent.mkdir()
    with lock.with_name("agent.lock.flock").open("w") as kept:
        fcntl.flock(kept, fcntl.LOCK_EX)
        process = start(tmp_path, "--", "touch", tmp_path / "begun")
        wait_until(lambda: bool(children_of(process.pid)))
        (child,) = children_of(process.pid)
        process.kill()
        process.wait(PATIENCE)
        wait_until(lambda: state_of(child) in {"", "Z"})
    assert not (tmp_path / "begun").exists()
    assert not lock.exists()


def test_a_robbed_lock_is_left_and_told(start: Start, tmp_path: Path, lock: Path) -> None:
    """Where another has overwritten the lock meanwhile, it keeps it; the exit code stays the command's."""
    process = start(tmp_path, "--session", "", "--", "sh", "-c", "echo up; read -r _; exit 5")
    assert line_of(process) == "up"
    lock.write_bytes(before := encode(pid=os.getpid(), acquired_ns=time.time_ns(), utc_offset=0))
    code, _, err = finished(process)
    assert (code, err) == (
        5,
        f"lockwarden: {lock}: locked by PID {os.getpid()} (session: none); see lockwarden lock show {tmp_path}\n",
    )
    assert lock.read_bytes() == before


def test_the_command_inherits_no_quirk_of_python(start: Start, tmp_path: Path) -> None:
    """It has the same signals blocked and ignored as one that is started without `run`."""
    signals = ("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    alone = subprocess.run(signals, capture_output=True, text=True, check=True)
    assert finished(start(tmp_path, "--", *signals)) == (0, alone.stdout, "")


def test_a_worker_that_cannot_be_locked(start: Start, tmp_path: Path) -> None:
    """Without its lock the command does not begin: exit 4, one line."""
    (tmp_path / ".runtime").symlink_to(tmp_path)
    code, out, err = finished(start(tmp_path, "--", "touch", tmp_path / "begun"))
    assert (code, out) == (4, "")
    assert os.strerror(errno.ENOTDIR).lower() in err
    assert not (tmp_path / "begun").exists()


def test_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command or a worker there is nothing to run."""
    for arguments in ([], [str(tmp_path)], [str(tmp_path / "nowhere"), "--", "true"]):
        assert main(["run", *arguments]) == 2
        assert capsys.readouterr().err.count("\n") == 1
