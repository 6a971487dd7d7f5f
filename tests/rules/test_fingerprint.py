from dataclasses import replace

import pytest

from rules.alerts import AlertBook, Scope, Step
from rules.model import Evidence, Finding, Kind, Liveness
from rules.resolution import Resolution
from tests.rules.builders import claim, finding, found, said
from watcher.testing import SCOPE, at


@pytest.fixture
def book() -> AlertBook:
    """Give an empty book."""
    return AlertBook(SCOPE)


def test_a_fingerprint_names_the_trouble_and_nothing_else(book: AlertBook) -> None:
    """Kind, host, workspace and worker make it; pid, session and moment do not."""
    (one,) = book.update([found(finding())], at(1.0))
    (two,) = AlertBook(SCOPE).update([found(finding(of=claim(Liveness.DEAD, pid=99)))], at(9.0))
    assert one.alert.fingerprint == two.alert.fingerprint == SCOPE.fingerprint(Kind.STALE, ["a"])
    assert len(one.alert.fingerprint) == 16
    assert int(one.alert.fingerprint, 16) >= 0


def test_other_troubles_have_other_fingerprints() -> None:
    """Another kind, worker, workspace, host or pair of workers is another trouble."""
    fingerprints = {
        scope.fingerprint(kind, workers)
        for scope in (SCOPE, Scope("vm2", "/w"), Scope("vm", "/w2"))
        for kind in Kind
        for workers in (("a",), ("b",), ("a", "b"), ("ab",))
    }
    assert len(fingerprints) == 3 * 4 * 4


def test_a_fingerprint_stays_the_same_over_versions() -> None:
    """Others remember fingerprints: the hash must not change."""
    assert SCOPE.fingerprint("stale", ["a"]) == "ef39c18e5cf5f260"


def test_a_fingerprint_takes_any_path() -> None:
    """A path that is not UTF-8 has a fingerprint of its own."""
    assert SCOPE.fingerprint("stale", ["\udcff"]) != SCOPE.fingerprint("stale", ["\udcfe"])


def test_an_episode_is_one_run_of_an_alert(book: AlertBook) -> None:
    """The episode is the same from firing to resolution, and another when the trouble comes back."""
    (fired,) = book.update([found(finding())], at(1.0))
    (resolved,) = book.update([found()], at(2.0))
    (again,) = book.update([found(finding())], at(3.0))
    assert fired.alert.episode == resolved.alert.episode != again.alert.episode
    assert fired.alert.fingerprint == again.alert.fingerprint


def shared(worker: str, other: str) -> Finding:
    """Make the finding that two workers share a pane."""
    pair = (min(worker, other), max(worker, other))
    return replace(finding(Kind.COLLISION, worker), workers=pair, other_worker=other, evidence=Evidence.SHARED_PANE)


def test_a_shared_pane_is_one_alert_for_both(book: AlertBook) -> None:
    """When the other worker's lock becomes the newer one, the alert moves to it and goes on."""
    (fired,) = book.update([found(shared("b", "a"), worker="b")], at(1.0))
    (moved,) = book.update([found(shared("a", "b"), worker="a"), found(worker="b")], at(2.0))
    assert moved.step is Step.UPDATED
    assert moved.alert.fingerprint == fired.alert.fingerprint
    assert said(book.update([found(worker="b")], at(3.0))) == []
    assert said(book.update([found(worker="a")], at(4.0))) == [(Resolution.CLAIM_ENDED, Kind.COLLISION, "a")]
