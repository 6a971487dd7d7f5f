from dataclasses import replace

import pytest

from rules.alerts import AlertBook, Step
from rules.evaluate import RULES, Rule, Ruling
from rules.model import Evidence, Finding, Kind, Liveness, SessionState, Severity
from rules.resolution import Resolution
from tests.rules.builders import HELD, STALE, claim, finding, found, in_doubt, kinds, pane_ref, released, said, view
from watcher.testing import BOOT, SCOPE, at

ORPHANED = claim(Liveness.ALIVE, SessionState.DEAD)


@pytest.fixture
def book() -> AlertBook:
    """Give an empty book."""
    return AlertBook(SCOPE)


def test_a_finding_without_hold_fires_at_once(book: AlertBook) -> None:
    """Without a hold a finding fires in the update that brings it, dated then."""
    (transition,) = book.update([found(finding())], at(7.0))
    assert transition.step is Step.FIRING
    assert transition.alert.starts_at == BOOT + 7.0
    assert transition.alert.ends_at is None
    assert book.firing() == [transition.alert]


def test_a_finding_waits_for_its_hold(book: AlertBook) -> None:
    """A finding with a hold fires when it has lasted for it, dated from its first sight."""
    assert book.update([found(finding(hold=0.5))], at(1.0)) == []
    assert book.firing() == []
    assert book.deadline() == 1.5
    assert book.due(at(1.4)) == []
    (transition,) = book.due(at(1.5))
    assert transition.step is Step.FIRING
    assert transition.alert.starts_at == BOOT + 1.0
    assert book.deadline() is None


def test_a_finding_that_passes_in_its_hold_is_never_said(book: AlertBook) -> None:
    """What was found only for a moment leaves no line, and starts anew the next time."""
    book.update([found(finding(hold=0.5))], at(1.0))
    assert book.update([found()], at(1.2)) == []
    assert book.update([found(finding(hold=0.5))], at(1.4)) == []
    assert book.due(at(1.6)) == []
    (transition,) = book.due(at(1.9))
    assert transition.alert.starts_at == BOOT + 1.4


def test_a_hold_that_is_over_is_noticed_by_any_update(book: AlertBook) -> None:
    """An update on another worker writes what has come due."""
    book.update([found(finding(hold=0.5))], at(1.0))
    assert said(book.update([found(worker="b")], at(2.0))) == [(Step.FIRING, Kind.STALE, "a")]


def test_the_same_finding_is_said_once(book: AlertBook) -> None:
    """A finding that lasts is no news."""
    book.update([found(finding())], at(1.0))
    assert book.update([found(finding())], at(2.0)) == []


def test_doubt_drops_a_wait(book: AlertBook) -> None:
    """A finding that becomes undecided in its hold loses its place."""
    book.update([found(finding(hold=1.0))], at(1.0))
    assert book.update([in_doubt()], at(1.5)) == []
    assert book.deadline() is None
    book.update([found(finding(hold=1.0))], at(1.6))
    assert book.deadline() == 2.6


def test_doubt_keeps_what_fires(book: AlertBook) -> None:
    """What fires stays firing while nobody can say, and is not said again when it is found again."""
    book.update([found(finding())], at(1.0))
    assert book.update([in_doubt()], at(2.0)) == []
    assert kinds(book) == [Kind.STALE]
    assert book.update([found(finding())], at(3.0)) == []


def test_doubt_about_one_kind_keeps_no_other(book: AlertBook) -> None:
    """Only the alert that is in doubt is kept."""
    book.update([found(finding(), finding(Kind.COLLISION))], at(1.0))
    assert said(book.update([in_doubt(Kind.COLLISION)], at(2.0))) == [(Resolution.CLAIM_ENDED, Kind.STALE, "a")]
    assert kinds(book) == [Kind.COLLISION]


def test_a_finding_that_is_found_no_more_resolves_once(book: AlertBook) -> None:
    """It resolves with a reason, dated then, and is gone from the book."""
    book.update([found(finding())], at(1.0))
    (transition,) = book.update([released()], at(4.0))
    assert (transition.step, transition.resolution) == (Step.RESOLVED, Resolution.RELEASED)
    assert (transition.alert.starts_at, transition.alert.ends_at) == (BOOT + 1.0, BOOT + 4.0)
    assert book.firing() == []
    assert book.update([released()], at(5.0)) == []


