"""One day in a town of agents, act by act, in one workspace under one watcher with the default settings.

The main writer (`gt prime`) is a short-lived hook: it writes the lock and exits, and the pane holds it from then on.
Here it exits when its lock has been seen, so that the lines of each act are the same every day.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.actors import AGENT, DEADLINE, Prime, Tmux, wait_for
from tests.harness import PROBE, Watching, held_for, told, watching_tmux

ORCHESTRATED = "import subprocess, sys, time; subprocess.run(sys.argv[1:], check=True); time.sleep(600)"


@dataclass
class Town:
    """The workspace, who watches it, and the agents: each has a session of its name, and a pane in it."""

    path: Path
    watching: Watching
    tmux: Tmux
    panes: dict[str, str]
    stage: ExitStack

    def prime(self, agent: str, worker: str, *options: str) -> None:
        """Take a worker's lock in an agent's pane, and see the writer exit."""
        self.let_go(self.tmux.take(self.panes[agent], self.path / worker, *options), worker)

    def let_go(self, writer: Prime, worker: str) -> None:
        """Let a writer exit once its lock has been seen."""
        self.watching.find(lambda line: line.get("worker") == worker and line.get("pid") == writer.pid, "lock")
        writer.go()
        self.watching.wait("lock.verdict", worker=worker, verdict="held_by_session")


Act = Callable[[Town], None]
ACTS: list[tuple[Act, list[list[str]]]] = []
"""Each act, and the lines that it must have caused: any one of these stories, and no line more."""


def brings(*lines: str, otherwise: tuple[str, ...] = ()) -> Callable[[Act], Act]:
    """Put an act on the day's list, with the lines that the log must say of it."""

    def enlist(act: Act) -> Act:
        ACTS.append((act, [list(story) for story in (lines, otherwise) if story]))
        return act

    return enlist


@brings("ada: acquired held", "ada: verdict held held_by_session")
def prime_in_the_pane(town: Town) -> None:
    """A prime that exits leaves its lock to its pane."""
    town.prime("ada", "ada")


@brings("ada: refreshed held", "ada: verdict held held_by_session")
def prime_again_in_it(town: Town) -> None:
    """Another prime in the same pane, which removes the lock and writes it, is one refresh."""
    town.prime("ada", "ada", "--remove")


@brings("ada: refreshed held", "ada: verdict held held_by_session")
def respawn_and_prime(town: Town) -> None:
    """A handoff respawns the pane, which never goes."""
    town.tmux("respawn-pane", "-k", "-t", town.panes["ada"], "exec sh")
    town.prime("ada", "ada", "--remove")


@brings(
    "ada: replaced held",
    "ada: firing collision replaced",
    "ada: verdict held held_by_session",
    otherwise=("ada: replaced held", "ada: firing collision takeover", "ada: verdict held held_by_session"),
)
def prime_in_another_pane(town: Town) -> None:
    """A prime in bob's pane robs ada, who lives."""
    town.prime("bob", "ada", "--remove")
    [alert] = [line for line in town.watching.alerts() if line["kind"] == "collision"]
    assert alert["severity"] == alert["level"] == "critical"
    assert (alert["session_id"], alert["other_session_id"]) == (town.panes["bob"], town.panes["ada"])


@brings(
    "ada: verdict held_by_session stale",
    "ada: resolved collision claim_ended",
    "ada: firing stale",
)
def the_robbers_pane_is_killed(town: Town) -> None:
    """Bob's pane ends: nobody contests the lock any more, and it is bob's and stale."""
    town.tmux("kill-pane", "-t", town.panes["bob"])
    town.watching.wait("alert.firing", kind="stale")


@brings("ada: replaced held", "ada: resolved stale refreshed", "ada: verdict held held_by_session")
def prime_in_the_first_pane(town: Town) -> None:
    """Ada takes her lock back."""
    town.prime("ada", "ada", "--remove")


@brings("ada: verdict held_by_session stale", "ada: firing stale")
def the_session_is_killed(town: Town) -> None:
    """The agent dies with its session: stale at once."""
    town.tmux("kill-session", "-t", "ada")
    town.watching.wait("alert.firing", kind="stale")


@brings("ada: released stale", "ada: resolved stale released")
def the_worktree_is_removed(town: Town) -> None:
    """The worker goes, and its lock with it."""
    shutil.rmtree(town.path / "ada")
    town.watching.wait("alert.resolved", kind="stale")


