"""Collision: two live claims on one identity."""

from collections.abc import Iterator

from rules import wording
from rules.model import (
    Claim,
    EarlierClaim,
    Evidence,
    FileState,
    Finding,
    Kind,
    LockView,
    SessionState,
    Severity,
    Undecided,
    Verdict,
)
from rules.policy import Policy
from rules.verdict import is_live, verdict_of

_HOW = {
    Evidence.TAKEOVER: "overwrote the lock of",
    Evidence.REPLACED: "removed and replaced the lock of",
}


def collision(view: LockView, policy: Policy) -> Iterator[Finding | Undecided]:
    """Find two owners of one worker, and two workers of one pane."""
    yield from _contested(view, policy)
    yield from _shared(view, policy)


def _contested(view: LockView, policy: Policy) -> Iterator[Finding | Undecided]:
    claim = view.claim
    if claim is None or not view.earlier or view.file is FileState.INVALID:
        return
    undecided = Undecided(Kind.COLLISION, (view.worker,))
    if view.file is FileState.SETTLING or _is_open(claim):
        yield undecided
    elif is_live(claim):
        rival = next((e for e in reversed(view.earlier) if e.claim.settled and is_live(e.claim)), None)
        if rival is not None:
            yield _finding(view, claim, rival, policy)
        elif any(_is_open(earlier.claim) for earlier in view.earlier):
            yield undecided


def _is_open(claim: Claim) -> bool:
    return not claim.settled or verdict_of(claim) is Verdict.UNVERIFIABLE


def _finding(view: LockView, claim: Claim, rival: EarlierClaim, policy: Policy) -> Finding:
    return Finding(
        kind=Kind.COLLISION,
        worker=view.worker,
        workers=(view.worker,),
        severity=policy.collision.severity,
        reason=f"{wording.owner_of(claim)} {_HOW[rival.evidence]} {wording.owner_of(rival.claim)}, and both are alive",
        hint=wording.show(view),
        claim=claim,
        evidence=rival.evidence,
        other=rival.claim,
        other_worker=view.worker,
        hold=policy.collision.hold,
        repeat=policy.collision.repeat,
    )


def _shared(view: LockView, policy: Policy) -> Iterator[Finding | Undecided]:
    claim, sharer = view.claim, view.older_sharer
    if claim is None or sharer is None or not policy.collision.shared_pane:
        return
    workers, pane = tuple(sorted((view.worker, sharer.worker))), claim.pane
    if view.file is not FileState.READABLE or any(_is_unsure(c) for c in (claim, sharer.claim)):
        yield Undecided(Kind.COLLISION, workers)
    elif pane is not None and pane == sharer.claim.pane:
        yield Finding(
            kind=Kind.COLLISION,
            worker=view.worker,
            workers=workers,
            severity=Severity.WARNING,
            reason=f"the locks of {view.worker} and {sharer.worker} both name pane {pane.pane}",
            hint=wording.show(view),
            claim=claim,
            evidence=Evidence.SHARED_PANE,
            other=sharer.claim,
            other_worker=sharer.worker,
            hold=policy.collision.hold,
            repeat=policy.collision.repeat,
        )


def _is_unsure(claim: Claim) -> bool:
    """Say whether it is not known now if the claim's pane lives, or which one it is."""
    return not claim.settled or claim.session is SessionState.UNKNOWN
