import pytest

from rules.model import Verdict
from tests.watcher.answers import ME
from tests.watcher.desk import Desk
from watcher.events import LockSeen, ProcessSeen, Reading, Rescanned
from watcher.testing import DEAD, UNKNOWN, alive, at, ended, record


@pytest.fixture
def desk() -> Desk:
    """Give a desk at which a tmux server with the panes %5 and %9 is known."""
    made = Desk()
    made.tmux(0.0, "%5", "%9")
    return made


def reading(pid: int, *, taken: float = 0.0) -> Reading:
    """Make what a look at the lock of a living process gives."""
    return Reading(record(pid, taken=taken), ME, alive(pid))


@pytest.mark.parametrize(
    ("session_id", "verdict"),
    [("", "held"), ("%5", "held"), ("ada", "held")],
    ids=["no session", "a pane that is there", "a session that is not known yet"],
)
def test_a_living_owners_lock_is_acquired_at_once(desk: Desk, session_id: str, verdict: str) -> None:
    """Where the process lives, nothing has to be waited for."""
    assert desk.write(1.0, "a", 10, session_id) == [f"acquired a {verdict}"]


def test_a_dead_owners_lock_is_acquired_stale(desk: Desk) -> None:
    """A lock whose owner is gone is acquired, and stale, in one go."""
    assert desk.write(1.0, "a", 10, fact=DEAD) == ["acquired a stale", "firing stale a"]


def test_another_hosts_lock_is_unverifiable(desk: Desk) -> None:
    """A lock of another host is reported, and nothing is made of it, whatever lives or dies here."""
    far = record(10, "%5", taken=1.0, hostname="far")
    assert desk.write(1.0, "a", 10, fact=DEAD, of=far) == ["acquired a unverifiable"]
    assert desk.die(2.0, 10) == []
    assert desk.tmux(3.0) == []
    assert not desk.changes.pids
    assert desk.registry.deadline() is None


def test_the_same_content_is_no_news(desk: Desk) -> None:
    """A second look at a lock that has not changed says nothing."""
    desk.write(1.0, "a", 10, "%5")
    assert desk.write(2.0, "a", 10, of=record(10, "%5", taken=1.0)) == []


def test_a_change_of_verdict_is_a_line(desk: Desk) -> None:
    """Each verdict is reported once, with the one before."""
    desk.write(1.0, "a", 10, "%5")
    desk.die(1.3, 10)
    assert desk.tmux(1.4, "%5") == ["verdict a held -> held_by_session"]
    assert desk.tmux(2.0, "%5") == []
    assert desk.tmux(3.0) == ["verdict a held_by_session -> stale", "firing stale a"]


# Refreshing


def test_a_refresh_in_place(desk: Desk) -> None:
    """A lock rewritten by its owner is refreshed: the same pane, whatever process writes."""
    desk.write(1.0, "a", 10, "%5")
    assert desk.write(2.0, "a", 11, "%5") == ["refreshed a held"]


@pytest.mark.parametrize("seen_gone", [True, False])
def test_a_refresh_by_deleting_and_creating(desk: Desk, *, seen_gone: bool) -> None:
    """Deleting and creating within 100 ms is one refresh, whether or not the gap was seen."""
    desk.write(1.0, "a", 10, "%5")
    if seen_gone:
        assert desk.delete(2.0, "a") == []
    assert desk.write(2.09, "a", 11, "%5", recreated=not seen_gone) == ["refreshed a held"]
    assert desk.wait(5.0) == []


def test_a_refresh_with_the_same_content(desk: Desk) -> None:
    """An owner that deletes its lock and writes the same again has refreshed it."""
    same = record(10, taken=1.0)
    desk.write(1.0, "a", 10, of=same)
    assert desk.write(2.0, "a", 10, of=same, recreated=True) == ["refreshed a held"]


