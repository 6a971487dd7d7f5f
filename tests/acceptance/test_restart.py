"""A watcher that ends, however it does, and the next one: between them they tell each alert once, from start to end."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.actors import DEADLINE, Agent, Tmux, prime
from tests.harness import Watching, environment, told
from tests.replay import Runs
from tests.stress import crash

NO_SESSION = ("--session", "")

either_end = pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
"""Killed amid all it does, or stopped in order: what the next one says is the same."""


def lock_of(worker: Path) -> Path:
    """Give the path of a worker's lock."""
    return worker / ".runtime" / "agent.lock"


def spoil(worker: Path) -> None:
    """Write what is no lock."""
    lock_of(worker).parent.mkdir(parents=True)
    lock_of(worker).write_text("{")


def firing_in(workspace: Path, home: Path) -> set[str]:
    """Give the episodes that fire, by `lockwarden status`."""
    words = [sys.executable, "-m", "watcher", "status", str(workspace), "--json"]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=False, env=environment(home), timeout=DEADLINE)
    return {alert["episode"] for alert in json.loads(done.stdout)["firing"]}


def test_killed_at_random_moments(home: Path) -> None:
    """Amid random activity and kills both logs stay true, and in the end say what a fresh look finds."""
    crash.run(home.resolve(), kills=8, seed=random.SystemRandom().randrange(1 << 32))


@either_end
def test_what_goes_on_is_restored_and_what_is_over_is_resolved(
    workspace: Path, home: Path, end: signal.Signals
) -> None:
    """The next run writes each alert of the one before: as firing since it began, or as resolved, and why."""
    runs = Runs(workspace, home, "--no-tmux")
    with Agent(workspace / "robbed", *NO_SESSION), Agent(workspace / "shared", *NO_SESSION) as loser:
        with runs.start() as watching:
            watching.wait("watcher.started")
            for name in ("goes-on", "removed", "taken", "worktree"):
                prime(workspace / name, *NO_SESSION)
            for name in ("broken", "mended"):
                spoil(workspace / name)
            stage = ExitStack()
            stage.enter_context(Agent(workspace / "robbed", *NO_SESSION))
            stage.enter_context(Agent(workspace / "shared", *NO_SESSION))
            for _ in range(8):
                watching.wait("alert.firing")
            before = {alert["worker"]: alert for alert in watching.alerts()}
            watching.note()
            watching.stop(end)
            assert len(watching.alerts()) == len(before) == 8
        with stage:
            lock_of(workspace / "removed").unlink()
            shutil.rmtree(workspace / "worktree")
            loser.kill()
            stage.enter_context(Agent(workspace / "taken", *NO_SESSION))
            stage.enter_context(Agent(workspace / "mended", *NO_SESSION))
            with runs.start() as watching:
                watching.wait("watcher.started")
                watching.quiet(workspace)
                assert sorted(told(watching.alerts())) == [
                    "broken: firing invalid",
                    "goes-on: firing stale",
                    "mended: resolved invalid readable",
                    "removed: resolved stale released",
                    "robbed: firing collision takeover",
                    "shared: resolved collision claim_ended",
                    "taken: resolved stale refreshed",
                    "worktree: resolved stale released",
                ]
                for alert in watching.alerts():
                    first = before[alert["worker"]]
                    assert (alert["episode"], alert["starts_at"]) == (first["episode"], first["starts_at"])
                    if alert["event"] == "alert.firing":
                        assert alert["initial"]
                        assert alert["restored"]
                assert firing_in(workspace, home) == {
                    before[name]["episode"] for name in ("broken", "goes-on", "robbed")
                }
        assert runs.replay.firing.keys() == firing_in(workspace, home)


@either_end
def test_a_takeover_while_nobody_watched(workspace: Path, home: Path, end: signal.Signals) -> None:
    """Whoever held a lock and lives is known to the next run, and to the one after; whoever died is no rival."""
    runs = Runs(workspace, home, "--no-tmux")
    with Agent(workspace / "robbed", *NO_SESSION) as loser, Agent(workspace / "left", *NO_SESSION) as leaver:
        with runs.start() as watching:
            for _ in range(2):
                watching.wait("lock.acquired")
            watching.quiet(workspace)
            watching.stop(end)
        leaver.kill()
        with Agent(workspace / "robbed", "--remove", *NO_SESSION) as winner, Agent(workspace / "left", *NO_SESSION):
            with runs.start() as watching:
                alert = watching.wait("alert.firing", kind="collision", worker="robbed", evidence="takeover")
                assert (alert["pid"], alert["other_pid"]) == (winner.pid, loser.pid)
                assert "restored" not in alert
                watching.stop(end)
            with runs.start() as watching:
                watching.wait("alert.firing", episode=alert["episode"], restored=True)
                loser.kill()
                watching.wait("alert.resolved", episode=alert["episode"], reason="claim_ended")
                assert watching.quiet(workspace) == []
    assert list(runs.replay.episodes) == [alert["episode"]]


