"""Each kind of alert and each end of one, on real owners: those that live on, and writers that are gone in a moment."""

import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.actors import Agent, prime, wait_for
from tests.harness import Watching, held_for, told, watching_tmux

both_ways = pytest.mark.parametrize("how", ["in-place", "rename"])
"""The two generations of writers: truncate and write, or write another file and rename it."""

NO_SESSION = ("--session", "")


def story(watching: Watching, worker: str) -> list[str]:
    """Tell what the log says of one worker."""
    return [brief.partition(": ")[2] for brief in told(watching.lines) if brief.startswith(f"{worker}: ")]


@both_ways
def test_stale_when_the_owner_dies_and_no_more_when_another_takes_the_lock(
    workspace: Path, home: Path, how: str
) -> None:
    """The death of an owner without a session is one alert, which ends when somebody writes the lock."""
    with Watching(workspace, home, "--no-tmux") as watching:
        with Agent(workspace / "a", "--how", how, *NO_SESSION) as agent:
            watching.wait("lock.acquired", pid=agent.pid, process_state="alive")
        alert = watching.wait("alert.firing", kind="stale", pid=agent.pid, process_state="dead", severity="warning")
        assert alert["hint"] == f"lockwarden clean {workspace / 'a'}"
        with Agent(workspace / "a", "--how", how, *NO_SESSION) as heir:
            end = watching.wait("alert.resolved", kind="stale", pid=heir.pid, level="info")
            assert (end["fingerprint"], end["episode"]) == (alert["fingerprint"], alert["episode"])
        again = watching.wait("alert.firing", kind="stale")
        assert again["fingerprint"] == alert["fingerprint"]
        assert again["episode"] != alert["episode"]
        assert told(watching.alerts()) == ["a: firing stale", "a: resolved stale refreshed", "a: firing stale"]


@both_ways
def test_stale_when_the_session_ends_and_no_more_when_it_is_back(workspace: Path, home: Path, how: str) -> None:
    """A writer that is long gone leaves its lock to a session by name: that ends, and comes again."""
    with watching_tmux(workspace, home, sessions=["ada"]) as (watching, tmux, [pane]):
        prime(workspace / "a", "--how", how, "--session", "ada")
        tmux.prime(pane, workspace / "b", "--how", how, "--session", "ada", stay=0)
        for _ in range(2):
            watching.find(lambda line: line.get("verdict") == "held_by_session", "lock that its session holds")
        tmux("kill-session", "-t", "ada")
        for _ in range(2):
            watching.wait("alert.firing", kind="stale", session_state="dead")
        tmux.session("ada")
        for _ in range(2):
            watching.wait("alert.resolved", kind="stale", reason="session_returned", verdict="held_by_session")


def test_orphan_when_the_session_ends_and_no_more_when_it_is_back(workspace: Path, home: Path) -> None:
    """A living process without its session is one alert after the hold; its death makes another of it."""
    with watching_tmux(workspace, home, sessions=["ada"]) as (watching, tmux, _):
        with Agent(workspace / "a", "--session", "ada") as agent:
            watching.wait("lock.acquired", session_state="alive")
            tmux("kill-session", "-t", "ada")
            alert = watching.wait("alert.firing", kind="orphan", pid=agent.pid, session_state="dead")
            assert held_for(alert) >= 0.5
            tmux.session("ada")
            watching.wait("alert.resolved", kind="orphan", verdict="held")
            tmux("kill-session", "-t", "ada")
            watching.wait("alert.firing", kind="orphan")
        watching.wait("alert.firing", kind="stale")
        orphaned = ["verdict held orphan", "firing orphan"]
        returned = ["verdict orphan held", "resolved orphan session_returned"]
        died = ["verdict orphan stale", "resolved orphan superseded", "firing stale"]
        assert story(watching, "a") == ["acquired held", *orphaned, *returned, *orphaned, *died]


