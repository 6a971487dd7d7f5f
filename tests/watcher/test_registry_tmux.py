import pytest

from rules.model import Liveness, PaneRef, ProcessFact, Verdict
from tests.rules.builders import pane_ref
from tests.watcher.answers import SHE, answer, listing, silence, unlisted
from tests.watcher.desk import Desk
from watcher.events import EnvironmentSeen, LockSeen, ProcessSeen, Reading
from watcher.registry.registry import ASK_AGAIN, PATIENCE, REFRESH_WINDOW
from watcher.testing import DEAD, UNKNOWN, alive, at, record


@pytest.fixture
def desk() -> Desk:
    """Give a desk at which a tmux server with the pane %5 in the session ada is known."""
    made = Desk()
    made.tmux(0.0, "%5 $1 ada")
    return made


# What answers are worth, and when they are asked for


def test_an_answer_from_before_the_lock_settles_no_death(desk: Desk) -> None:
    """A lock whose writer is dead when it is read waits for tmux: no line, no alert, but a question."""
    assert desk.write(1.0, "a", 10, "%7", fact=DEAD) == []
    assert desk.changes.ask
    assert desk.tell(listing("/s", asked=0.9), answer("/s", "%5", asked=0.9)) == []
    assert desk.tell(listing("/s", asked=1.1)) == []
    assert desk.tell(answer("/s", "%5", asked=1.1)) == ["acquired a stale", "firing stale a"]


def test_an_answer_from_before_the_death_settles_nothing(desk: Desk) -> None:
    """A pane may have died with its process: before tmux was asked again nothing is said, neither way."""
    desk.write(1.0, "a", 10, "%5")
    assert desk.die(2.0, 10) == []
    assert desk.changes.ask
    assert desk.tell(answer("/s", "%5 $1 ada", asked=1.9)) == []
    assert desk.tell(answer("/s", "%5 $1 ada", asked=2.1)) == ["verdict a held -> held_by_session"]


def test_a_question_is_asked_when_an_answer_raises_it(desk: Desk) -> None:
    """Where the one server has lost the pane, it is asked at once whether another one is there by now."""
    desk.write(1.0, "a", 10, "%5")
    desk.die(2.0, 10)
    assert desk.tell(answer("/s", "%5 $1 ada", asked=2.1)) == ["verdict a held -> held_by_session"]
    assert not desk.changes.ask
    assert desk.tell(answer("/s", asked=3.0)) == []
    assert desk.changes.ask
    assert desk.tell(listing("/s", asked=3.1)) == ["verdict a held_by_session -> stale", "firing stale a"]
    assert not desk.changes.ask


def test_a_living_owner_waits_for_nobody(desk: Desk) -> None:
    """Where the process lives, its lock is held whatever tmux says later; it is asked all the same."""
    assert desk.write(1.0, "a", 10, "%7") == ["acquired a held"]
    assert desk.changes.ask
    assert desk.tmux(1.1, "%5") == ["verdict a held -> orphan"]
    assert not desk.changes.ask


def test_a_question_is_asked_again(desk: Desk) -> None:
    """An answer that is still owed is asked for again, and again."""
    desk.write(1.0, "a", 10, "%7", fact=DEAD)
    for n in range(1, 4):
        assert desk.deadline() == pytest.approx(1.0 + n * ASK_AGAIN)
        desk.wait(1.0 + n * ASK_AGAIN)
        assert desk.changes.ask


def test_one_that_waits_asks_for_all(desk: Desk) -> None:
    """Where several workers wake up at once, one of which waits for an answer, it is asked for."""
    for worker in "abcd":
        desk.write(1.0, worker, 10, "%7" if worker == "b" else "", fact=DEAD)
        desk.delete(1.0 + ASK_AGAIN - REFRESH_WINDOW, worker)
    desk.wait(1.0 + ASK_AGAIN)
    assert desk.changes.ask


def test_patience_ends(desk: Desk) -> None:
    """An answer that never comes is unknown in the end: the lock is reported, and nobody accused."""
    desk.write(1.0, "a", 10, "%7", fact=DEAD)
    assert desk.wait(1.0 + PATIENCE - 0.1) == []
    assert desk.wait(1.0 + PATIENCE + ASK_AGAIN) == ["acquired a unverifiable"]
    assert desk.tmux(30.0) == ["verdict a unverifiable -> stale", "firing stale a"]


def test_a_question_that_tmux_cannot_answer_is_not_asked_again(desk: Desk) -> None:
    """A server that hangs, and one id on two servers, are answers: asking for more would not end."""
    desk.write(1.0, "a", 10, "%5")
    desk.write(1.0, "b", 11, "%6")
    desk.tell(listing("/s", "/t", asked=2.0), silence("/s", asked=2.0), answer("/t", asked=2.0, server=2))
    for _ in range(3):
        desk.wait(desk.now.mono + 60.0)
        assert not desk.changes.ask


