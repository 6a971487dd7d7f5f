from itertools import product

import pytest

from rules.evaluate import evaluate
from rules.model import Claim, FileState, Kind, Liveness, SessionState, Severity, Verdict
from rules.policy import Policy, StalePolicy
from rules.verdict import verdict
from tests.rules.builders import OPEN, STALE, claim, findings, undecided, view

STATES = list(product(Liveness, SessionState, Liveness))
ANY_DEATH = Policy(stale=StalePolicy(require_dead_session=False))


@pytest.mark.parametrize(("process", "session", "agent"), STATES)
def test_stale_is_the_verdict_stale(process: Liveness, session: SessionState, agent: Liveness) -> None:
    """A lock is found stale by its verdict; where the verdict is unknown, so is this."""
    judged = verdict(process, session, agent)
    seen = view(claim(process, session, agent))
    assert ((Kind.STALE, None) in findings(seen)) is (judged is Verdict.STALE)
    assert (Kind.STALE in undecided(seen)) is (judged is Verdict.UNVERIFIABLE)


@pytest.mark.parametrize(("process", "session", "agent"), STATES)
def test_without_require_dead_session_a_dead_process_is_enough(
    process: Liveness, session: SessionState, agent: Liveness
) -> None:
    """With `require_dead_session` off a dead process alone is found stale, a living or unknown one never."""
    seen = view(claim(process, session, agent))
    assert ((Kind.STALE, None) in findings(seen, ANY_DEATH)) is (process is Liveness.DEAD)
    assert (Kind.STALE in undecided(seen, ANY_DEATH)) is (process is Liveness.UNKNOWN)


@pytest.mark.parametrize("policy", [Policy(), ANY_DEATH])
def test_nothing_is_stale_before_tmux_has_answered(policy: Policy) -> None:
    """A claim that waits for an answer is neither stale nor not."""
    seen = view(claim(Liveness.DEAD, SessionState.DEAD, settled=False))
    assert findings(seen, policy) == []
    assert Kind.STALE in undecided(seen, policy)


def test_a_file_in_its_grace_is_not_judged() -> None:
    """What an unreadable file was stays as it was while it has its grace, be it that it never was readable."""
    for seen in (view(STALE, file=FileState.SETTLING), view(None, file=FileState.SETTLING)):
        assert findings(seen) == []
        assert Kind.STALE in undecided(seen)


def test_an_invalid_file_is_not_stale() -> None:
    """A file that is no lock is nobody's stale lock."""
    seen = view(STALE, file=FileState.INVALID, unreadable="no JSON")
    assert findings(seen) == [(Kind.INVALID, None)]
    assert undecided(seen) == set()


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (claim(Liveness.DEAD), "process 10 is gone and the lock names no session"),
        (claim(Liveness.DEAD, pid=0), "the lock names no process and the lock names no session"),
        (claim(Liveness.DEAD, SessionState.DEAD), "process 10 is gone and pane %5 does not exist"),
        (
            claim(Liveness.DEAD, SessionState.DEAD, session_id="ada"),
            "process 10 is gone and session ada does not exist",
        ),
        (
            claim(Liveness.DEAD, SessionState.UNKNOWN, Liveness.DEAD),
            "process 10 is gone and the agent that took the lock has ended",
        ),
    ],
)
def test_the_reason_says_what_is_gone(of: Claim, said: str) -> None:
    """The reason names the process and the session that are gone."""
    (found,) = evaluate("a", view(of), Policy()).findings
    assert found.reason == said
    assert found.hint == "lockwarden clean /w/a"


def test_a_session_that_is_there_is_said_to_be_there() -> None:
    """An alert on a dead process alone says that the session is there, and does not propose to clean."""
    (found,) = evaluate("a", view(claim(Liveness.DEAD, SessionState.ALIVE)), ANY_DEATH).findings
    assert found.reason == "process 10 is gone, though pane %5 is there"
    assert found.hint == "lockwarden lock show /w/a"


def test_a_pane_that_works_in_the_directory_is_named() -> None:
    """A stale lock whose directory is in use without a lock says by whom."""
    (found,) = evaluate("a", view(STALE, occupied_by="pane %7"), Policy()).findings
    assert found.reason.endswith("; pane %7 works in it without a lock")
    assert found.occupied_by == "pane %7"


def test_the_policy_is_carried_by_the_finding() -> None:
    """Severity, hold and repeat are those of the policy; the worker and the claim those of the view."""
    policy = Policy(stale=StalePolicy(hold=60.0, repeat=0.0, severity=Severity.ERROR))
    (found,) = evaluate("a b", view(STALE, worker="a b"), policy).findings
    assert (found.hold, found.repeat, found.severity) == (60.0, 0.0, Severity.ERROR)
    assert (found.worker, found.workers, found.claim) == ("a b", ("a b",), STALE)
    assert found.hint == "lockwarden clean '/w/a b'"


def test_what_cannot_be_judged_is_not_stale() -> None:
    """An unverifiable lock is undecided, whatever the policy."""
    for policy in (Policy(), ANY_DEATH):
        assert findings(view(OPEN), policy) == []
        assert Kind.STALE in undecided(view(OPEN), policy)
