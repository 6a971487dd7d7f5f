from collections.abc import Sequence

import pytest

from rules.model import Evidence
from rules.policy import CollisionPolicy, Policy
from tests.watcher.answers import ME, listing, silence
from tests.watcher.desk import Desk
from watcher.events import Reading, Rescanned
from watcher.registry.registry import MOST_EARLIER
from watcher.testing import DEAD, alive, at, record


@pytest.fixture
def desk() -> Desk:
    """Give a desk at which a tmux server with the panes %5 and %9 is known."""
    made = Desk()
    made.tmux(0.0, "%5", "%9")
    return made


def rivals(desk: Desk, worker: str = "a") -> list[tuple[int, Evidence]]:
    """List the earlier claims that are kept on a worker, by pid and how they were displaced."""
    _, earlier = desk.registry.claims(worker)
    return [(each.claim.record.pid, each.evidence) for each in earlier]


def test_a_living_owners_lock_is_overwritten(desk: Desk) -> None:
    """Another owner that writes over a living one's lock collides with it, at once."""
    desk.write(1.0, "a", 10, "%5")
    assert desk.write(2.0, "a", 11, "%9") == ["replaced a held", "firing collision a takeover"]
    (transition,) = desk.transitions
    assert transition.alert.finding.other is not None
    assert transition.alert.finding.other.record.pid == 10


@pytest.mark.parametrize("seen_gone", [True, False])
def test_a_living_owners_lock_is_removed_and_replaced(desk: Desk, *, seen_gone: bool) -> None:
    """What the original `Acquire` does to an agent whose spawner has exited is `replaced`."""
    desk.write(1.0, "a", 10, "%5")
    desk.die(1.3, 10)
    desk.tmux(1.4, "%5", "%9")
    if seen_gone:
        desk.delete(2.0, "a")
    lines = desk.write(2.001, "a", 11, "%9", recreated=not seen_gone)
    assert lines == ["replaced a held", "firing collision a replaced"]


def test_after_a_rescan_it_is_a_takeover(desk: Desk) -> None:
    """Where nobody saw what happened, nothing is said of a deletion."""
    desk.write(1.0, "a", 10)
    found = Reading(record(11, taken=2.0), ME, alive(11))
    assert desk.tell(Rescanned({"a": found}, at(9.0))) == ["replaced a held", "firing collision a takeover"]


def test_a_lock_that_is_taken_within_the_window_replaces_one_that_was_released(desk: Desk) -> None:
    """A lock created within a second of the deletion took the place of the deleted one."""
    desk.write(1.0, "a", 10)
    desk.delete(2.0, "a")
    assert desk.wait(2.5) == ["released a held"]
    assert desk.write(2.9, "a", 11) == ["acquired a held", "firing collision a replaced"]


def test_a_lock_that_is_taken_after_the_window_is_nobody_elses(desk: Desk) -> None:
    """Later it is a new lock, whatever became of the owner before; with a shorter window, sooner."""
    for window, t in ((1.0, 3.01), (0.5, 2.6)):
        desk = Desk(Policy(collision=CollisionPolicy(window=window)))
        desk.write(1.0, "a", 10)
        desk.delete(2.0, "a")
        desk.wait(2.2)
        assert desk.write(t, "a", 11) == ["acquired a held"]
        assert rivals(desk) == []


def test_the_owner_may_come_back_within_the_window(desk: Desk) -> None:
    """An owner that takes its lock again after a pause collides with nobody."""
    desk.write(1.0, "a", 10)
    desk.delete(2.0, "a")
    desk.wait(2.5)
    assert desk.write(2.9, "a", 10) == ["acquired a held"]


def test_a_dead_owner_collides_with_nobody(desk: Desk) -> None:
    """A lock whose owner is gone is there to be taken."""
    desk.write(1.0, "a", 10)
    desk.die(1.5, 10)
    assert desk.write(2.0, "a", 11) == ["replaced a held", "resolved stale a refreshed"]
    assert rivals(desk) == []


def test_an_owner_that_died_while_its_lock_was_gone_collides_with_nobody(desk: Desk) -> None:
    """What is known of the earlier owner when the new lock comes is what counts."""
    desk.write(1.0, "a", 10)
    desk.delete(2.0, "a")
    desk.wait(2.5)
    desk.die(2.6, 10)
    assert desk.write(2.9, "a", 11) == ["acquired a held"]
    assert rivals(desk) == []


