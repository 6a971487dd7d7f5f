from dataclasses import replace
from itertools import product

import pytest

from rules.evaluate import evaluate
from rules.model import Claim, Evidence, FileState, Finding, Kind, Liveness, LockView, SessionState, Severity, Verdict
from rules.policy import CollisionPolicy, Policy
from rules.verdict import LIVE, verdict_of
from tests.rules.builders import HELD, OPEN, STALE, claim, findings, pane_ref, undecided, view

OTHER = claim(pid=12)
IN_PANE = claim(Liveness.DEAD, SessionState.ALIVE, pid=12, pane=pane_ref("%5"))
UNREADABLE = (FileState.SETTLING, FileState.INVALID)
ALL = [claim(*facts, pid=12) for facts in product(Liveness, SessionState, Liveness)]


def only(seen: LockView) -> Finding:
    """Give the one finding there is."""
    (finding,) = evaluate(seen.worker, seen, Policy()).findings
    return finding


@pytest.mark.parametrize("evidence", [Evidence.TAKEOVER, Evidence.REPLACED])
@pytest.mark.parametrize("current", ALL, ids=lambda c: f"{c.process}-{c.session}-{c.agent}")
def test_two_live_claims_collide(current: Claim, evidence: Evidence) -> None:
    """A claim collides with an earlier one if both are live; where it is unknown whether it lives, so is this."""
    seen = view(current, earlier=((HELD, evidence),))
    judged = verdict_of(current)
    assert ((Kind.COLLISION, evidence) in findings(seen)) is (judged in LIVE)
    assert (Kind.COLLISION in undecided(seen)) is (judged is Verdict.UNVERIFIABLE)


@pytest.mark.parametrize("before", ALL, ids=lambda c: f"{c.process}-{c.session}-{c.agent}")
def test_the_earlier_claim_must_live_too(before: Claim) -> None:
    """An earlier claim that is dead is no collision; one that cannot be judged keeps what there was."""
    seen = view(HELD, earlier=((before, Evidence.TAKEOVER),))
    judged = verdict_of(before)
    assert ((Kind.COLLISION, Evidence.TAKEOVER) in findings(seen)) is (judged in LIVE)
    assert (Kind.COLLISION in undecided(seen)) is (judged is Verdict.UNVERIFIABLE)


@pytest.mark.parametrize("unsettled", ["current", "earlier"])
def test_a_claim_that_waits_for_an_answer_does_not_collide_yet(unsettled: str) -> None:
    """While tmux owes an answer on either claim, the collision is undecided."""
    waiting = replace(IN_PANE, settled=False)
    current, before = (waiting, HELD) if unsettled == "current" else (HELD, waiting)
    seen = view(current, earlier=((before, Evidence.TAKEOVER),))
    assert findings(seen) == []
    assert Kind.COLLISION in undecided(seen)


def test_the_newest_living_rival_is_named() -> None:
    """Of several earlier claims the newest that is known to live is the rival, and how it was displaced."""
    older, newer = claim(pid=13), claim(pid=14)
    seen = view(
        HELD,
        earlier=(
            (older, Evidence.TAKEOVER),
            (newer, Evidence.REPLACED),
            (OPEN, Evidence.TAKEOVER),
            (STALE, Evidence.TAKEOVER),
        ),
    )
    found = only(seen)
    assert (found.other, found.evidence, found.other_worker) == (newer, Evidence.REPLACED, "a")
    assert found.severity is Severity.CRITICAL
    assert found.reason == "process 11 removed and replaced the lock of process 14, and both are alive"


def test_an_owner_is_named_by_its_session_while_that_lives() -> None:
    """An owner whose writer has exited is named by its pane, not by a pid that is gone."""
    seen = view(HELD, earlier=((IN_PANE, Evidence.TAKEOVER),))
    assert only(seen).reason == "process 11 overwrote the lock of pane %5, and both are alive"


def test_a_file_in_its_grace_keeps_a_collision() -> None:
    """While the file settles it is unknown whose it is."""
    seen = view(HELD, earlier=((OTHER, Evidence.TAKEOVER),), file=FileState.SETTLING)
    assert findings(seen) == []
    assert Kind.COLLISION in undecided(seen)


def test_an_invalid_file_is_nobodys_claim() -> None:
    """Where the file is no lock, there is at most one claim: the earlier one."""
    seen = view(HELD, earlier=((OTHER, Evidence.TAKEOVER),), file=FileState.INVALID)
    assert findings(seen) == [(Kind.INVALID, None)]
    assert undecided(seen) == set()


