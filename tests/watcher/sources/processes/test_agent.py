import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rules.model import AgentFact, Liveness, ProcessIdentity
from tests.watcher.sources.processes.world import (
    DEADLINE,
    Processes,
    kill,
    kill_child,
    line_of,
    needs_linux,
    needs_root,
    run_script,
    tell,
    until,
    watching,
)
from watcher.sources.processes.ancestry import find_anchor
from watcher.sources.processes.sighting import Sighting, look
from watcher.sources.processes.watch import probe

pytestmark = needs_linux

AGENT = """
import subprocess, sys
hooks = []
for line in sys.stdin:
    hooks.append(subprocess.Popen(["sh", "-c", line + "true"], stdin=subprocess.DEVNULL))
"""

WRITER = "sh -c 'echo $$; exec sleep 1000'"


class Agent:
    """A long-lived process that runs commands through a shell, as agents run their hooks."""

    def __init__(self, processes: Processes) -> None:
        self._process = processes.python(AGENT)
        self.pid = self._process.pid

    def run(self, command: str = WRITER) -> int:
        """Run a command that prints the pid of the writer in it; return that."""
        tell(self._process, command)
        return int(line_of(self._process))


@pytest.fixture
def agent(processes: Processes) -> Agent:
    """An agent, ended with the test."""
    return Agent(processes)


@pytest.fixture
def hook(tmp_path: Path) -> str:
    """Write a script with the name of a program that runs the writer."""
    path = tmp_path / "prime-hook"
    path.write_text(f"#!/bin/sh\n{WRITER}\ntrue\n", encoding="ascii")
    path.chmod(0o755)
    return str(path)


def test_the_agent_is_the_first_that_is_no_shell(agent: Agent) -> None:
    """Behind a writer that a shell runs stands the process that runs the shell."""
    writer = agent.run()
    assert probe(writer, with_agent=True).agent == AgentFact(_identity(agent.pid), Liveness.ALIVE)
    assert probe(writer).agent is None


def test_a_shell_script_is_a_shell(agent: Agent, hook: str) -> None:
    """A script bears its own name in the process table; what it is run by counts, else it were the agent."""
    writer = agent.run(f"{hook}; ")
    assert probe(writer, with_agent=True).agent == AgentFact(_identity(agent.pid))


def test_what_only_runs_another_program_is_no_agent(agent: Agent) -> None:
    """`timeout`, `env` and their like are passed over."""
    writer = agent.run(f"timeout --foreground 1000 env {WRITER}; ")
    assert probe(writer, with_agent=True).agent == AgentFact(_identity(agent.pid))


def test_init_is_no_agent(new_pids: tuple[str, ...]) -> None:
    """Behind an orphan stands nobody, whatever program runs as pid 1."""
    code = """
import json, subprocess
from watcher.sources.processes.watch import probe
with subprocess.Popen(["sleep", "1000"]) as child:
    fact = probe(child.pid, with_agent=True)
    print(json.dumps([fact.state, fact.agent]))
    child.kill()
"""
    assert run_script(code, within=new_pids) == ["alive", None]


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_tmux_is_no_agent(tmp_path: Path) -> None:
    """Behind a writer that was started by hand in a pane stands nobody: the shell is passed over, tmux ends it."""
    note = tmp_path / "pid"
    tmux = ("tmux", "-S", str(tmp_path / "s"), "-f", "/dev/null")
    shell = f"sh -c 'echo $$ >{note}; exec sleep 1000'; true"
    subprocess.run([*tmux, "new-session", "-d", "sh", "-c", shell], check=True, timeout=DEADLINE)
    try:
        until(lambda: note.exists() and note.read_text(encoding="ascii").endswith("\n"))
        fact = probe(int(note.read_text(encoding="ascii")), with_agent=True)
        assert fact.state is Liveness.ALIVE
        assert fact.agent is None
    finally:
        subprocess.run([*tmux, "kill-server"], check=True, timeout=DEADLINE)


@needs_root
def test_what_may_be_a_shell_is_no_agent(agent: Agent) -> None:
    """An ancestor of another user, whose program may not be read, might be a short-lived script: it is not taken."""
    code = """
import json, os, sys
from watcher.sources.processes.watch import probe
os.setresuid(65534, 65534, 65534)
fact = probe(int(sys.argv[1]), with_agent=True)
print(json.dumps([fact.state, fact.agent]))
"""
    writer = agent.run()
    assert run_script(code, writer) == ["alive", None]