def test_a_thousand_refreshes_are_a_thousand_lines(desk: Desk) -> None:
    """Each removal and rewriting by the owner is exactly one line, and never an alert."""
    desk.write(1.0, "a", 10, "%5")
    lines: list[str] = []
    for n in range(1000):
        lines += desk.delete(2.0 + n / 100, "a")
        lines += desk.write(2.001 + n / 100, "a", 11 + n, "%5")
    assert lines == ["refreshed a held"] * 1000
    assert desk.registry.claims("a")[1] == ()


def test_a_thousand_refreshes_seen_in_one_batch(desk: Desk) -> None:
    """Refreshes that come faster than they are judged have a line each all the same."""
    desk.write(1.0, "a", 10, "%5")
    seen = [
        LockSeen("a", Reading(record(11 + n, "%5", taken=1.0 + n), ME, alive(11 + n)), at(2.0), recreated=True)
        for n in range(1000)
    ]
    assert desk.tell(*seen) == ["refreshed a held"] * 1000


def test_a_refresh_that_revives_a_stale_lock(desk: Desk) -> None:
    """The owner that comes back resolves the alert."""
    desk.write(1.0, "a", 10)
    desk.die(2.0, 10)
    assert desk.write(3.0, "a", 11) == ["replaced a held", "resolved stale a refreshed"]


def test_another_owner_replaces(desk: Desk) -> None:
    """A lock rewritten by another owner is replaced; if the first one is gone, that is all."""
    desk.write(1.0, "a", 10)
    desk.die(1.5, 10)
    desk.delete(2.0, "a")
    assert desk.write(2.05, "a", 11) == ["replaced a held", "resolved stale a refreshed"]


def test_a_deletion_that_is_told_late_is_no_second_refresh(desk: Desk) -> None:
    """Where the file that was made after it has been looked at already, it is known again."""
    desk.write(1.0, "a", 10, file=(1, 2, 3))
    assert desk.write(2.0, "a", 10, file=(1, 4, 5), of=record(10, taken=2.0)) == ["refreshed a held"]
    assert desk.write(2.1, "a", 10, file=(1, 4, 5), of=record(10, taken=2.0), recreated=True) == []
    assert desk.write(2.2, "a", 10, file=(1, 6, 7), of=record(10, taken=2.0), recreated=True) == ["refreshed a held"]


# Releasing


def test_a_release_is_told_after_100_ms(desk: Desk) -> None:
    """A lock that is gone is released once nobody has written it again within 100 ms."""
    desk.write(1.0, "a", 10)
    assert desk.delete(2.0, "a") == []
    assert desk.deadline() == 2.1
    assert desk.wait(2.099) == []
    assert desk.registry.workers() == ["a"]
    assert desk.wait(2.1) == ["released a held"]
    assert desk.registry.workers() == []
    assert desk.registry.view("a") is None


def test_a_lock_that_was_seen_to_be_gone_for_100_ms_was_released(desk: Desk) -> None:
    """A lock that comes back later is a new one, whoever woke up first."""
    desk.write(1.0, "a", 10)
    desk.delete(2.0, "a")
    assert desk.registry.overdue(2.099) == []
    assert desk.registry.overdue(2.1) == ["a"]
    assert desk.delete(2.1, "a") == ["released a held"]
    assert desk.registry.overdue(2.1) == []
    assert desk.write(2.2, "a", 10) == ["acquired a held"]


def test_to_look_late_is_no_proof_of_a_release(desk: Desk) -> None:
    """A lock that is back when somebody looks at last is its owner's still, and another's where another took it."""
    desk.write(1.0, "a", 10)
    desk.delete(2.0, "a")
    assert desk.registry.overdue(2.5) == ["a"]
    assert desk.write(2.5, "a", 10) == ["refreshed a held"]
    assert desk.registry.overdue(9.0) == []
    desk.delete(3.0, "a")
    assert desk.write(5.0, "a", 11) == ["released a held", "acquired a held"]


