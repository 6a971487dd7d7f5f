import pytest

from rules.model import FileState, Verdict
from rules.policy import InvalidPolicy, Policy
from tests.watcher.answers import ME
from tests.watcher.desk import Desk
from watcher.events import Reading, Rescanned, Unreadable
from watcher.testing import DEAD, alive, at, record


@pytest.fixture
def desk() -> Desk:
    """Give a desk at which a tmux server with the panes %5 and %9 is known."""
    made = Desk()
    made.tmux(0.0, "%5", "%9")
    return made


def state(desk: Desk, worker: str = "a") -> FileState | None:
    """Say how a worker's lock file reads."""
    view = desk.registry.view(worker)
    return view.file if view is not None else None


def test_a_half_written_file_is_no_alert(desk: Desk) -> None:
    """A file that is readable within its grace was only being written: one line, as ever."""
    assert desk.garble(1.0, "a", "unexpected end") == []
    assert state(desk) is FileState.SETTLING
    assert desk.write(1.001, "a", 10) == ["acquired a held"]
    assert desk.wait(9.0) == []


def test_a_refresh_in_place_may_be_seen_half_written(desk: Desk) -> None:
    """The older writer truncates and writes: a reader in between has seen no other owner."""
    desk.write(1.0, "a", 10, "%5")
    assert desk.garble(2.0, "a", "empty") == []
    assert desk.write(2.001, "a", 11, "%5") == ["refreshed a held"]


def test_a_takeover_in_place_may_be_seen_half_written(desk: Desk) -> None:
    """What was there before the file became unreadable is the earlier claim."""
    desk.write(1.0, "a", 10, "%5")
    desk.garble(2.0, "a", "empty")
    assert desk.write(2.001, "a", 11, "%9") == ["replaced a held", "firing collision a takeover"]


def test_a_file_that_was_created_anew_and_half_written_is_replaced(desk: Desk) -> None:
    """That a deletion came in between is remembered until the file can be read."""
    desk.write(1.0, "a", 10, "%5")
    desk.delete(2.0, "a")
    desk.garble(2.001, "a", "empty")
    assert desk.write(2.002, "a", 11, "%9") == ["replaced a held", "firing collision a replaced"]
    assert desk.write(3.0, "a", 12, "%5") == ["replaced a held", "updated collision a takeover"]


def test_a_file_that_stays_unreadable_is_invalid_after_its_grace(desk: Desk) -> None:
    """From the first look on it has one second."""
    desk.garble(1.0, "a", "no JSON")
    assert desk.deadline() == 2.0
    assert desk.wait(1.99) == []
    assert desk.wait(2.0) == ["acquired a invalid", "firing invalid a"]
    assert desk.verdict("a") is Verdict.INVALID


def test_the_grace_is_a_setting() -> None:
    """Another grace is another wait, and none is none."""
    desk = Desk(Policy(invalid=InvalidPolicy(grace=5.0)))
    desk.garble(1.0, "a")
    assert desk.wait(5.9) == []
    assert desk.wait(6.0) == ["acquired a invalid", "firing invalid a"]
    desk = Desk(Policy(invalid=InvalidPolicy(grace=0.0)))
    assert desk.garble(1.0, "a") == ["acquired a invalid", "firing invalid a"]


def test_the_grace_counts_from_the_first_unreadable_look(desk: Desk) -> None:
    """A file that is unreadable for one reason and then for another is unreadable all along."""
    desk.garble(1.0, "a", "empty")
    desk.garble(1.9, "a", "no JSON")
    assert desk.wait(2.0) == ["acquired a invalid", "firing invalid a"]
    assert desk.garble(3.0, "a", "it is a FIFO") == ["updated invalid a"]


def test_an_invalid_file_that_becomes_readable(desk: Desk) -> None:
    """The alert resolves; the lock was known before, so this is a change of verdict."""
    desk.garble(1.0, "a")
    desk.wait(2.0)
    assert desk.write(3.0, "a", 10) == ["verdict a invalid -> held", "resolved invalid a readable"]


def test_an_invalid_file_that_becomes_a_stale_lock(desk: Desk) -> None:
    """One trouble takes the place of the other, the end first."""
    desk.garble(1.0, "a")
    desk.wait(2.0)
    assert desk.write(3.0, "a", 10, fact=DEAD) == [
        "verdict a invalid -> stale",
        "resolved invalid a superseded",
        "firing stale a",
    ]


