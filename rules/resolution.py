"""Why an alert is over: each resolved line says so in one word."""

from collections.abc import Mapping
from enum import StrEnum

from rules.evaluate import Ruling
from rules.model import Finding, Kind, Liveness, LockView, SessionState


class Resolution(StrEnum):
    """The reasons for which an alert resolves."""

    RELEASED = "released"
    OWNER_ALIVE = "owner_alive"
    REFRESHED = "refreshed"
    SESSION_RETURNED = "session_returned"
    CLAIM_ENDED = "claim_ended"
    READABLE = "readable"
    SUPERSEDED = "superseded"
    DISABLED = "disabled"


_EXCLUSIVE = frozenset({Kind.STALE, Kind.ORPHAN, Kind.INVALID})
"""A lock is at most one of these at a time: one takes the place of another."""


def resolution(finding: Finding, rulings: Mapping[str, Ruling]) -> Resolution:
    """Say why a finding that fired is found no more, by what the rules say now of the workers it is about."""
    concerned = [rulings[worker] for worker in finding.workers if worker in rulings]
    if any(ruling.view is None for ruling in concerned):
        return Resolution.RELEASED
    if any(finding.kind in ruling.disabled for ruling in concerned):
        return Resolution.DISABLED
    ruling = rulings[finding.worker]
    if finding.kind in _EXCLUSIVE and any(other.kind in _EXCLUSIVE for other in ruling.findings):
        return Resolution.SUPERSEDED
    if finding.kind == Kind.INVALID:
        return Resolution.READABLE
    if finding.kind in _EXCLUSIVE and ruling.view is not None:
        return _recovered(finding, ruling.view)
    return Resolution.CLAIM_ENDED


def _recovered(finding: Finding, view: LockView) -> Resolution:
    before, claim = finding.claim, view.claim
    if claim is None or before is None:
        return Resolution.CLAIM_ENDED
    if claim.record != before.record:
        return Resolution.REFRESHED
    if claim.session is SessionState.ALIVE:
        return Resolution.SESSION_RETURNED
    if Liveness.ALIVE in {claim.process, claim.agent}:
        return Resolution.OWNER_ALIVE
    return Resolution.CLAIM_ENDED