def test_an_alert_is_left_alone_while_its_worker_is(book: AlertBook) -> None:
    """What is said of one worker ends no other's alert."""
    book.update([found(finding())], at(1.0))
    assert book.update([found(worker="b"), released("c")], at(2.0)) == []
    assert kinds(book) == [Kind.STALE]


def test_the_end_comes_before_the_beginning(book: AlertBook) -> None:
    """When a worker's finding changes kind, the old alert is superseded in the batch in which the new one fires."""
    book.update([found(finding(Kind.ORPHAN), of=ORPHANED)], at(1.0))
    assert said(book.update([found(finding(Kind.STALE))], at(2.0))) == [
        (Resolution.SUPERSEDED, Kind.ORPHAN, "a"),
        (Step.FIRING, Kind.STALE, "a"),
    ]


def test_an_alert_whose_facts_change_is_updated(book: AlertBook) -> None:
    """Another dead owner is an update of the same alert, in the same episode."""
    (fired,) = book.update([found(finding())], at(1.0))
    (updated,) = book.update([found(finding(of=claim(Liveness.DEAD, pid=99)))], at(2.0))
    assert updated.step is Step.UPDATED
    assert updated.alert.finding.claim == claim(Liveness.DEAD, pid=99)
    assert (updated.alert.fingerprint, updated.alert.episode) == (fired.alert.fingerprint, fired.alert.episode)


@pytest.mark.parametrize(
    "changed",
    [
        replace(finding(), evidence=Evidence.REPLACED),
        replace(finding(), other=HELD),
        replace(finding(), other_worker="b"),
        replace(finding(), reason="another"),
        replace(finding(), severity=Severity.CRITICAL),
    ],
    ids=["evidence", "other", "other_worker", "reason", "severity"],
)
def test_what_counts_as_a_changed_fact(book: AlertBook, changed: Finding) -> None:
    """An alert is updated when what it says changes."""
    book.update([found(finding())], at(1.0))
    assert said(book.update([found(changed)], at(2.0))) == [(Step.UPDATED, Kind.STALE, "a")]


def test_what_is_known_besides_is_no_changed_fact(book: AlertBook) -> None:
    """Another pin, or another moment at which a fact was learned, is no news to a person."""
    book.update([found(finding())], at(1.0))
    same = replace(STALE, asked_after=5.0, seen=at(9.0), pin=pane_ref("%1"))
    assert book.update([found(finding(of=same))], at(2.0)) == []


def test_a_change_in_the_hold_goes_unsaid(book: AlertBook) -> None:
    """Before it fires an alert has nothing to update; it fires with what is true then."""
    book.update([found(finding(hold=1.0))], at(1.0))
    other = claim(Liveness.DEAD, pid=99)
    assert book.update([found(finding(hold=1.0, of=other))], at(1.5)) == []
    (fired,) = book.due(at(2.0))
    assert fired.alert.finding.claim == other


def test_a_hold_may_be_changed_while_it_runs(book: AlertBook) -> None:
    """A wait follows a policy that is reloaded, counted from where it began."""
    book.update([found(finding(hold=10.0))], at(1.0))
    book.update([found(finding(hold=2.0))], at(2.0))
    assert book.deadline() == 3.0
    book.update([found(finding(hold=0.0))], at(2.5))
    assert kinds(book) == [Kind.STALE]


def test_a_firing_alert_is_repeated(book: AlertBook) -> None:
    """A firing alert is written again every `repeat`, for as long as it lasts."""
    book.update([found(finding(repeat=60.0))], at(1.0))
    assert book.deadline() == 61.0
    assert book.due(at(60.9)) == []
    assert said(book.due(at(61.0))) == [(Step.REPEATED, Kind.STALE, "a")]
    assert book.deadline() == 121.0
    book.update([released()], at(70.0))
    assert book.deadline() is None
    assert book.due(at(500.0)) == []


def test_an_update_puts_the_repeat_off(book: AlertBook) -> None:
    """An alert that was just written is not due again before its time."""
    book.update([found(finding(repeat=60.0))], at(0.0))
    book.update([found(finding(repeat=60.0, of=claim(Liveness.DEAD, pid=99)))], at(50.0))
    assert book.due(at(60.0)) == []
    assert said(book.due(at(110.0))) == [(Step.REPEATED, Kind.STALE, "a")]