def test_an_agent_that_dies_with_its_session_is_no_orphan(workspace: Path, home: Path) -> None:
    """The hang-up needs a moment: the verdict may pass through orphan, the alert does not."""
    with watching_tmux(workspace, home, sessions=["ada"]) as (watching, tmux, [pane]):
        tmux.prime(pane, workspace / "a", stay=600)
        watching.wait("lock.acquired", verdict="held")
        tmux("kill-session", "-t", "ada")
        watching.wait("alert.firing", kind="stale")
        verdicts = ["verdict held stale"], ["verdict held orphan", "verdict orphan stale"]
        assert story(watching, "a") in [["acquired held", *passed, "firing stale"] for passed in verdicts]


@both_ways
@pytest.mark.parametrize(("removed", "evidence"), [(False, "takeover"), (True, "replaced")])
def test_collision_of_two_processes(workspace: Path, home: Path, how: str, evidence: str, *, removed: bool) -> None:
    """Two living owners of one worker are one critical alert; it ends with either of them, or with the lock."""
    options = ("--how", how, *NO_SESSION, *["--remove"][: int(removed)])
    with Watching(workspace, home, "--no-tmux") as watching:
        with Agent(workspace / "a", *options) as first:
            watching.wait("lock.acquired", pid=first.pid)
            with Agent(workspace / "a", *options) as second:
                alert = watching.wait("alert.firing", kind="collision", level="critical")
                assert (alert["pid"], alert["other_pid"]) == (second.pid, first.pid)
                first.kill()
                watching.wait("alert.resolved", kind="collision", reason="claim_ended", verdict="held")
                with Agent(workspace / "a", *options):
                    watching.wait("alert.firing", kind="collision", other_pid=second.pid)
                    (workspace / "a" / ".runtime" / "agent.lock").unlink()
                    watching.wait("alert.resolved", kind="collision")
        contested = ["replaced held", f"firing collision {evidence}"]
        ends = ["resolved collision claim_ended", *contested, "released held", "resolved collision released"]
        assert story(watching, "a") == ["acquired held", *contested, *ends]


@both_ways
@pytest.mark.parametrize(("removed", "evidence"), [(False, "takeover"), (True, "replaced")])
def test_collision_of_two_panes(workspace: Path, home: Path, how: str, evidence: str, *, removed: bool) -> None:
    """Writers that are gone claim for their panes: two living panes contest a worker until one of them ends."""
    options = ("--how", how, *["--remove"][: int(removed)])
    with watching_tmux(workspace, home, sessions=["ada", "bob"]) as (watching, tmux, [ada, bob]):
        tmux.prime(ada, workspace / "a", *options)
        watching.find(lambda line: line.get("verdict") == "held_by_session", "lock that its pane holds")
        tmux.prime(bob, workspace / "a", *options)
        alert = watching.wait("alert.firing", kind="collision", level="critical")
        assert (alert["session_id"], alert["other_session_id"], alert["evidence"]) == (bob, ada, evidence)
        tmux("kill-session", "-t", "ada")
        watching.wait("alert.resolved", kind="collision", reason="claim_ended")
        assert len(watching.alerts()) == 2


def test_collision_of_two_workers_in_one_pane(workspace: Path, home: Path) -> None:
    """Two locks that name one pane are one warning, on the newer; it ends with either lock, or with the pane."""
    with watching_tmux(workspace, home, sessions=["ada"]) as (watching, tmux, [pane]):
        with Agent(workspace / "old", "--session", pane), Agent(workspace / "new", "--session", "ada"):
            alert = watching.wait("alert.firing", kind="collision", level="warning")
            assert (alert["worker"], alert["other_worker"], alert["evidence"]) == ("new", "old", "shared_pane")
            (workspace / "old" / ".runtime" / "agent.lock").unlink()
            watching.wait("alert.resolved", kind="collision", reason="released", worker="new")
        watching.wait("lock.verdict", worker="new", verdict="held_by_session")
        tmux.prime(pane, workspace / "newest")
        again = watching.wait("alert.firing", kind="collision")
        assert (again["worker"], again["other_worker"]) == ("newest", "new")
        tmux("kill-session", "-t", "ada")
        watching.wait("alert.resolved", kind="collision", reason="claim_ended")
        assert story(watching, "old") == ["acquired held", "released held"]


