"""Scripted agents and a tmux server of their own, for tests and for the demo. Standard library only."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

DEADLINE = 30.0
"""Seconds to wait for what must come: generous, for a loaded machine; never a measure of speed."""

AGENT = Path(__file__).with_name("agent.py")


def wait_for(fact: Callable[[], object], what: str) -> None:
    """Wait until a fact holds."""
    deadline = time.monotonic() + DEADLINE
    while not fact():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


class Agent:
    """A process that takes a worker's lock, and stays until it is told to go."""

    def __init__(self, worker: Path, *options: str, stay: float = 600.0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, AGENT, worker, "--stay", str(stay), *options], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.pid = int(self.process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End it at once, and wait until it is gone."""
        self.process.kill()
        self.process.wait(DEADLINE)
        assert self.process.stdout is not None
        self.process.stdout.close()


def prime(worker: Path, *options: str) -> int:
    """Take a worker's lock as the main writer does: write, and exit. Returns the pid that is gone now."""
    done = subprocess.run(
        [sys.executable, AGENT, worker, *options], stdout=subprocess.PIPE, text=True, check=True, timeout=DEADLINE
    )
    return int(done.stdout)


@contextlib.contextmanager
def troubles(*places: Path) -> Iterator[None]:
    """Cause one trouble of each kind in each place, in workers named after them."""
    options = ("--how", "rename")
    with contextlib.ExitStack() as stage:
        for place in places:
            prime(place / "stale", *options, "--session", "")
            stage.enter_context(Agent(place / "orphan", *options, "--session", "gone"))
            for _ in range(2):
                stage.enter_context(Agent(place / "collision", *options, "--session", ""))
            (place / "invalid" / ".runtime").mkdir(parents=True)
            (place / "invalid" / ".runtime" / "agent.lock").write_text("{")
        yield


@dataclass(frozen=True)
class Prime:
    """A writer in a pane that has taken a lock, and exits when it is let go."""

    pid: int
    _gate: Path

    def go(self) -> None:
        """Let it go. The process is gone a moment later."""
        wait_for(self._opened, f"process {self.pid} to wait at its gate")

    def _opened(self) -> bool:
        try:
            os.close(os.open(self._gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True


class TmuxError(Exception):
    """A tmux command that failed, and what it said."""


class Tmux:
    """A tmux server of the test's own, on the socket `path`; ended with the test, and the writers in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writers: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(TmuxError):
            self("kill-server")
        wait_for(lambda: not self.is_there(), "the end of tmux")
        for pid in self._writers:
            with contextlib.suppress(OSError):
                if os.fsencode(AGENT) in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)

    def __call__(self, *words: str) -> str:
        """Run one tmux command and give what it prints."""
        command = ["tmux", "-u", "-f", "/dev/null", "-S", str(self.path), *words]
        env = {name: value for name, value in os.environ.items() if not name.startswith("TMUX")}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=DEADLINE)
        if done.returncode != 0:
            raise TmuxError(f"tmux {shlex.join(words)}: {done.stderr.strip()}")
        return done.stdout.rstrip("\n")

    def is_there(self) -> bool:
        """Say whether the server answers."""
        try:
            self("list-sessions")
        except TmuxError as error:
            return "no server" not in str(error) and "error connecting" not in str(error)
        return True

    def session(self, name: str, command: str = "exec sh") -> str:
        """Start a session that runs `command`, and give its pane."""
        return self("new-session", "-d", "-s", name, "-P", "-F", "#{pane_id}", command)

    def run(self, pane: str, *words: object) -> None:
        """Type a command into the shell of a pane."""
        self("send-keys", "-t", pane, "-l", shlex.join(map(str, words)) + "\n")

    def prime(self, pane: str, worker: Path, *options: str, stay: float = 0.3) -> int:
        """Take the lock of `worker` inside a pane, by a process that exits soon; the pane goes on. Gives its pid."""
        told = self.path.with_name(f"told-{time.monotonic_ns()}")
        words = (sys.executable, AGENT, worker, "--stay", stay, *options)
        self.run(pane, "sh", "-c", 'exec "$@" > "$0"', told, *words)
        wait_for(lambda: told.exists() and told.read_text().endswith("\n"), "the lock to be taken in a pane")
        pid = int(told.read_text())
        self._writers.append(pid)
        return pid

    def take(self, pane: str, worker: Path, *options: str) -> Prime:
        """Take the lock as `prime` does, by a process that exits when it is told to."""
        gate = self.path.with_name(f"gate-{time.monotonic_ns()}")
        os.mkfifo(gate)
        return Prime(self.prime(pane, worker, "--until", str(gate), *options, stay=0), gate)