def test_one_claim_alone_collides_with_nobody() -> None:
    """Without an earlier claim and without a sharer there is nothing to find, and nothing in doubt."""
    assert findings(view(HELD)) == []
    assert undecided(view(HELD)) == set()
    assert Kind.COLLISION not in undecided(view(OPEN))


SHARERS = [
    claim(process, session, pane=pane_ref("%5"))
    for process, session in product(Liveness, (SessionState.ALIVE, SessionState.UNKNOWN))
]


@pytest.mark.parametrize("newer", SHARERS, ids=lambda c: f"{c.process}-{c.session}")
@pytest.mark.parametrize("older", SHARERS, ids=lambda c: f"{c.process}-{c.session}")
def test_two_workers_share_a_living_pane(newer: Claim, older: Claim) -> None:
    """Two locks of one pane are found if it lives, whatever became of the writers; in doubt if that is unknown."""
    seen = view(newer, sharer=("b", older))
    alive = newer.session is older.session is SessionState.ALIVE
    assert ((Kind.COLLISION, Evidence.SHARED_PANE) in findings(seen)) is alive
    assert (Kind.COLLISION in undecided(seen)) is not alive


def test_a_shared_pane_is_one_warning_about_both() -> None:
    """The finding is on the worker with the newer lock, about both in order, and only a warning."""
    found = only(view(IN_PANE, worker="b", sharer=("a", IN_PANE)))
    assert (found.worker, found.other_worker, found.workers) == ("b", "a", ("a", "b"))
    assert found.severity is Severity.WARNING
    assert found.reason == "the locks of b and a both name pane %5"


@pytest.mark.parametrize("unsettled", ["newer", "older"])
def test_a_shared_pane_waits_for_the_answer_that_is_owed(unsettled: str) -> None:
    """A pane that was alive before the writer's death may have gone with it: nothing is found before tmux says."""
    waiting = replace(IN_PANE, settled=False)
    newer, older = (waiting, IN_PANE) if unsettled == "newer" else (IN_PANE, waiting)
    seen = view(newer, sharer=("b", older))
    assert findings(seen) == []
    assert Kind.COLLISION in undecided(seen)


@pytest.mark.parametrize("state", UNREADABLE)
def test_a_shared_pane_is_undecided_while_the_lock_cannot_be_read(state: FileState) -> None:
    """A file that cannot be read may or may not name the pane still."""
    seen = view(IN_PANE, sharer=("b", IN_PANE), file=state)
    assert (Kind.COLLISION, Evidence.SHARED_PANE) not in findings(seen)
    assert Kind.COLLISION in undecided(seen)


def test_a_pane_that_is_not_known_any_more_may_be_shared_still() -> None:
    """Where the server cannot say which pane it is, a shared pane is in doubt, not cleared."""
    lost = claim(Liveness.ALIVE, SessionState.UNKNOWN)
    assert Kind.COLLISION in undecided(view(lost, sharer=("b", IN_PANE)))
    assert Kind.COLLISION in undecided(view(IN_PANE, sharer=("b", lost)))


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        (IN_PANE, claim(Liveness.ALIVE, SessionState.DEAD)),
        (claim(Liveness.ALIVE, SessionState.DEAD), IN_PANE),
        (IN_PANE, replace(IN_PANE, pane=pane_ref("%6"))),
    ],
    ids=["the older one's is gone", "the newer one's is gone", "two panes"],
)
def test_a_pane_that_is_gone_or_another_is_not_shared(newer: Claim, older: Claim) -> None:
    """Sharing ends with the pane, and two panes are not one."""
    seen = view(newer, sharer=("b", older))
    assert (Kind.COLLISION, Evidence.SHARED_PANE) not in findings(seen)
    assert Kind.COLLISION not in undecided(seen)


def test_shared_panes_may_be_switched_off() -> None:
    """`shared_pane = false` silences that evidence alone."""
    policy = Policy(collision=CollisionPolicy(shared_pane=False))
    seen = view(IN_PANE, sharer=("b", IN_PANE), earlier=((OTHER, Evidence.TAKEOVER),))
    assert findings(seen, policy) == [(Kind.COLLISION, Evidence.TAKEOVER)]


def test_a_worker_may_have_both_kinds_of_collision() -> None:
    """Two owners of one worker and two workers of one pane are two findings."""
    seen = view(IN_PANE, sharer=("b", IN_PANE), earlier=((OTHER, Evidence.TAKEOVER),))
    assert findings(seen) == [(Kind.COLLISION, Evidence.TAKEOVER), (Kind.COLLISION, Evidence.SHARED_PANE)]
