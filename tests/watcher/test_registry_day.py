"""One day of a workspace whose locks are written by a short-lived hook, act by act, with default settings."""

import pytest

from tests.watcher.answers import answer, listing
from tests.watcher.desk import Desk
from watcher.events import ProcessSeen
from watcher.testing import DEAD, alive, at

PANES = ("%5 $1 ada", "%9 $2 bob")


class Day:
    """A workspace, its tmux server, and the clock. The lines of each act are what it has come to once all is quiet."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.now = 0.0
        self.panes: tuple[str, ...] = PANES
        self.server, self.started = 1, -100.0
        self.pids = iter(range(1000, 2000))
        self.written: dict[str, float] = {}
        self.settle(0.0)

    def settle(self, seconds: float = 10.0) -> list[str]:
        """Let time pass; tmux is asked whenever the registry wants to know, and answers 5 ms later."""
        lines, end = [], self.now + seconds
        while self.now < end:
            if self.desk.changes.ask:
                asked = self.now
                self.now += 0.005
                lines += self.ask_tmux(asked)
                continue
            due = self.desk.deadline()
            self.now = min(end, max(due, self.now)) if due is not None else end
            lines += self.desk.wait(self.now)
        return lines

    def ask_tmux(self, asked: float) -> list[str]:
        """Ask which servers there are, and which panes the server has."""
        if not self.server:
            return self.desk.tell(listing(asked=asked))
        panes = answer("/s", *self.panes, asked=asked, server=self.server, started=self.started)
        return self.desk.tell(listing("/s", asked=asked), panes)

    def prime(self, worker: str, session_id: str, *, agent: int | None = None) -> list[str]:
        """Have the hook remove a dead owner's lock, write its own, print and exit."""
        pid = next(self.pids)
        self.now += 0.001
        fact = alive(pid, started=self.now - 0.05, agent=agent)
        recreated = worker in self.written
        lines = self.desk.write(self.now, worker, pid, session_id, fact=fact, recreated=recreated)
        self.written[worker] = self.now
        lines += self.settle(0.3)
        return lines + self.end(pid) + self.settle()

    def write(self, worker: str, session_id: str) -> int:
        """Have an agent write its own lock, and live on."""
        pid = next(self.pids)
        self.now += 0.001
        self.desk.write(self.now, worker, pid, session_id, fact=alive(pid, started=self.now - 0.05))
        self.settle()
        return pid

    def end(self, pid: int) -> list[str]:
        """Have a process end."""
        return self.desk.tell(ProcessSeen(pid, DEAD, at(self.now)))

    def have(self, *panes: str) -> list[str]:
        """Have tmux come to other panes, and say so."""
        self.panes = panes
        lines = self.ask_tmux(self.now)
        return lines + self.settle()

    def delete(self, worker: str) -> list[str]:
        """Have somebody remove a lock."""
        self.written.pop(worker, None)
        return self.desk.delete(self.now, worker) + self.settle()


HELD = ["acquired a held", "verdict a held -> held_by_session"]


@pytest.fixture
def day() -> Day:
    """Give a morning: a server with the panes %5 and %9, no lock yet."""
    return Day()


def test_prime(day: Day) -> None:
    """A prime in its pane: acquired, and held by the session once the hook has exited; no alert."""
    assert day.prime("a", "%5") == HELD


def test_prime_again(day: Day) -> None:
    """Again in the same pane: exactly one refresh; no alert."""
    day.prime("a", "%5")
    lines = day.prime("a", "%5")
    assert lines == ["refreshed a held", "verdict a held -> held_by_session"]


def test_respawn_and_prime(day: Day) -> None:
    """The pane never went: one refresh."""
    day.prime("a", "%5")
    assert day.have(*PANES) == []
    assert day.prime("a", "%5") == ["refreshed a held", "verdict a held -> held_by_session"]


def test_prime_in_another_pane(day: Day) -> None:
    """A robbed agent: replaced, and a collision, critical; it ends with the other pane, and the lock is stale then."""
    day.prime("a", "%5")
    lines = day.prime("a", "%9")
    assert lines == ["replaced a held", "firing collision a replaced", "verdict a held -> held_by_session"]
    (alert,) = day.desk.book.firing()
    assert alert.finding.severity == "critical"
    assert day.have("%5 $1 ada") == [
        "verdict a held_by_session -> stale",
        "resolved collision a claim_ended",
        "firing stale a",
    ]
    lines = day.prime("a", "%5")
    assert lines == ["replaced a held", "resolved stale a refreshed", "verdict a held -> held_by_session"]


def test_the_session_is_killed_and_the_agent_with_it(day: Day) -> None:
    """The lock turns stale at once."""
    day.prime("a", "%5")
    assert day.have("%9 $2 bob") == ["verdict a held_by_session -> stale", "firing stale a"]


def test_the_session_is_killed_and_the_agent_ignores_it(day: Day) -> None:
    """An orphan after its hold; when it dies, stale instead."""
    pid = day.write("a", "%5")
    assert day.have("%9 $2 bob") == ["verdict a held -> orphan", "firing orphan a"]
    assert day.end(pid) + day.settle() == [
        "verdict a orphan -> stale",
        "resolved orphan a superseded",
        "firing stale a",
    ]


def test_the_worktree_is_removed(day: Day) -> None:
    """The lock goes with it, and the alert with the lock."""
    day.prime("a", "%5")
    day.have("%9 $2 bob")
    assert day.delete("a") == ["released a stale", "resolved stale a released"]
    assert day.desk.is_empty()


def test_a_bare_agent(day: Day) -> None:
    """Outside tmux the agent behind the hook holds the lock until it ends."""
    assert day.prime("a", "rig/a", agent=7) == ["acquired a held", "verdict a held -> held_by_agent"]
    assert day.end(7) + day.settle() == ["verdict a held_by_agent -> stale", "firing stale a"]


def test_the_server_is_restarted(day: Day) -> None:
    """Stale fires at the kill and does not resolve when the number comes back; no collision."""
    day.prime("a", "%5")
    day.server = 0
    assert day.have() == ["verdict a held_by_session -> stale", "firing stale a"]
    day.server, day.started = 2, day.now
    assert day.have("%5 $1 ada") == []
    assert day.desk.firing() == ["stale a"]


def test_the_server_is_restarted_at_once(day: Day) -> None:
    """Also where the new server has the number before anybody looked."""
    day.prime("a", "%5")
    day.server, day.started = 2, day.now - 10.2
    assert day.have("%5 $1 ada") == ["verdict a held_by_session -> stale", "firing stale a"]


def test_a_lock_in_a_sub_directory(day: Day) -> None:
    """A lock written from a worker's sub-directory, in the worker's own pane, is no collision."""
    day.prime("rig/polecats/b", "%5")
    lines = day.prime("rig/polecats/b/frontend", "%5")
    assert [line for line in lines if "firing" in line] == []


def test_the_doctor_removes_a_living_agents_lock(day: Day) -> None:
    """What was removed was held by its session."""
    day.prime("a", "%5")
    assert day.delete("a") == ["released a held_by_session"]


def test_a_handoff_with_remain_on_exit(day: Day) -> None:
    """A pane that is dead for a moment makes the lock stale for that moment, and the next prime refreshes it."""
    day.prime("a", "%5")
    assert day.have("%9 $2 bob") == ["verdict a held_by_session -> stale", "firing stale a"]
    assert day.have(*PANES) == ["verdict a stale -> held_by_session", "resolved stale a session_returned"]
    assert day.prime("a", "%5") == ["refreshed a held", "verdict a held -> held_by_session"]