def test_an_earlier_claim_is_judged_when_the_answer_comes(desk: Desk) -> None:
    """An earlier owner of which nobody could say whether it lives is kept until that is known."""
    desk.write(1.0, "a", 10, "%5")
    desk.tell(silence("/s", asked=1.1))
    desk.die(1.3, 10)
    assert desk.write(2.0, "a", 11) == ["replaced a held"]
    assert rivals(desk) == [(10, Evidence.TAKEOVER)]
    assert desk.tmux(3.0, "%5") == ["firing collision a takeover"]


def test_an_earlier_claim_that_turns_out_dead_is_dropped(desk: Desk) -> None:
    """And if it does not, there never was a collision."""
    desk.write(1.0, "a", 10, "%5")
    desk.tell(silence("/s", asked=1.1))
    desk.die(1.3, 10)
    desk.write(2.0, "a", 11)
    assert desk.tmux(3.0) == []
    assert rivals(desk) == []


def test_a_collision_waits_for_the_answer_that_is_owed(desk: Desk) -> None:
    """A pane may have died with the writer: before tmux says, nothing is raised."""
    desk.write(1.0, "a", 10, "%5")
    desk.die(1.3, 10)
    assert desk.write(1.31, "a", 11) == ["replaced a held"]
    assert desk.tmux(1.32, "%5") == ["firing collision a takeover"]


def test_a_collision_ends_with_the_earlier_claim(desk: Desk) -> None:
    """When the earlier owner ends, one is left; it is forgotten."""
    desk.write(1.0, "a", 10)
    desk.write(2.0, "a", 11)
    assert desk.die(3.0, 10) == ["resolved collision a claim_ended"]
    assert rivals(desk) == []


def test_a_collision_ends_with_the_newer_claim(desk: Desk) -> None:
    """When the newcomer ends, its lock is stale, and the collision is over."""
    desk.write(1.0, "a", 10)
    desk.write(2.0, "a", 11)
    assert desk.die(3.0, 11) == ["verdict a held -> stale", "resolved collision a claim_ended", "firing stale a"]


def test_a_collision_ends_with_the_lock(desk: Desk) -> None:
    """When the lock is released there is nothing left to collide over."""
    desk.write(1.0, "a", 10)
    desk.write(2.0, "a", 11)
    desk.delete(3.0, "a")
    assert desk.wait(3.1) == ["released a held", "resolved collision a released"]
    desk.wait(9.0)
    assert not desk.registry.names_pid(10)


def test_a_collision_lasts_while_its_claims_cannot_be_judged(desk: Desk) -> None:
    """A server that hangs ends nothing; when it answers again, what it says counts."""
    desk.write(1.0, "a", 10, "%5")
    desk.write(2.0, "a", 11, "%9")
    desk.die(2.1, 10, 11)
    desk.tmux(2.2, "%5", "%9")
    assert desk.tell(silence("/s", asked=3.0)) == ["verdict a held_by_session -> unverifiable"]
    assert desk.tmux(4.0, "%5", "%9") == ["verdict a unverifiable -> held_by_session"]
    assert desk.firing() == ["collision a"]
    assert desk.tmux(5.0, "%9") == ["resolved collision a claim_ended"]


def test_the_first_owner_takes_its_lock_back(desk: Desk) -> None:
    """Then the other is the rival; it is one alert all along, with other facts."""
    desk.write(1.0, "a", 10, "%5")
    desk.write(2.0, "a", 11, "%9")
    assert desk.write(3.0, "a", 12, "%5") == ["replaced a held", "updated collision a takeover"]
    assert rivals(desk) == [(11, Evidence.TAKEOVER)]
    assert desk.die(4.0, 11) == []
    assert desk.tmux(5.0, "%5") == ["resolved collision a claim_ended"]


def test_a_refresh_by_the_newcomer_keeps_the_collision(desk: Desk) -> None:
    """Both are still there; the alert says by whom it is now."""
    desk.write(1.0, "a", 10, "%5")
    desk.write(2.0, "a", 11, "%9")
    assert desk.write(3.0, "a", 12, "%9", recreated=True) == ["refreshed a held", "updated collision a takeover"]
    assert rivals(desk) == [(10, Evidence.TAKEOVER)]