def test_without_a_session_nothing_is_asked(desk: Desk) -> None:
    """A lock that names no session is no reason to ask, nor is another host's."""
    desk.write(1.0, "a", 10)
    assert not desk.changes.ask
    desk.write(1.0, "b", 10, of=record(10, "%5", hostname="far"))
    assert not desk.changes.ask
    assert desk.registry.deadline() is None


def test_the_servers_of_the_files_owner_are_asked(desk: Desk) -> None:
    """The lock of another user is judged by that user's servers, once they have been listed."""
    hers = Reading(record(10, "%8", taken=1.0), SHE, DEAD)
    assert desk.tell(LockSeen("a", hers, at(1.0))) == []
    assert desk.changes.ask
    assert desk.tmux(1.1, "%5") == []
    assert desk.tell(listing("/h", uid=SHE, asked=1.2), answer("/h", "%8", asked=1.2)) == ["acquired a held_by_session"]


# What becomes of a session


def test_a_session_that_is_killed_makes_an_orphan_after_its_hold(desk: Desk) -> None:
    """A living process whose session has gone gets its moment to go, then it is an orphan; then it is stale."""
    desk.write(1.0, "a", 10, "ada")
    assert desk.tmux(2.0) == ["verdict a held -> orphan"]
    assert desk.wait(2.4) == []
    assert desk.wait(2.5) == ["firing orphan a"]
    assert desk.die(3.0, 10) == ["verdict a orphan -> stale", "resolved orphan a superseded", "firing stale a"]
    assert desk.tmux(3.1) == []


def test_an_agent_that_goes_with_its_session_was_no_orphan(desk: Desk) -> None:
    """An agent that ends within the hold is only stale."""
    desk.write(1.0, "a", 10, "ada")
    desk.tmux(2.0)
    assert desk.die(2.2, 10) == ["verdict a orphan -> stale", "firing stale a"]
    assert desk.wait(9.0) == []


def test_a_renamed_session_is_the_same(desk: Desk) -> None:
    """A session that was found is pinned: a rename changes nothing, whoever takes the old name."""
    desk.write(1.0, "a", 10, "ada")
    desk.die(1.1, 10)
    desk.tmux(1.2, "%5 $1 ada")
    assert desk.tmux(2.0, "%5 $1 bob", "%6 $2 ada") == []
    assert desk.tmux(3.0, "%6 $2 ada") == []
    assert desk.tmux(4.0, "%5 $3 bob") == ["verdict a held_by_session -> stale", "firing stale a"]


def test_a_renamed_session_that_is_killed(desk: Desk) -> None:
    """The end of a session is noticed under whatever name it ended."""
    desk.write(1.0, "a", 10, "ada")
    desk.die(1.1, 10)
    desk.tmux(1.2, "%5 $1 ada")
    assert desk.tmux(2.0, "%5 $1 bob") == []
    assert desk.tmux(3.0) == ["verdict a held_by_session -> stale", "firing stale a"]


def test_a_session_that_is_back_under_its_name(desk: Desk) -> None:
    """The name is looked up again: the alert resolves when the session returns."""
    desk.write(1.0, "a", 10, "ada")
    desk.die(1.1, 10)
    assert "firing stale a" in desk.tmux(2.0)
    assert desk.tmux(3.0, "%9 $4 ada") == [
        "verdict a stale -> held_by_session",
        "resolved stale a session_returned",
    ]


def test_a_server_that_begins_anew_has_other_panes_of_the_same_number(desk: Desk) -> None:
    """After a restart the same %N is a stranger: the alert fires at the kill and does not resolve."""
    desk.write(1.0, "a", 10, "%5")
    desk.die(1.1, 10)
    desk.tmux(1.2, "%5 $1 ada")
    assert desk.tell(listing(asked=2.0)) == ["verdict a held_by_session -> stale", "firing stale a"]
    assert desk.tmux(2.5, "%0", server=2, started=2.4) == []
    assert desk.tmux(9.0, "%0", "%5", server=2, started=2.4) == []
    assert desk.firing() == ["stale a"]


def test_a_prime_in_the_new_pane_of_the_same_number(desk: Desk) -> None:
    """The next owner in a pane of that number on the new server is welcome, and no collision."""
    desk.write(1.0, "a", 10, "%5")
    desk.die(1.1, 10)
    desk.tmux(1.2, "%5 $1 ada")
    desk.tell(listing(asked=2.0))
    desk.tmux(9.0, "%5", server=2, started=5.0)
    assert desk.write(10.0, "a", 11, "%5", recreated=True) == ["replaced a held", "resolved stale a refreshed"]
    desk.die(10.3, 11)
    assert desk.tmux(10.4, "%5", server=2, started=5.0) == ["verdict a held -> held_by_session"]