def test_held_by_the_session_however_it_is_named(workspace: Path, home: Path) -> None:
    """A pane, a session's number or its name hold a lock whose writer is gone, and a new name changes nothing."""
    sessions = ["by-pane", "by-number", "by-name"]
    with watching_tmux(workspace, home, sessions=sessions) as (watching, tmux, [pane, other, _]):
        number = tmux("display-message", "-p", "-t", other, "#{session_id}")
        for worker, session_id in zip(sessions, [pane, number, "by-name"], strict=True):
            prime(workspace / worker, "--session", session_id)
            watching.find(lambda line: line.get("verdict") == "held_by_session", "lock that its session holds")
        tmux("rename-session", "-t", "by-name", "ada")
        assert watching.quiet(workspace) == []
        for session in ["by-pane", "by-number", "ada"]:
            tmux("kill-session", "-t", session)
            watching.wait("alert.firing", kind="stale")
        assert len(watching.alerts()) == len(sessions)


def test_a_recycled_pid_is_a_dead_owner(workspace: Path, home: Path) -> None:
    """A process that started after its number was written into the lock did not write it."""
    with watching_tmux(workspace, home, sessions=["ada"]) as (watching, tmux, [pane]):
        began = float(tmux("display-message", "-p", "#{start_time}"))
        wait_for(lambda: time.time() > began + 1.5, "a process that is two seconds younger than a lock")
        stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        try:
            taken = datetime.fromtimestamp(began - 1, UTC).isoformat()
            recycled = ("--pid", str(stranger.pid), "--acquired-at", taken)
            prime(workspace / "a", *recycled, *NO_SESSION)
            watching.wait("lock.acquired", worker="a", pid=stranger.pid, process_state="dead", verdict="stale")
            watching.wait("alert.firing", kind="stale", worker="a")
            tmux.prime(pane, workspace / "b", *recycled)
            watching.wait("lock.acquired", worker="b", process_state="dead", verdict="held_by_session")
            assert watching.quiet(workspace) == []
        finally:
            stranger.kill()
            stranger.wait()


def test_another_hosts_lock_is_not_judged(workspace: Path, home: Path) -> None:
    """Neither a dead number nor an ended session says anything of an owner elsewhere; our own long name is ours."""
    with watching_tmux(workspace, home, sessions=["ada"]) as (watching, tmux, [pane]):
        prime(workspace / "process", "--host", "elsewhere", *NO_SESSION)
        watching.wait("lock.acquired", worker="process", lock_host="elsewhere", verdict="unverifiable")
        tmux.prime(pane, workspace / "session", "--host", "elsewhere", stay=0)
        watching.wait("lock.acquired", worker="session", process_state="unknown", session_state="unknown")
        tmux("kill-session", "-t", "ada")
        prime(workspace / "ours", "--host", f"{socket.gethostname().upper()}.example.org", *NO_SESSION)
        watching.wait("alert.firing", worker="ours")
        assert watching.quiet(workspace) == []
        assert len(watching.alerts()) == 1


def test_an_owner_that_releases_and_exits_is_no_alert(workspace: Path, home: Path) -> None:
    """Whichever of the two is noticed first."""
    with Watching(workspace, home, "--no-tmux") as watching:
        for turn in range(10):
            worker = workspace / f"w{turn}"
            with Agent(worker, *NO_SESSION) as agent:
                watching.wait("lock.acquired", worker=worker.name)
                (worker / ".runtime" / "agent.lock").unlink()
                agent.kill()
            watching.wait("lock.released", worker=worker.name, verdict="held")
        assert watching.alerts() == []
