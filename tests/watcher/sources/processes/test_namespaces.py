import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from rules.model import Liveness
from tests.watcher.sources.processes.world import (
    DEADLINE,
    Processes,
    line_of,
    needs_linux,
    needs_root,
    nobody_announces,
    run_script,
    tell,
    until,
    watching,
)
from watcher.sources.processes.exits import ExitNotifier, best_notifier
from watcher.sources.processes.watch import probe

pytestmark = needs_linux

Notifier = Callable[[], ExitNotifier | None]

INNER = """
import os, subprocess, sys
with open("/proc/sys/kernel/ns_last_pid", "w") as file:
    file.write(str(int(sys.argv[1]) - 1))
child = subprocess.Popen(["sleep", "1000"])
print(child.pid, flush=True)
sys.stdin.readline()
child.kill()
os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
print("a zombie", flush=True)
sys.stdin.readline()
"""


class Inner:
    """A process in a PID namespace below ours, which has `number` in there and `pid` out here."""

    def __init__(self, processes: Processes, new_pids: tuple[str, ...], number: int) -> None:
        self.number = number
        self._init = processes.start(*new_pids, sys.executable, "-c", INNER, str(number))
        assert int(line_of(self._init)) == number
        below = psutil.Process(self._init.pid).children(recursive=True)
        (self.pid,) = (process.pid for process in below if process.name() == "sleep")

    def end(self) -> None:
        """End the process; nobody reaps it."""
        tell(self._init, "")
        assert line_of(self._init) == "a zombie"


@pytest.fixture
def inner(processes: Processes, new_pids: tuple[str, ...]) -> Inner:
    """A process that has a number below which nobody has here."""
    return Inner(processes, new_pids, processes.dead())


def test_a_number_that_is_alive_below_is_not_called_dead(inner: Inner) -> None:
    """A pid that is free here but a living process's in a namespace below is UNKNOWN, and DEAD once that has ended."""

    async def scenario() -> None:
        until(lambda: probe(inner.number).state is Liveness.UNKNOWN)
        assert probe(inner.number).identity is None
        assert probe(inner.number).started_at == pytest.approx(probe(inner.pid).started_at)
        async with watching() as here:
            assert here.watch.watch(inner.number, with_agent=True).state is Liveness.UNKNOWN
            here.watch.recheck()
            await here.until(lambda: not here.watch._due)
            assert not here.events
            inner.end()
            here.watch.recheck()
            await here.until(lambda: here.dead() == [inner.number])

    asyncio.run(scenario())


def test_who_has_another_number_below_did_not_write_this_one(inner: Inner) -> None:
    """A process of a namespace below writes its number in there; the one it has here is not judged by it."""

    async def scenario() -> None:
        async with watching() as here:
            fact = here.watch.watch(inner.pid, with_agent=False)
            assert fact.state is Liveness.UNKNOWN
            assert fact.started_at is not None
            inner.end()
            here.watch.recheck()
            await here.until(lambda: here.dead() == [inner.pid])

    asyncio.run(scenario())


@pytest.mark.parametrize("notifier", [best_notifier, nobody_announces])
@pytest.mark.usefixtures("polled_often")
def test_seen_alive_is_seen_dead(processes: Processes, new_pids: tuple[str, ...], notifier: Notifier) -> None:
    """A process that was watched here is DEAD at its end, although its number is alive below."""

    async def scenario() -> None:
        process = processes.start()
        inner = Inner(processes, new_pids, process.pid)
        async with watching(notifier) as here:
            assert here.watch.watch(process.pid, with_agent=False).state is Liveness.ALIVE
            process.kill()
            process.wait(DEADLINE)
            await here.until(lambda: here.events)
            assert here.dead() == [process.pid]
            until(lambda: probe(process.pid).state is Liveness.UNKNOWN)
            inner.end()
            assert probe(process.pid).state is Liveness.DEAD

    asyncio.run(scenario())


def _is_kernel_thread(pid: int) -> bool:
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes() and psutil.Process(pid).name() == "kthreadd"
    except (OSError, psutil.Error):
        return False


@pytest.mark.skipif(not _is_kernel_thread(2), reason="no kernel threads to be seen")
def test_a_kernel_thread_wrote_no_lock() -> None:
    """Low numbers are kernel threads here and agents in a sandbox: UNKNOWN, neither held for ever nor dead."""
    assert probe(2).state is Liveness.UNKNOWN


@needs_root
def test_a_proc_that_counts_otherwise_is_not_believed() -> None:
    """Where /proc is of the namespace around ours, processes are told by their pidfds alone."""
    code = """
import json, os, subprocess
from watcher.sources.processes.exits import ExitNotifier, best_notifier
from watcher.sources.processes.watch import probe
child = subprocess.Popen(["sleep", "1000"])
living = probe(child.pid, with_agent=True)
child.kill()
os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
zombie = probe(child.pid)
child.wait()
print(json.dumps([living.state, living.started_at, living.identity.start, living.agent, zombie.state,
                  probe(child.pid).state]))
"""
    seen = run_script(code, within=("unshare", "-pf", "--kill-child"))
    assert seen == ["alive", None, 0, None, "dead", "dead"]
