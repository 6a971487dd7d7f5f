from dataclasses import replace

import pytest

from rules.model import Claim, EarlierClaim, Evidence, Liveness, LockRecord, ProcessFact, SessionRef, Verdict
from tests.watcher.answers import ME, answer, listing
from tests.watcher.desk import Desk
from watcher.events import ProcessSeen, Reading, Rescanned
from watcher.testing import DEAD, alive, at, ended, identity, record

RECORD = record(10, "ada")


def known(lock: LockRecord = RECORD, *, process: Liveness = Liveness.ALIVE) -> Claim:
    """Make a claim of an owner that an earlier run had seen."""
    return Claim(lock, at(0.0), uid=ME, process=process, identity=identity(10), asked_after=0.5)


def start(desk: Desk, fact: ProcessFact, lock: LockRecord = RECORD, *, panes: tuple[str, ...] = ()) -> list[str]:
    """Look at everything for the first time: one lock, its process, and tmux."""
    answers = listing("/s", asked=1.001), answer("/s", *panes, asked=1.001)
    return desk.tell(Rescanned({"a": Reading(lock, ME, fact)}, at(1.0), initial=True), *answers)


@pytest.fixture
def desk() -> Desk:
    """Give a desk at which nothing is known yet."""
    return Desk()


def test_a_lock_that_is_there_still_is_acquired_as_initial(desk: Desk) -> None:
    """A run begins with every lock, whatever the one before knew."""
    desk.registry.restore("a", known(), ())
    assert start(desk, alive(10), panes=("%5 $1 ada",)) == ["acquired a held"]
    assert desk.changes.lines[0].initial


def test_an_owner_that_was_seen_is_not_the_next_bearer_of_its_number(desk: Desk) -> None:
    """What an earlier run knew of the owner tells it from another process, also where the lock has no time."""
    timeless = replace(RECORD, acquired_at=None, session_id="")
    desk.registry.restore("a", known(timeless), ())
    assert start(desk, alive(10, started=0.5), timeless) == ["acquired a stale", "firing stale a"]


def test_who_was_dead_is_dead(desk: Desk) -> None:
    """An owner that an earlier run saw end does not come back."""
    desk.registry.restore("a", known(process=Liveness.DEAD), ())
    assert start(desk, alive(10)) == ["acquired a stale", "firing stale a"]


def test_a_session_that_was_found_is_known_by_another_name(desk: Desk) -> None:
    """A session that was renamed while nobody watched is still the one that was pinned."""
    desk.registry.restore("a", replace(known(), pin=SessionRef("/s", 1, "$1")), ())
    assert start(desk, DEAD, panes=("%5 $1 bob",)) == ["acquired a held_by_session"]


def test_another_owner_while_nobody_watched(desk: Desk) -> None:
    """The owner that was known is the earlier claim, if it may still live: looked at again, it ends or collides."""
    desk.registry.restore("a", known(record(10)), ())
    assert start(desk, alive(11), record(11, taken=0.5)) == ["acquired a held", "firing collision a takeover"]
    assert 10 in desk.changes.pids
    assert desk.tell(ProcessSeen(10, ended(10), at(2.0))) == ["resolved collision a claim_ended"]


def test_an_earlier_claim_is_remembered(desk: Desk) -> None:
    """A collision goes on over a restart: both claims are known."""
    rival = EarlierClaim(known(record(12)), Evidence.REPLACED)
    desk.registry.restore("a", known(record(10)), [rival])
    assert start(desk, alive(10), record(10)) == ["acquired a held", "firing collision a replaced"]
    _, earlier = desk.registry.claims("a")
    assert [(each.claim.record.pid, each.evidence) for each in earlier] == [(12, Evidence.REPLACED)]


def test_a_lock_that_is_there_no_more_is_released_at_once(desk: Desk) -> None:
    """At the first look there is no refresh to wait for: what fired on a lock that is gone resolves then, once."""
    before = Desk()
    before.write(1.0, "a", 10, fact=DEAD)
    desk.registry.restore("a", known(process=Liveness.DEAD), ())
    workers = desk.book.restore(before.book.firing())
    assert workers == {"a"}
    assert desk.tell(Rescanned({}, at(1.0), initial=True)) == ["resolved stale a released"]
    assert desk.registry.view("a") is None
    assert desk.wait(9.0) == []
    assert desk.is_empty()


def test_what_was_released_just_before_may_be_replaced(desk: Desk) -> None:
    """A lock that another owner takes within the window after the first look took the place of the one that went."""
    desk.registry.restore("a", known(record(10)), ())
    desk.tell(Rescanned({}, at(1.0), initial=True))
    assert desk.write(1.5, "a", 11) == ["acquired a held", "firing collision a replaced"]
    assert desk.verdict("a") is Verdict.HELD