@brings(
    "carl: acquired held",
    "carl: verdict held orphan",
    "carl: firing orphan",
    "carl: verdict orphan stale",
    "carl: resolved orphan superseded",
    "carl: firing stale",
)
def an_agent_outlives_its_session(town: Town) -> None:
    """An agent that ignores the hang-up is an orphan, until it is gone."""
    writer = town.tmux.take(town.panes["carl"], town.path / "carl", "--ignore-hup")
    town.watching.wait("lock.acquired", worker="carl")
    town.tmux("kill-session", "-t", "carl")
    orphan = town.watching.wait("alert.firing", kind="orphan")
    assert held_for(orphan) >= 0.5, "the hold gives an agent time to go"
    os.kill(writer.pid, signal.SIGKILL)
    town.watching.wait("alert.firing", kind="stale")


@brings(
    "dora: acquired held",
    "dora: verdict held held_by_agent",
    "dora: verdict held_by_agent stale",
    "dora: firing stale",
)
def a_bare_agent(town: Town) -> None:
    """Outside tmux the agent behind the writer holds the lock, for as long as it lives."""
    gate = town.path.with_name("gate")
    os.mkfifo(gate)
    words = [str(AGENT), str(town.path / "dora"), "--session", "rig/dora", "--until", str(gate)]
    agent = subprocess.Popen([sys.executable, "-c", ORCHESTRATED, sys.executable, *words], stdout=subprocess.DEVNULL)
    town.stage.callback(agent.kill)
    writer = town.watching.wait("lock.acquired", worker="dora")
    Prime(writer["pid"], gate).go()
    assert town.watching.wait("lock.verdict", worker="dora")["agent_pid"] == agent.pid
    agent.kill()
    agent.wait(DEADLINE)
    town.watching.wait("alert.firing", kind="stale")


@brings(
    "eve: acquired held",
    "eve: verdict held held_by_session",
    "eve/deep/inside: acquired held",
    "eve/deep/inside: verdict held held_by_session",
)
def a_lock_inside_the_worker(town: Town) -> None:
    """An agent that locks a directory inside its worker too, in its own pane, collides with nobody."""
    town.prime("eve", "eve")
    town.prime("eve", "eve/deep/inside")


@brings("eve/deep/inside: released held_by_session")
def doctor_deletes_a_lock(town: Town) -> None:
    """A lock that is deleted under a living agent is released with the verdict that it had."""
    (town.path / "eve/deep/inside/.runtime/agent.lock").unlink()
    town.watching.wait("lock.released")


@brings("eve: verdict held_by_session stale", "eve: firing stale")
def tmux_is_restarted(town: Town) -> None:
    """Pane numbers begin again with each server: a stranger with eve's old number neither heals nor contests."""
    written = (town.path / "eve/.runtime/agent.lock").stat().st_mtime
    town.tmux("kill-server")
    town.watching.wait("alert.firing", kind="stale")
    # Two seconds are what clocks may differ by: a server that started within them may be the old one.
    wait_for(lambda: time.time() > written + 3, "the lock to be older than the next server")
    while town.tmux.session(f"again-{time.monotonic_ns()}") != town.panes["eve"]:
        pass


def test_one_day(workspace: Path, home: Path) -> None:
    """Each act of the day causes its lines, in their order, and no others."""
    agents = ("ada", "bob", "carl", "eve")
    with ExitStack() as stage:
        watching, tmux, panes = stage.enter_context(watching_tmux(workspace, home, sessions=agents))
        town = Town(workspace, watching, tmux, dict(zip(agents, panes, strict=True)), stage)
        for act, stories in ACTS:
            begun = len(watching.lines)
            act(town)
            watching.quiet(workspace)
            story = told(line for line in watching.lines[begun:] if line.get("worker") != PROBE)
            assert story in stories, f"{act.__name__}: {act.__doc__}"


def test_the_preset_of_a_town(workspace: Path, home: Path) -> None:
    """With `deploy/gastown.toml` a worker that is restarted within a minute is no alert."""
    preset = str(Path(__file__).parents[2] / "deploy" / "gastown.toml")
    with watching_tmux(workspace, home, "--config", preset, sessions=["ada"]) as (watching, tmux, [pane]):
        tmux.prime(pane, workspace / "ada")
        watching.find(lambda line: line.get("verdict") == "held_by_session", "lock that its pane holds")
        tmux("kill-session", "-t", "ada")
        watching.wait("lock.verdict", verdict="stale")
        tmux.prime(tmux.session("ada"), workspace / "ada", "--remove")
        watching.wait("lock.replaced")
        watching.quiet(workspace)
        assert watching.alerts() == []