def test_a_parent_that_started_after_its_child_is_a_stranger(agent: Agent) -> None:
    """Where the parent's pid has another bearer by now, that is not taken for the agent."""
    writer = look(agent.run())
    assert writer.identity is not None
    anchor = find_anchor(writer)
    assert anchor is not None
    assert anchor.pid == agent.pid
    before = ProcessIdentity(writer.identity.pid, 0, anchor.start - 1)
    assert find_anchor(Sighting(Liveness.ALIVE, before, 1.0, agent.pid)) is None


def test_a_zombie_still_has_an_agent(processes: Processes) -> None:
    """A writer that has ended but was not reaped is DEAD, and who is behind it can still be read and watched."""
    us = _identity(os.getpid())

    async def scenario() -> None:
        pid = processes.zombie()
        async with watching() as here:
            fact = here.watch.watch(pid, with_agent=True)
            assert fact.state is Liveness.DEAD
            assert fact.agent is not None
            assert fact.agent.identity == us
            assert here.watch.pids == {fact.agent.identity.pid}

    asyncio.run(scenario())


def test_the_agent_outlives_its_writer_in_the_watch(agent: Agent) -> None:
    """When the writer has ended, or is forgotten, the agent is still watched, and its end is told."""

    async def scenario() -> None:
        async with watching() as here:
            writer, other = agent.run(), agent.run()
            facts = [here.watch.watch(pid, with_agent=True) for pid in (writer, other)]
            assert {fact.agent for fact in facts} == {AgentFact(_identity(agent.pid))}
            kill(writer)
            await here.until(lambda: here.dead() == [writer])
            assert here.events[0].fact.agent == facts[0].agent
            here.watch.forget(other)
            assert here.watch.pids == {agent.pid}
            kill_child(agent.pid)
            await here.until(lambda: here.dead() == [writer, agent.pid])
            assert facts[0].agent is not None
            assert here.events[1].fact.identity == facts[0].agent.identity

    asyncio.run(scenario())


def test_an_agent_that_ended_before_its_writer_is_dead(agent: Agent) -> None:
    """Asked again, the watch knows that the agent has ended, though the writer has another parent by now."""

    async def scenario() -> None:
        async with watching() as here:
            writer = agent.run()
            here.watch.watch(writer, with_agent=True)
            gone = AgentFact(_identity(agent.pid), Liveness.DEAD)
            kill_child(agent.pid)
            await here.until(lambda: here.dead() == [agent.pid])
            assert here.watch.watch(writer, with_agent=True).agent == gone

    asyncio.run(scenario())


def test_whoever_adopts_a_writer_is_not_its_agent() -> None:
    """Ancestors are read once, though a polled writer's row is read often: any orchestrator may adopt it (prctl(2))."""
    code = """
import asyncio, ctypes, json, os, signal, subprocess, sys, time
import psutil
from rules.model import Moment
from watcher.sources.processes.watch import ProcessWatch, probe

async def main():
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    program = "import subprocess; subprocess.run(['sh', '-c', 'echo $$; exec sleep 1000'])"
    agent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    writer = int(agent.stdout.readline())
    clock = lambda: Moment(time.time(), time.monotonic())
    watch = ProcessWatch(asyncio.get_running_loop(), lambda _: None, lambda *_: None, clock, notifier=lambda: None)
    before = watch.watch(writer, with_agent=True).agent
    watch.forget(agent.pid)
    agent.kill()
    agent.wait()
    while psutil.Process(writer).ppid() != os.getpid():
        await asyncio.sleep(0.01)
    after = watch.watch(writer, with_agent=True).agent
    print(json.dumps([before.identity == after.identity, before.state, after.state,
                      probe(writer, with_agent=True).agent.identity.pid == os.getpid()]))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    agent.stdout.close()
    watch.close()

asyncio.run(main())
"""
    assert run_script(code) == [True, "alive", "unknown", True]


def test_a_forgotten_agent_is_watched_again(agent: Agent) -> None:
    """Asked once more for a writer, its agent is watched once more."""

    async def scenario() -> None:
        async with watching() as here:
            writer = agent.run()
            first = here.watch.watch(writer, with_agent=True)
            here.watch.forget(agent.pid)
            forgotten = here.watch.watch(writer, with_agent=False)
            assert forgotten.agent is not None
            assert forgotten.agent.state is Liveness.UNKNOWN
            assert here.watch.watch(writer, with_agent=True) == first
            assert here.watch.pids == {writer, agent.pid}

    asyncio.run(scenario())


def _identity(pid: int) -> ProcessIdentity:
    identity = probe(pid).identity
    assert identity is not None
    return identity