def test_a_lock_that_is_half_written_when_somebody_looks_late_may_be_its_owners(desk: Desk) -> None:
    """Whose it is shows when it can be read; beyond the window of a collision it is nobody's business."""
    desk.write(1.0, "a", 10)
    desk.delete(2.0, "a")
    assert desk.garble(2.5, "a", "empty") == []
    assert desk.write(2.6, "a", 10) == ["refreshed a held"]
    desk.delete(3.0, "a")
    assert desk.garble(4.0, "a", "empty") == ["released a held"]


def test_a_released_lock_has_the_verdict_it_had(desk: Desk) -> None:
    """What happens to the owner after the lock was removed does not change what was removed."""
    desk.write(1.0, "a", 10, "%5")
    desk.die(1.3, 10)
    desk.tmux(1.4, "%5")
    desk.delete(2.0, "a")
    desk.tmux(2.05)
    assert desk.wait(3.0) == ["released a held_by_session"]


def test_an_owner_that_removes_its_lock_and_exits_was_never_stale(desk: Desk) -> None:
    """While a lock is gone nothing is ruled on it."""
    desk.write(1.0, "a", 10)
    desk.delete(2.0, "a")
    assert desk.die(2.01, 10) == []
    assert desk.wait(3.0) == ["released a held"]
    assert desk.wait(9.0) == []


def test_an_owner_that_exits_and_whose_lock_is_removed_was_stale(desk: Desk) -> None:
    """The other way round it was, and the release resolves it."""
    desk.write(1.0, "a", 10)
    assert desk.die(2.0, 10) == ["verdict a held -> stale", "firing stale a"]
    desk.delete(2.01, "a")
    assert desk.wait(3.0) == ["released a stale", "resolved stale a released"]


def test_a_lock_that_goes_before_it_could_be_judged(desk: Desk) -> None:
    """A lock that was removed while tmux owed an answer was there all the same."""
    desk.write(1.0, "a", 10, "%7", fact=DEAD)
    desk.delete(1.01, "a")
    assert desk.wait(2.0) == ["acquired a unverifiable", "released a unverifiable"]


def test_a_second_deletion_is_no_news(desk: Desk) -> None:
    """A lock can be gone only once; one that never was cannot go."""
    desk.write(1.0, "a", 10)
    desk.delete(2.0, "a")
    desk.delete(2.05, "a")
    assert desk.wait(3.0) == ["released a held"]
    assert desk.delete(4.0, "a") == []
    assert desk.delete(4.0, "never") == []


def test_what_is_released_is_forgotten(desk: Desk) -> None:
    """Once its window is over nothing is kept of a lock that is gone, nor of its process, session and pane."""
    desk.write(1.0, "a", 10, "%5", fact=alive(10, agent=7))
    desk.write(1.0, "b", 11, "ada")
    desk.garble(1.0, "c")
    for worker in "abc":
        desk.delete(2.0, worker)
    desk.wait(10.0)
    assert desk.is_empty()


# Looking at everything


def test_the_first_look_finds_what_is_there(desk: Desk) -> None:
    """At start each lock is acquired, marked as initial, and so are its alerts."""
    gone = Reading(record(11), ME, DEAD)
    lines = desk.tell(Rescanned({"a": reading(10), "b": gone}, at(1.0), initial=True))
    assert sorted(lines) == ["acquired a held", "acquired b stale", "firing stale b"]
    assert all(line.initial for line in desk.changes.lines)
    assert all(transition.alert.initial for transition in desk.transitions)


def test_a_later_look_is_not_initial(desk: Desk) -> None:
    """What a later rescan finds was missed, not there at start."""
    desk.tell(Rescanned({}, at(1.0), initial=True))
    assert desk.tell(Rescanned({"a": reading(10)}, at(2.0))) == ["acquired a held"]
    assert not desk.changes.lines[0].initial


