"""Stale: the lock is there, its owner is not."""

from collections.abc import Iterator

from rules import wording
from rules.model import Claim, FileState, Finding, Kind, Liveness, LockView, SessionState, Undecided, Verdict
from rules.policy import Policy


def stale(view: LockView, policy: Policy) -> Iterator[Finding | Undecided]:
    """Find a lock whose owner is known to be gone.

    With `require_dead_session` off, a dead recorded process is enough, whatever its session does: one of the
    two meanings that the original tool gave the word.
    """
    claim = view.claim
    if view.file is FileState.INVALID:
        return
    if claim is None or view.file is FileState.SETTLING or not claim.settled:
        yield Undecided(Kind.STALE, (view.worker,))
    elif view.verdict is Verdict.STALE or (not policy.stale.require_dead_session and claim.process is Liveness.DEAD):
        yield Finding(
            kind=Kind.STALE,
            worker=view.worker,
            workers=(view.worker,),
            severity=policy.stale.severity,
            reason=_reason(claim) + (f"; {view.occupied_by} works in it without a lock" if view.occupied_by else ""),
            hint=wording.clean(view) if view.verdict is Verdict.STALE else wording.show(view),
            claim=claim,
            occupied_by=view.occupied_by,
            hold=policy.stale.hold,
            repeat=policy.stale.repeat,
        )
    elif view.verdict is Verdict.UNVERIFIABLE:
        yield Undecided(Kind.STALE, (view.worker,))


def _reason(claim: Claim) -> str:
    gone = f"process {claim.record.pid} is gone" if claim.record.pid > 0 else "the lock names no process"
    match claim.session:
        case SessionState.NONE:
            return f"{gone} and the lock names no session"
        case SessionState.DEAD:
            return f"{gone} and {wording.session_of(claim)} does not exist"
        case SessionState.ALIVE:
            return f"{gone}, though {wording.session_of(claim)} is there"
        case SessionState.UNKNOWN:
            return f"{gone} and the agent that took the lock has ended"
