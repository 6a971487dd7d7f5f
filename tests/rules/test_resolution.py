from dataclasses import replace

import pytest

from rules.evaluate import Ruling, evaluate
from rules.model import Claim, Evidence, FileState, Finding, Liveness, LockView, SessionState, Verdict
from rules.policy import CollisionPolicy, Policy, StalePolicy
from rules.resolution import Resolution, resolution
from tests.rules.builders import HELD, STALE, claim, pane_ref, view

DEAD, ALIVE = Liveness.DEAD, Liveness.ALIVE
ENDED = claim(DEAD, SessionState.DEAD)
ORPHAN = claim(ALIVE, SessionState.DEAD)
UNKNOWN_SESSION = claim(DEAD, SessionState.UNKNOWN, DEAD)
IN_PANE = claim(DEAD, SessionState.ALIVE, pane=pane_ref("%5"))
RIVAL = ((claim(pid=12), Evidence.TAKEOVER),)
INVALID = view(HELD, file=FileState.INVALID, unreadable="no JSON")


def first(seen: LockView, policy: Policy | None = None) -> Finding:
    """Give the first that the rules find."""
    return evaluate(seen.worker, seen, policy or Policy()).findings[0]


ENDS: dict[str, tuple[LockView, LockView, Resolution]] = {
    "stale, and the session is back": (
        view(ENDED),
        view(replace(ENDED, session=SessionState.ALIVE)),
        Resolution.SESSION_RETURNED,
    ),
    "stale, and its agent is found alive": (
        view(UNKNOWN_SESSION),
        view(replace(UNKNOWN_SESSION, agent=ALIVE)),
        Resolution.OWNER_ALIVE,
    ),
    "stale, and its process is found alive": (view(STALE), view(replace(STALE, process=ALIVE)), Resolution.OWNER_ALIVE),
    "stale, and written anew": (view(ENDED), view(claim(pid=99)), Resolution.REFRESHED),
    "stale, and written anew in its pane": (
        view(ENDED),
        view(replace(IN_PANE, record=HELD.record)),
        Resolution.REFRESHED,
    ),
    "stale, and then no lock any more": (view(ENDED), INVALID, Resolution.SUPERSEDED),
    "stale, and an orphan of the next owner": (view(ENDED), view(ORPHAN), Resolution.SUPERSEDED),
    "orphan, and its process ends": (view(ORPHAN), view(replace(ORPHAN, process=DEAD)), Resolution.SUPERSEDED),
    "orphan, and its session is back": (
        view(ORPHAN),
        view(replace(ORPHAN, session=SessionState.ALIVE)),
        Resolution.SESSION_RETURNED,
    ),
    "orphan, and its session returns as it ends": (
        view(ORPHAN),
        view(replace(ORPHAN, process=DEAD, session=SessionState.ALIVE)),
        Resolution.SESSION_RETURNED,
    ),
    "orphan, and written anew": (view(ORPHAN), view(claim(pid=99)), Resolution.REFRESHED),
    "invalid, and readable": (INVALID, view(HELD), Resolution.READABLE),
    "invalid, and readable as a stale lock": (INVALID, view(ENDED), Resolution.SUPERSEDED),
    "collision, and the rival ends": (view(HELD, earlier=RIVAL), view(HELD), Resolution.CLAIM_ENDED),
    "collision, and the newcomer ends": (view(HELD, earlier=RIVAL), view(STALE, earlier=RIVAL), Resolution.CLAIM_ENDED),
    "collision, and the newcomer is orphaned alone": (view(HELD, earlier=RIVAL), view(ORPHAN), Resolution.CLAIM_ENDED),
    "shared pane, and no more": (
        view(IN_PANE, sharer=("b", IN_PANE)),
        view(IN_PANE),
        Resolution.CLAIM_ENDED,
    ),
}


@pytest.mark.parametrize(("before", "after", "reason"), list(ENDS.values()), ids=list(ENDS))
def test_why_an_alert_is_over(before: LockView, after: LockView, reason: Resolution) -> None:
    """What has become of the lock says in one word why the alert is over."""
    found, now = first(before), evaluate("a", after, Policy())
    assert found not in now.findings
    assert resolution(found, {"a": now}) is reason


EVERY_KIND = [view(ENDED), view(ORPHAN), INVALID, view(HELD, earlier=RIVAL), view(IN_PANE, sharer=("b", IN_PANE))]


@pytest.mark.parametrize("before", EVERY_KIND, ids=lambda seen: str(seen.verdict))
def test_a_lock_that_is_gone_is_released(before: LockView) -> None:
    """Every alert on a lock resolves as released when the lock goes."""
    assert resolution(first(before), {"a": Ruling("a", None)}) is Resolution.RELEASED


def test_the_release_of_either_lock_ends_a_shared_pane() -> None:
    """A shared pane is released by either worker, though the alert is on one."""
    found = first(view(IN_PANE, sharer=("b", IN_PANE)))
    rulings = {"a": evaluate("a", view(IN_PANE), Policy()), "b": Ruling("b", None)}
    assert resolution(found, rulings) is Resolution.RELEASED


@pytest.mark.parametrize("before", EVERY_KIND, ids=lambda seen: str(seen.verdict))
def test_a_rule_that_is_switched_off_ends_its_alerts(before: LockView) -> None:
    """An alert whose rule is off, or whose worker is now exempt, resolves as disabled."""
    found = first(before)
    assert resolution(found, {"a": evaluate("a", before, Policy(ignore_workers=("a",)))}) is Resolution.DISABLED


def test_disabled_wins_over_what_else_happened() -> None:
    """An alert that is switched off is not said to be superseded by one that is on."""
    off = Policy(stale=StalePolicy(enabled=False))
    assert resolution(first(view(ENDED)), {"a": evaluate("a", INVALID, off)}) is Resolution.DISABLED


def test_a_rival_that_ends_supersedes_nothing() -> None:
    """A collision is no state of the lock: that the lock is stale now is another matter."""
    found = first(view(HELD, earlier=RIVAL), Policy(collision=CollisionPolicy(hold=1.0)))
    assert resolution(found, {"a": evaluate("a", view(ENDED), Policy())}) is Resolution.CLAIM_ENDED


def test_every_reason_has_its_test() -> None:
    """The words of the contract are those that are tested here, no more and no fewer."""
    tested = {reason for *_, reason in ENDS.values()} | {Resolution.RELEASED, Resolution.DISABLED}
    assert tested == set(Resolution)


@pytest.mark.parametrize("of", [STALE, ENDED, UNKNOWN_SESSION])
def test_the_examples_are_what_they_say(of: Claim) -> None:
    """The claims that these tests call stale are stale."""
    assert view(of).verdict is Verdict.STALE
