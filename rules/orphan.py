"""Orphan: the process lives on, the session it was to be reached by has ended."""

from collections.abc import Iterator

from rules import wording
from rules.model import FileState, Finding, Kind, Liveness, LockView, SessionState, Undecided, Verdict
from rules.policy import Policy


def orphan(view: LockView, policy: Policy) -> Iterator[Finding | Undecided]:
    """Find a living process whose session is known to have ended.

    The default hold is there because an agent gets SIGHUP when its session is killed, and needs a moment
    to go: that is no orphan.
    """
    claim = view.claim
    if view.file is FileState.INVALID:
        return
    if claim is None or view.file is FileState.SETTLING or not claim.settled:
        yield Undecided(Kind.ORPHAN, (view.worker,))
    elif view.verdict is Verdict.ORPHAN:
        yield Finding(
            kind=Kind.ORPHAN,
            worker=view.worker,
            workers=(view.worker,),
            severity=policy.orphan.severity,
            reason=f"{wording.process_of(claim)} is alive but {wording.session_of(claim)} does not exist",
            hint=wording.show(view),
            claim=claim,
            hold=policy.orphan.hold,
            repeat=policy.orphan.repeat,
        )
    elif view.verdict is Verdict.UNVERIFIABLE or (
        claim.process is Liveness.ALIVE and claim.session is SessionState.UNKNOWN
    ):
        yield Undecided(Kind.ORPHAN, (view.worker,))