def test_a_stale_lock_that_becomes_unreadable(desk: Desk) -> None:
    """While it settles the alert stays; then the file is no lock, and not a stale one."""
    desk.write(1.0, "a", 10, fact=DEAD)
    assert desk.garble(2.0, "a") == []
    assert desk.firing() == ["stale a"]
    assert desk.wait(3.0) == ["verdict a stale -> invalid", "resolved stale a superseded", "firing invalid a"]


def test_an_owner_that_dies_while_its_file_cannot_be_read(desk: Desk) -> None:
    """Nothing is said of it before the file can be read or is known to be no lock."""
    desk.write(1.0, "a", 10)
    desk.garble(2.0, "a")
    assert desk.die(2.5, 10) == []
    assert desk.write(2.6, "a", 10, fact=DEAD, of=record(10, taken=1.0)) == [
        "verdict a held -> stale",
        "firing stale a",
    ]


def test_the_owner_is_remembered_over_an_invalid_spell(desk: Desk) -> None:
    """A file that is readable again with what it said before is the same lock."""
    desk.write(1.0, "a", 10)
    desk.garble(2.0, "a")
    desk.wait(9.0)
    assert desk.write(9.0, "a", 10, of=record(10, taken=1.0)) == [
        "verdict a invalid -> held",
        "resolved invalid a readable",
    ]


def test_another_owner_after_an_invalid_spell(desk: Desk) -> None:
    """A file that comes back with another owner has been taken over, if the first one still lives."""
    desk.write(1.0, "a", 10)
    desk.garble(2.0, "a")
    desk.wait(9.0)
    assert desk.write(9.0, "a", 11) == [
        "replaced a held",
        "resolved invalid a readable",
        "firing collision a takeover",
    ]


def test_an_unreadable_file_that_goes_in_its_grace_was_nothing(desk: Desk) -> None:
    """What was never reported is not released."""
    desk.garble(1.0, "a")
    desk.delete(1.1, "a")
    assert desk.wait(9.0) == []
    assert desk.is_empty()


def test_an_invalid_file_that_goes_is_released(desk: Desk) -> None:
    """The alert goes with the file."""
    desk.garble(1.0, "a")
    desk.wait(2.0)
    desk.delete(3.0, "a")
    assert desk.wait(3.1) == ["released a invalid", "resolved invalid a released"]
    desk.wait(9.0)
    assert desk.is_empty()


def test_the_age_of_a_file_counts_at_start() -> None:
    """A file that had been unreadable for long before the watcher started has had its grace."""
    desk = Desk()
    old, new = (Reading(Unreadable("no JSON", age=age), ME) for age in (3600.0, 0.2))
    lines = desk.tell(Rescanned({"old": old, "new": new}, at(1.0), initial=True))
    assert lines == ["acquired old invalid", "firing invalid old"]
    assert desk.wait(1.79) == []
    assert desk.wait(1.81) == ["acquired new invalid", "firing invalid new"]
    assert all(line.initial for line in desk.changes.lines)


def test_the_age_of_a_file_does_not_count_later(desk: Desk) -> None:
    """A file moved into place may be old: it has its grace from when it was seen."""
    desk.write(1.0, "a", 10)
    reading = Reading(Unreadable("no JSON", age=3600.0), ME)
    assert desk.tell(Rescanned({"a": reading}, at(2.0))) == []
    assert state(desk) is FileState.SETTLING


def test_an_invalid_file_takes_a_collision_with_it(desk: Desk) -> None:
    """Where the file is no lock, only the earlier claim is left."""
    desk.write(1.0, "a", 10)
    desk.write(2.0, "a", 11)
    desk.garble(3.0, "a")
    assert desk.firing() == ["collision a"]
    assert desk.wait(4.0) == ["verdict a held -> invalid", "resolved collision a claim_ended", "firing invalid a"]
    assert desk.write(5.0, "a", 11, of=record(11, taken=2.0)) == [
        "verdict a invalid -> held",
        "resolved invalid a readable",
        "firing collision a takeover",
    ]


def test_a_worker_with_a_process_that_is_no_number_keeps_nothing(desk: Desk) -> None:
    """A lock that names no process rests on none, and is stale where it names no session."""
    assert desk.write(1.0, "a", 0) == ["acquired a stale", "firing stale a"]
    assert desk.changes.pids == set()
    assert desk.write(2.0, "a", 0, "%5", fact=alive(1)) == []
    assert desk.tmux(2.1, "%5") == ["replaced a held_by_session", "resolved stale a refreshed"]