@either_end
def test_a_pane_robbed_while_nobody_watched(workspace: Path, home: Path, end: signal.Signals) -> None:
    """Of writers that are long gone the panes are known: the one that had the lock lives, so two contest it."""
    with Tmux(home / "s") as tmux:
        runs = Runs(workspace, home, "--tmux-socket", str(tmux.path))
        tmux.session("first")
        ada, bob = tmux.session("ada"), tmux.session("bob")
        with runs.start() as watching:
            watching.wait("watcher.started")
            tmux.prime(ada, workspace / "a")
            watching.find(lambda line: line.get("verdict") == "held_by_session", "lock that its pane holds")
            watching.stop(end)
        tmux.prime(bob, workspace / "a", "--remove")
        with runs.start() as watching:
            alert = watching.wait("alert.firing", kind="collision", evidence="takeover")
            assert (alert["session_id"], alert["other_session_id"]) == (bob, ada)
            tmux("kill-session", "-t", "ada")
            watching.wait("alert.resolved", kind="collision", reason="claim_ended")
            assert [alert["kind"] for alert in watching.alerts()] == ["collision", "collision"]


def test_a_session_that_ended_and_came_back_while_nobody_watched(workspace: Path, home: Path) -> None:
    """What turned while nobody watched is told by the next run: a session is gone, and another is back."""
    with Tmux(home / "s") as tmux:
        runs = Runs(workspace, home, "--tmux-socket", str(tmux.path))
        tmux.session("first")
        tmux.session("eve")
        with Agent(workspace / "orphan", "--session", "ada"):
            prime(workspace / "back", "--session", "bob")
            prime(workspace / "gone", "--session", "eve")
            with runs.start() as watching:
                for kind in ("stale", "orphan"):
                    watching.wait("alert.firing", kind=kind)
                watching.note()
                watching.stop(signal.SIGKILL)
            tmux("kill-session", "-t", "eve")
            for name in ("ada", "bob"):
                tmux.session(name)
            with runs.start() as watching:
                watching.wait("watcher.started")
                watching.quiet(workspace)
                assert sorted(told(watching.alerts())) == [
                    "back: resolved stale session_returned",
                    "gone: firing stale",
                    "orphan: resolved orphan session_returned",
                ]


def test_what_nobody_can_judge_stays_as_it_was(workspace: Path, home: Path) -> None:
    """A tmux server that hangs says neither yes nor no: nothing is raised, resolved or said again until it answers."""
    with Tmux(home / "s") as tmux:
        runs = Runs(workspace, home, "--tmux-socket", str(tmux.path))
        tmux.session("first")
        server = int(tmux("display-message", "-p", "#{pid}"))
        prime(workspace / "stale", "--session", "ada")
        with Agent(workspace / "orphan", "--session", "bob"):
            with runs.start() as watching:
                for kind in ("stale", "orphan"):
                    watching.wait("alert.firing", kind=kind)
                watching.note()
                watching.stop(signal.SIGKILL)
            firing = firing_in(workspace, home)
            assert len(firing) == 2
            os.kill(server, signal.SIGSTOP)
            try:
                prime(workspace / "new", "--session", "ada")
                with runs.start() as watching:
                    watching.wait("watcher.degraded", component="tmux")
                    watching.wait("lock.acquired", worker="new", verdict="unverifiable")
                    watching.wait("lock.acquired", worker="stale", verdict="unverifiable")
                    watching.quiet(workspace)
                    assert firing_in(workspace, home) == firing
                    assert watching.alerts() == []
                    watching.note()
                    watching.stop(signal.SIGKILL)
                with runs.start() as watching:
                    watching.wait("watcher.degraded", component="tmux")
                    os.kill(server, signal.SIGCONT)
                    watching.wait("alert.firing", worker="new", kind="stale")
                    tmux.session("bob")
                    watching.wait("alert.resolved", worker="orphan", reason="session_returned")
                    assert len(watching.alerts()) == 2
            finally:
                os.kill(server, signal.SIGCONT)


def test_a_second_watcher_is_refused(workspace: Path, home: Path) -> None:
    """It exits with 4 and names the first, which goes on; asked to keep no state it does not ask who else watches."""
    command = [sys.executable, "-m", "watcher", "watch", str(workspace), "--no-tmux"]
    with Watching(workspace, home, "--no-tmux") as first:
        second = subprocess.run(command, capture_output=True, env=environment(home), timeout=DEADLINE, check=False)
        assert (second.returncode, second.stdout) == (4, b"")
        assert f"already watched by process {first.process.pid}:".encode() in second.stderr
        assert second.stderr.count(b"\n") == 1
        with Watching(workspace, home, "--no-tmux", "--no-state"):
            pass
        assert first.quiet(workspace) == []