@pytest.mark.parametrize(("before", "after", "due"), [(60.0, 0.0, None), (0.0, 60.0, 70.0), (60.0, 20.0, 30.0)])
def test_a_repeat_may_be_changed_while_it_fires(
    book: AlertBook, before: float, after: float, due: float | None
) -> None:
    """An alert that fires follows a policy that is reloaded, counted from then."""
    book.update([found(finding(repeat=before))], at(0.0))
    assert book.update([found(finding(repeat=after))], at(10.0)) == []
    assert book.deadline() == due


def test_no_repeat_by_zero(book: AlertBook) -> None:
    """A repeat of 0 is never."""
    book.update([found(finding(repeat=0.0))], at(1.0))
    assert book.deadline() is None


def test_the_deadline_is_that_of_the_first(book: AlertBook) -> None:
    """Of several that wait, the first is due first, and the others after it."""
    book.update([found(finding(hold=3.0)), found(finding(worker="b", hold=1.0), worker="b")], at(0.0))
    assert book.deadline() == 1.0
    book.due(at(1.0))
    assert book.deadline() == 3.0


def test_an_empty_book_waits_for_nothing(book: AlertBook) -> None:
    """Without findings there is no deadline, nothing firing, nothing due."""
    assert book.deadline() is None
    assert book.firing() == []
    assert book.due(at(1e9)) == []


def test_many_updates_leave_no_heap_behind(book: AlertBook) -> None:
    """An alert that is updated all day does not fill the memory with its old repeats."""
    for pid in range(1, 2000):
        book.update([found(finding(repeat=60.0, of=claim(Liveness.DEAD, pid=pid)))], at(pid / 1000))
    assert len(book._due) < 200
    assert said(book.due(at(1000.0))) == [(Step.REPEATED, Kind.STALE, "a")]


def test_firing_is_told_oldest_first(book: AlertBook) -> None:
    """What fires is listed in the order in which it began."""
    for moment, worker in enumerate("cab"):
        book.update([found(finding(worker=worker), worker=worker)], at(moment))
    assert [alert.finding.worker for alert in book.firing()] == ["c", "a", "b"]


def test_an_alert_that_is_switched_off_resolves(book: AlertBook) -> None:
    """An alert whose rule is switched off resolves as disabled."""
    book.update([found(finding())], at(1.0))
    off = Ruling("a", view(STALE), disabled=frozenset({Kind.STALE}))
    assert said(book.update([off], at(2.0))) == [(Resolution.DISABLED, Kind.STALE, "a")]


def broken(worker: str = "a") -> Ruling:
    """Make a ruling in which the rule on stale locks has raised."""
    rule = next(rule for rule in RULES if rule.kind == Kind.STALE)
    return Ruling(worker, view(HELD, worker=worker), failed=((rule, ValueError()),))


def test_a_rule_that_raises_ends_nothing(book: AlertBook) -> None:
    """What fires stays firing while its rule fails; other kinds are judged as ever."""
    book.update([found(finding(), finding(Kind.COLLISION))], at(1.0))
    assert said(book.update([broken()], at(2.0))) == [(Resolution.CLAIM_ENDED, Kind.COLLISION, "a")]
    assert kinds(book) == [Kind.STALE]


def test_a_rule_that_raises_on_one_worker_keeps_no_others_alert(book: AlertBook) -> None:
    """An alert on another worker, judged in the same batch, resolves as it should."""
    book.update([found(finding()), found(finding(worker="b"), worker="b")], at(1.0))
    assert said(book.update([broken("a"), released("b")], at(2.0))) == [(Resolution.RELEASED, Kind.STALE, "b")]
    assert [alert.finding.worker for alert in book.firing()] == ["a"]


def test_a_third_partys_rule_has_alerts_like_any_other(book: AlertBook) -> None:
    """A kind that does not ship fires and resolves."""
    haunted = Rule("haunted", lambda *_: ())
    assert said(book.update([found(finding(haunted.kind))], at(1.0))) == [(Step.FIRING, "haunted", "a")]
    assert said(book.update([found()], at(2.0))) == [(Resolution.CLAIM_ENDED, "haunted", "a")]