def test_a_rescan_finds_what_was_missed(desk: Desk) -> None:
    """What a rescan does not find is gone, what is new is acquired, what is as it was is no news."""
    desk.tell(Rescanned({"a": reading(10), "b": reading(11), "c": reading(12)}, at(1.0), initial=True))
    lines = desk.tell(Rescanned({"b": reading(11), "c": reading(12, taken=2.0), "d": reading(13)}, at(3.0)))
    assert sorted(lines) == ["acquired d held", "refreshed c held"]
    assert desk.wait(4.0) == ["released a held"]


def test_a_rescan_finds_a_death_that_was_missed(desk: Desk) -> None:
    """What the rescan's probe says of the owner counts."""
    desk.write(1.0, "a", 10)
    lines = desk.tell(Rescanned({"a": Reading(record(10, taken=1.0), ME, DEAD)}, at(30.0)))
    assert lines == ["verdict a held -> stale", "firing stale a"]


def test_a_rescan_during_a_refresh_is_part_of_it(desk: Desk) -> None:
    """A rescan that finds the lock back within 100 ms has seen the refresh."""
    desk.write(1.0, "a", 10)
    desk.delete(2.0, "a")
    assert desk.tell(Rescanned({"a": reading(10, taken=2.0)}, at(2.05))) == ["refreshed a held"]


# Processes


def test_the_dead_stay_dead(desk: Desk) -> None:
    """Whatever bears the number after the owner's death is another process."""
    desk.write(1.0, "a", 10)
    desk.die(2.0, 10)
    assert desk.write(3.0, "a", 10, fact=alive(10), of=record(10, taken=1.0)) == []
    assert desk.verdict("a") is Verdict.STALE


def test_another_bearer_of_the_number_is_another_process(desk: Desk) -> None:
    """Where the pid is borne by another process than at first, the owner has ended."""
    desk.write(1.0, "a", 10)
    lines = desk.write(9.0, "a", 10, fact=alive(10, started=1.5), of=record(10, taken=1.0))
    assert lines == ["verdict a held -> stale", "firing stale a"]


def test_the_late_news_of_an_earlier_bearers_death_is_not_the_owners(desk: Desk) -> None:
    """A pid may be recycled before the end of its first bearer is told: the news bears that one's identity."""
    desk.write(9.0, "a", 10, fact=alive(10, started=8.0))
    assert desk.tell(ProcessSeen(10, ended(10, started=-5.0), at(9.1))) == []
    assert desk.verdict("a") is Verdict.HELD


def test_a_failed_probe_is_unknown(desk: Desk) -> None:
    """A process that cannot be looked at is neither dead nor alive; what fires stays firing."""
    desk.write(1.0, "a", 10)
    assert desk.write(2.0, "a", 10, fact=UNKNOWN, of=record(10, taken=1.0)) == ["verdict a held -> unverifiable"]
    assert desk.write(3.0, "a", 10, of=record(10, taken=1.0)) == ["verdict a unverifiable -> held"]
    assert desk.write(4.0, "a", 10, fact=ended(10), of=record(10, taken=1.0)) == [
        "verdict a held -> stale",
        "firing stale a",
    ]


# What is about to be said


def test_who_turns_is_told_before_it_is_said(desk: Desk) -> None:
    """Before `collect` reports a verdict for the first time, the workers that turn so are listed."""
    desk.write(1.0, "a", 10)
    desk.write(1.0, "b", 11)
    desk.registry.apply(ProcessSeen(10, DEAD, at(2.0)))
    assert desk.registry.turned({Verdict.STALE}) == ["a"]
    assert desk.registry.turned({Verdict.HELD, Verdict.ORPHAN}) == []
    assert desk.tell() == ["verdict a held -> stale", "firing stale a"]
    assert desk.registry.turned({Verdict.STALE}) == []
    desk.delete(3.0, "b")
    desk.registry.apply(ProcessSeen(11, DEAD, at(3.01)))
    assert desk.registry.turned({Verdict.STALE}) == []