def test_three_owners_end_one_by_one(desk: Desk) -> None:
    """The newest living rival is named; the collision lasts until one owner is left."""
    for t, pid in enumerate((10, 11, 12), start=1):
        desk.write(float(t), "a", pid)
    assert rivals(desk) == [(10, Evidence.TAKEOVER), (11, Evidence.TAKEOVER)]
    assert desk.die(4.0, 11) == ["updated collision a takeover"]
    assert desk.die(5.0, 10) == ["resolved collision a claim_ended"]


def test_owners_without_end_fill_no_memory(desk: Desk) -> None:
    """Of owners that write over each other for ever, only the last few are kept."""
    for pid in range(100, 200):
        desk.write(float(pid), "a", pid)
    assert [pid for pid, _ in rivals(desk)] == list(range(199 - MOST_EARLIER, 199))
    assert not desk.registry.names_pid(100)


def test_an_orphan_is_a_live_claim(desk: Desk) -> None:
    """An owner whose session has gone may still act."""
    desk.write(1.0, "a", 10, "%5")
    desk.tmux(1.5, "%9")
    assert desk.write(2.0, "a", 11, "%9")[:2] == ["replaced a held", "firing collision a takeover"]


# One owner after all


def several_panes(*, ada: Sequence[str] = ("%5", "%6")) -> tuple[str, ...]:
    """Give the lines of a session `ada` with several panes."""
    return tuple(f"{pane} $1 ada" for pane in ada)


def test_two_processes_of_one_session_collide_while_both_live(desk: Desk) -> None:
    """Two agents in two panes of one session are two owners; when the first ends, one is left."""
    desk.tmux(0.5, *several_panes())
    desk.write(1.0, "a", 10, "ada")
    assert desk.write(2.0, "a", 11, "ada") == ["replaced a held", "firing collision a takeover"]
    assert desk.die(3.0, 10) == ["resolved collision a claim_ended"]
    assert desk.tmux(3.1, *several_panes()) == []
    assert rivals(desk) == []


def test_a_name_and_a_pane_turn_out_to_be_one(desk: Desk) -> None:
    """Where tmux could not say at first that two ids are of one pane, they are one owner once it does."""
    desk.tell(silence("/s", asked=0.5))
    desk.write(1.0, "a", 10, "ada")
    desk.die(1.3, 10)
    assert desk.write(2.0, "a", 11, "%5", fact=DEAD) == ["replaced a unverifiable"]
    assert rivals(desk) == [(10, Evidence.TAKEOVER)]
    assert desk.tmux(3.0, "%5 $1 ada") == ["verdict a unverifiable -> held_by_session"]
    assert rivals(desk) == []
    assert desk.firing() == []


def test_an_agent_that_runs_two_writers_at_once_is_one_owner(desk: Desk) -> None:
    """Two living writers are two owners; once the first has gone, they are seen to be one agent's."""
    desk.write(1.0, "a", 10, "rig/a", fact=alive(10, agent=7))
    assert desk.write(1.1, "a", 11, "rig/a", fact=alive(11, agent=7)) == [
        "replaced a held",
        "firing collision a takeover",
    ]
    assert desk.die(1.3, 10) == ["resolved collision a claim_ended"]


def test_a_pane_that_nobody_can_look_up_is_the_same_by_its_number(desk: Desk) -> None:
    """While tmux is silent, two writers of one pane number are not accused of being two owners."""
    desk.write(1.0, "a", 10, "%5")
    desk.tell(silence("/s", asked=1.5))
    assert desk.write(2.0, "a", 11, "%5") == ["refreshed a held"]


# Two workers, one pane


def test_two_workers_name_one_pane(desk: Desk) -> None:
    """The worker with the newer lock has the alert, a warning that names the other; one for both."""
    desk.write(1.0, "a", 10, "%5")
    assert desk.write(2.0, "b", 11, "%5") == ["acquired b held", "firing collision b shared_pane"]
    (transition,) = desk.transitions
    assert transition.alert.finding.other_worker == "a"
    assert desk.firing() == ["collision b"]


def test_the_newer_lock_is_the_one_that_was_taken_later(desk: Desk) -> None:
    """Whichever was read first, the alert is on the lock that bears the later time."""
    desk.write(1.0, "b", 11, of=record(11, "%5", taken=0.9))
    lines = desk.write(2.0, "a", 10, of=record(10, "%5", taken=0.1))
    assert lines == ["acquired a held", "firing collision b shared_pane"]


