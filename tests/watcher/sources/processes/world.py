"""Real processes for the tests, each ended by who started it, and a watch over them whose news can be awaited."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rules.model import Liveness, Moment
from watcher.events import ProcessSeen
from watcher.sources.processes.exits import ExitNotifier, best_notifier
from watcher.sources.processes.watch import ProcessWatch

DEADLINE = 30.0
LEADER_LEAVES = """
import ctypes, sys, threading
threading.Thread(target=sys.stdin.read).start()
print(flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""
ROOT = Path(__file__).parents[4]

SLEEP = ("sleep", "1000")

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts, or becomes another user")


def nobody_announces() -> ExitNotifier | None:
    """Make every process be polled."""
    return None


def until(fact: Callable[[], object]) -> None:
    """Wait for a fact."""
    deadline = time.monotonic() + DEADLINE
    while not fact():
        if time.monotonic() > deadline:
            pytest.fail("it never came true")
        time.sleep(0.005)


def run_script(code: str, *arguments: object, within: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 (it is JSON)
    """Run Python code in a process of its own, where it may do as it likes; return what it prints as JSON."""
    done = subprocess.run(
        [*within, sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


class Processes:
    """Starts processes, each in a session of its own, and ends them all at last, with those that they started."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command, `sleep` by default; its standard input and output are pipes."""
        process = subprocess.Popen(
            command or SLEEP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self._started.append(process)
        return process

    def python(self, code: str) -> subprocess.Popen[bytes]:
        """Start Python code."""
        return self.start(sys.executable, "-S", "-E", "-c", code)

    def many(self, count: int) -> tuple[int, list[int]]:
        """Start `count` processes as one group; return that, and their pids."""
        parent = self.python(
            "import os, signal\n"
            f"pids = [os.fork() or signal.pause() for _ in range({count})]\n"
            "print(*pids, flush=True)\n"
            "signal.pause()"
        )
        pids = [int(pid) for pid in line_of(parent).split()]
        assert len(pids) == count
        return parent.pid, pids

    def leaderless(self) -> int:
        """Return the pid of a process whose main thread has ended while another runs."""
        process = self.python(LEADER_LEAVES)
        line_of(process)
        until(lambda: _state_letter(process.pid) == "Z")
        return process.pid

    def zombie(self) -> int:
        """Return the pid of a process that has ended and was not reaped."""
        process = self.start("true")
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return process.pid

    def dead(self) -> int:
        """Return the pid of a process that is gone."""
        process = self.start("true")
        process.wait(DEADLINE)
        return process.pid

    def end(self) -> None:
        """Kill and reap all."""
        for process in self._started:
            if process.returncode is None:  # not reaped, so its pid is still its group's
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(DEADLINE)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def line_of(process: subprocess.Popen[bytes]) -> str:
    """Read the next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def tell(process: subprocess.Popen[bytes], line: str) -> None:
    """Write a line to a process."""
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()


class Watching:
    """A `ProcessWatch` in the running loop, and all that it has said."""

    def __init__(self, notifier: Callable[[], ExitNotifier | None] = best_notifier) -> None:
        self.heard: Callable[[], None] = lambda: None
        self.events: list[ProcessSeen] = []
        self.health: list[str] = []
        self.watch = ProcessWatch(
            asyncio.get_running_loop(),
            self._hear,
            lambda component, reason, hint: self.health.append(f"{component}: {reason} ({hint})"),
            lambda: Moment(time.time(), time.monotonic()),
            notifier=notifier,
        )

    def _hear(self, event: ProcessSeen) -> None:
        self.events.append(event)
        self.heard()

    def dead(self) -> list[int]:
        """List the pids whose end was posted, in that order."""
        return [event.pid for event in self.events if event.fact.state is Liveness.DEAD]

    async def until(self, fact: Callable[[], object]) -> None:
        """Let the loop run until a fact holds."""
        async with asyncio.timeout(DEADLINE):
            while not fact():  # noqa: ASYNC110 (facts of the system come true unannounced)
                await asyncio.sleep(0.002)


@asynccontextmanager
async def watching(notifier: Callable[[], ExitNotifier | None] = best_notifier) -> AsyncIterator[Watching]:
    """Watch for the length of a block."""
    here = Watching(notifier)
    try:
        yield here
    finally:
        here.watch.close()


def kill(pid: int) -> None:
    """Kill a process that cannot object."""
    os.kill(pid, signal.SIGKILL)


def kill_child(pid: int) -> None:
    """Kill a child of ours and wait until it is a zombie."""
    kill(pid)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def _state_letter(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2][0]


def descriptors() -> int:
    """Count our open descriptors."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (Path.iterdir would make paths to be thrown away)