def test_a_lock_written_on_a_new_server_before_tmux_was_asked_again(desk: Desk) -> None:
    """A lock that was first looked up by what the old server had said is alive on the new one."""
    desk.write(5.0, "a", 10, "%5")
    assert desk.tmux(5.1, "%5", server=2, started=4.0) == []
    desk.die(5.3, 10)
    assert desk.tmux(5.4, "%5", server=2, started=4.0) == ["verdict a held -> held_by_session"]


def test_a_pane_that_is_respawned_never_went(desk: Desk) -> None:
    """A respawned pane has another process and the same number."""
    desk.write(1.0, "a", 10, "%5")
    desk.die(1.1, 10)
    desk.tmux(1.2, "%5 $1 ada")
    assert desk.write(3.0, "a", 11, "%5", recreated=True) == ["refreshed a held"]


# What cannot be known


def test_one_number_on_two_servers(desk: Desk) -> None:
    """Where two servers have the pane nobody is accused; the owner's environment tells which is meant."""
    desk.tell(listing("/s", "/t", asked=0.5), answer("/t", "%5", asked=0.5, server=2))
    assert desk.write(1.0, "a", 10, "%5") == ["acquired a held"]
    assert desk.verdict("a") is Verdict.HELD
    assert desk.tell(EnvironmentSeen(10, "/t", at(1.05))) == []
    desk.die(1.1, 10)
    assert desk.tell(
        listing("/s", "/t", asked=1.2), answer("/s", asked=1.2), answer("/t", "%5", asked=1.2, server=2)
    ) == ["verdict a held -> held_by_session"]
    assert desk.registry.names_pane(pane_ref("%5", socket="/t", server=2))


def test_one_number_on_two_servers_without_a_hint(desk: Desk) -> None:
    """Without a hint it stays unverifiable, until one of the two loses it."""
    desk.tell(listing("/s", "/t", asked=0.5), answer("/t", "%5", asked=0.5, server=2))
    desk.write(1.0, "a", 10, "%5")
    assert desk.die(1.1, 10) == ["verdict a held -> unverifiable"]
    both = listing("/s", "/t", asked=1.2), answer("/s", "%5", asked=1.2), answer("/t", "%5", asked=1.2, server=2)
    assert desk.tell(*both) == []
    assert desk.tell(answer("/t", asked=2.0, server=2)) == ["verdict a unverifiable -> held_by_session"]


def test_a_number_on_a_younger_server_counts_for_nothing(desk: Desk) -> None:
    """A server that started after the lock makes no number ambiguous."""
    desk.write(1.0, "a", 10, "%5")
    desk.die(1.1, 10)
    desk.tmux(1.2, "%5")
    assert desk.tell(listing("/s", "/t", asked=9.0), answer("/t", "%5", asked=9.0, server=2, started=8.0)) == []


@pytest.mark.parametrize("broken", ["the server hangs", "no listing"])
def test_a_tmux_that_fails_neither_raises_nor_resolves(desk: Desk, broken: str) -> None:
    """A failing tmux is not an empty one: what fires stays, what does not fire does not."""
    desk.write(1.0, "a", 10, "%5")
    desk.write(1.0, "b", 11, "%6")
    desk.die(1.1, 10, 11)
    desk.tmux(1.2, "%5")
    assert desk.firing() == ["stale b"]
    desk.tell(silence("/s", asked=2.0) if broken == "the server hangs" else unlisted(asked=2.0))
    desk.wait(100.0)
    assert desk.firing() == ["stale b"]
    desk.tmux(200.0, "%6")
    assert desk.firing() == ["stale a"]


def test_a_hang_drops_the_wait_of_an_orphan(desk: Desk) -> None:
    """A finding that becomes unknown in its hold starts over."""
    desk.write(1.0, "a", 10, "%5")
    desk.tmux(2.0)
    assert desk.tell(silence("/s", asked=2.2)) == ["verdict a orphan -> held"]
    assert desk.wait(3.0) == []
    assert desk.tmux(4.0) == ["verdict a held -> orphan"]
    assert desk.wait(4.4) == []
    assert desk.wait(4.5) == ["firing orphan a"]


def test_with_tmux_switched_off_sessions_are_unknown() -> None:
    """Without tmux a lock is held while its process lives, and unverifiable after; nothing is asked, nobody accused."""
    desk = Desk(tmux=False)
    assert desk.write(1.0, "a", 10, "%5") == ["acquired a held"]
    assert desk.die(2.0, 10) == ["verdict a held -> unverifiable"]
    assert not desk.changes.ask
    assert desk.deadline() is None
    assert desk.write(3.0, "b", 11) == ["acquired b held"]
    assert desk.die(4.0, 11) == ["verdict b held -> stale", "firing stale b"]


