import pytest

from rules.alerts import Alert, AlertBook, Step
from rules.model import Kind
from rules.resolution import Resolution
from tests.rules.builders import finding, found, in_doubt, kinds, released, said
from watcher.testing import BOOT, SCOPE, at


@pytest.fixture
def book() -> AlertBook:
    """Give an empty book."""
    return AlertBook(SCOPE)


def restored(book: AlertBook, *, repeat: float = 0.0) -> Alert:
    """Give the book an alert that an earlier run had firing."""
    alert = Alert(finding(repeat=repeat), SCOPE.fingerprint(Kind.STALE, ("a",)), starts_at=BOOT - 100.0)
    assert book.restore([alert]) == {"a"}
    return alert


def test_what_holds_at_start_is_initial(book: AlertBook) -> None:
    """An alert of the first update is marked as initial, later ones are not."""
    (first,) = book.update([found(finding())], at(1.0), initial=True)
    (later,) = book.update([found(finding(worker="b"), worker="b")], at(2.0))
    assert first.alert.initial
    assert not first.alert.restored
    assert not later.alert.initial


def test_a_hold_that_begins_at_start_is_initial(book: AlertBook) -> None:
    """An alert that holds at start is initial though it fires after its hold."""
    book.update([found(finding(hold=1.0))], at(1.0), initial=True)
    (fired,) = book.due(at(2.0))
    assert fired.alert.initial


def test_what_fired_before_and_still_holds_is_restored(book: AlertBook) -> None:
    """It is written as firing again, without a hold, in its old episode."""
    before = restored(book)
    (fired,) = book.update([found(finding(hold=60.0))], at(1.0), initial=True)
    assert fired.step is Step.FIRING
    assert fired.alert.initial
    assert fired.alert.restored
    assert fired.alert.starts_at == before.starts_at
    assert fired.alert.episode == before.episode
    assert book.deadline() is None


def test_what_fired_before_and_holds_no_more_resolves(book: AlertBook) -> None:
    """What is known no longer to hold is written as resolved, in its old episode."""
    before = restored(book)
    (ended,) = book.update([released()], at(1.0), initial=True)
    assert ended.resolution is Resolution.RELEASED
    assert ended.alert.episode == before.episode


def test_what_fired_before_and_is_in_doubt_stays(book: AlertBook) -> None:
    """What is UNKNOWN at start stays as it was: no line, still firing; it resolves when that is known."""
    restored(book)
    assert book.update([in_doubt()], at(1.0), initial=True) == []
    assert kinds(book) == [Kind.STALE]
    assert said(book.update([released()], at(2.0))) == [(Resolution.RELEASED, Kind.STALE, "a")]


def test_what_was_in_doubt_at_start_is_repeated_once_it_is_found(book: AlertBook) -> None:
    """An alert that is confirmed only later is written again every `repeat` from then on, like any other."""
    restored(book, repeat=60.0)
    book.update([in_doubt()], at(1.0), initial=True)
    assert book.update([found(finding(repeat=60.0))], at(2.0)) == []
    assert said(book.due(at(62.0))) == [(Step.REPEATED, Kind.STALE, "a")]