def test_when_the_older_lock_is_refreshed_it_is_the_newer(desk: Desk) -> None:
    """It is one alert for both, which now is on the other worker."""
    desk.write(1.0, "a", 10, "%5")
    desk.write(2.0, "b", 11, "%5")
    before = desk.transitions[0].alert
    assert desk.write(3.0, "a", 12, "%5") == ["refreshed a held", "updated collision a shared_pane"]
    assert desk.transitions[0].alert.fingerprint == before.fingerprint
    assert desk.firing() == ["collision a"]


@pytest.mark.parametrize("released", ["a", "b"])
def test_a_shared_pane_ends_with_either_lock(desk: Desk, released: str) -> None:
    """Whichever lock goes, the alert goes with it."""
    desk.write(1.0, "a", 10, "%5")
    desk.write(2.0, "b", 11, "%5")
    desk.delete(3.0, released)
    assert desk.wait(3.1) == [f"released {released} held", "resolved collision b released"]


def test_a_shared_pane_ends_with_the_pane(desk: Desk) -> None:
    """When the pane goes, nobody shares it."""
    desk.write(1.0, "a", 10, "%5")
    desk.write(2.0, "b", 11, "%5")
    lines = desk.tmux(3.0, "%9")
    assert "resolved collision b claim_ended" in lines
    assert desk.firing() == []


def test_a_shared_pane_ends_when_one_moves(desk: Desk) -> None:
    """A worker whose lock names another pane now shares no more."""
    desk.write(1.0, "a", 10, "%5")
    desk.write(2.0, "b", 11, "%5")
    lines = desk.write(3.0, "a", 12, "%9")
    assert "resolved collision b claim_ended" in lines
    assert desk.firing() == ["collision a"]


def test_a_session_of_one_pane_counts_as_its_pane(desk: Desk) -> None:
    """A lock that names the session and one that names its only pane share it, until the session has two."""
    desk.tmux(0.5, "%5 $1 ada")
    desk.write(1.0, "a", 10, "ada")
    assert desk.write(2.0, "b", 11, "%5") == ["acquired b held", "firing collision b shared_pane"]
    assert desk.tmux(3.0, *several_panes()) == ["resolved collision b claim_ended"]


@pytest.mark.parametrize(("one", "two"), [("rig", "rig/crew/ada"), ("rig/crew/ada", "rig"), (".", "rig"), ("rig", ".")])
def test_a_worker_inside_another_may_share_its_pane(desk: Desk, one: str, two: str) -> None:
    """A lock written from a sub-directory of the worker, in the worker's own pane, is no collision."""
    desk.write(1.0, one, 10, "%5")
    assert desk.write(2.0, two, 11, "%5") == [f"acquired {two} held"]


def test_several_workers_of_one_pane_have_an_alert_each_but_one(desk: Desk) -> None:
    """Each newer lock names the one before it; when one in the middle goes, its neighbours meet."""
    for t, worker in enumerate("abc", start=1):
        desk.write(float(t), worker, 10 + t, "%5")
    assert desk.firing() == ["collision b", "collision c"]
    desk.delete(5.0, "b")
    assert sorted(desk.wait(5.1)) == [
        "firing collision c shared_pane",
        "released b held",
        "resolved collision b released",
        "resolved collision c released",
    ]
    assert [alert.finding.other_worker for alert in desk.book.firing()] == ["a"]


def test_a_shared_pane_lasts_while_its_server_hangs(desk: Desk) -> None:
    """A server that hangs neither raises nor resolves, not even if a lock is refreshed meanwhile."""
    desk.write(1.0, "a", 10, "%5")
    desk.write(2.0, "b", 11, "%5")
    assert desk.tell(silence("/s", asked=3.0)) == []
    assert desk.write(4.0, "b", 12, "%5") == ["refreshed b held"]
    assert desk.write(4.5, "a", 13, "%5") == ["refreshed a held"]
    assert desk.firing() == ["collision b"]
    assert desk.tmux(5.0, "%5") == ["updated collision a shared_pane"]
    assert desk.tell(listing(asked=6.0))[-1] == "resolved collision a claim_ended"


def test_a_sharer_that_is_gone_is_not_ruled_on(desk: Desk) -> None:
    """While a lock is gone its worker is left alone, also when the older sharer changes."""
    desk.write(1.0, "a", 10, "%5")
    desk.write(2.0, "b", 11, "%5")
    desk.die(2.1, 11)
    desk.tmux(2.2, "%5")
    desk.delete(3.0, "b")
    desk.write(3.01, "a", 12, "")
    assert desk.changes.touched == {"a"}