def test_the_originals_alias() -> None:
    """With the alias on, a session's number is looked up for a pane's, also when the session comes later."""
    desk = Desk(alias=True)
    desk.tell(listing("/s", asked=0.5))
    desk.write(1.0, "a", 10, "%5")
    desk.die(1.1, 10)
    assert desk.tmux(1.2, "%1 $5 ada") == ["verdict a held -> held_by_session"]
    assert desk.tmux(2.0, "%1 $6 ada") == ["verdict a held_by_session -> stale", "firing stale a"]
    assert desk.tmux(3.0, "%1 $5 ada") == ["verdict a stale -> held_by_session", "resolved stale a session_returned"]


# The agent behind the writer


def bare(pid: int, agent: int | None) -> ProcessFact:
    """Make the writer of an agent outside tmux."""
    return alive(pid, agent=agent)


def test_a_bare_agent_holds_its_lock_until_it_ends(desk: Desk) -> None:
    """Outside tmux the writer exits at once; the agent behind it decides."""
    assert desk.write(1.0, "a", 10, "rig/a", fact=bare(10, 7)) == ["acquired a held"]
    assert desk.changes.pids == {10, 7}
    assert desk.die(1.3, 10) == []
    assert desk.tmux(1.4, "%5") == ["verdict a held -> held_by_agent"]
    assert desk.die(9.0, 7) == ["verdict a held_by_agent -> stale", "firing stale a"]


def test_a_bare_agent_that_was_not_caught_is_unverifiable(desk: Desk) -> None:
    """Where no anchor was caught, nobody is accused."""
    desk.write(1.0, "a", 10, "rig/a", fact=bare(10, None))
    desk.die(1.3, 10)
    assert desk.tmux(1.4, "%5") == ["verdict a held -> unverifiable"]
    assert desk.firing() == []


def test_an_agent_that_cannot_be_looked_at_keeps_the_alert_away(desk: Desk) -> None:
    """An agent of which nothing is known neither holds the lock nor loses it."""
    desk.write(1.0, "a", 10, "rig/a", fact=bare(10, 7))
    desk.die(1.3, 10)
    desk.tmux(1.4, "%5")
    assert desk.tell(ProcessSeen(7, UNKNOWN, at(2.0))) == ["verdict a held_by_agent -> unverifiable"]


def test_an_agent_keeps_no_lock_whose_session_is_known_to_be_gone(desk: Desk) -> None:
    """The agent is asked only where the session is unknown: an orchestrator may outlive its agents."""
    desk.write(1.0, "a", 10, "%5", fact=bare(10, 7))
    desk.die(1.3, 10)
    assert desk.tmux(1.4) == ["verdict a held -> stale", "firing stale a"]


def test_a_second_prime_of_the_same_agent_is_a_refresh(desk: Desk) -> None:
    """Two writers of one agent are one owner, though their session id only describes."""
    desk.write(1.0, "a", 10, "rig/a", fact=bare(10, 7))
    desk.die(1.3, 10)
    desk.tmux(1.4, "%5")
    assert desk.write(2.0, "a", 11, "rig/a", fact=bare(11, 7), recreated=True) == ["refreshed a held"]
    assert desk.firing() == []


def test_a_prime_of_another_agent_is_a_collision(desk: Desk) -> None:
    """Two agents that describe themselves alike are two owners."""
    desk.write(1.0, "a", 10, "rig/a", fact=bare(10, 7))
    desk.die(1.3, 10)
    desk.tmux(1.4, "%5")
    lines = desk.write(2.0, "a", 11, "rig/a", fact=bare(11, 8), recreated=True)
    assert lines == ["replaced a held", "firing collision a replaced"]


def test_the_panes_that_locks_name_are_told(desk: Desk) -> None:
    """Which panes began or ceased to be named is reported, for their processes to be watched."""
    desk.write(1.0, "a", 10, "%5")
    assert desk.changes.panes == {PaneRef("/s", 1, "%5")}
    desk.write(2.0, "b", 11, "ada")
    assert not desk.changes.panes
    desk.tmux(3.0)
    assert desk.changes.panes == {PaneRef("/s", 1, "%5")}
    assert not desk.registry.names_pane(pane_ref("%5"))


def test_process_state_unknown_is_no_reason_to_ask_tmux_for_ever(desk: Desk) -> None:
    """A process that cannot be looked at makes the lock unverifiable whatever tmux says."""
    assert desk.write(1.0, "a", 10, "%5", fact=ProcessFact(Liveness.UNKNOWN)) == ["acquired a unverifiable"]
    desk.tmux(2.0, "%5 $1 ada")
    assert desk.verdict("a") is Verdict.UNVERIFIABLE
    desk.wait(60.0)
    assert not desk.changes.ask
