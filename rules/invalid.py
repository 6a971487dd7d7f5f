"""Invalid: there is a file named like a lock that cannot be read as one."""

from collections.abc import Iterator

from rules import wording
from rules.model import FileState, Finding, Kind, LockView, Undecided
from rules.policy import Policy


def invalid(view: LockView, policy: Policy) -> Iterator[Finding | Undecided]:
    """Find a lock file that has stayed unreadable for longer than its grace.

    A half-written file is no alert: the older writer truncates and writes in place, and a reader may come
    in between.
    """
    if view.file is FileState.SETTLING:
        yield Undecided(Kind.INVALID, (view.worker,))
    elif view.file is FileState.INVALID:
        yield Finding(
            kind=Kind.INVALID,
            worker=view.worker,
            workers=(view.worker,),
            severity=policy.invalid.severity,
            reason=f"the lock file cannot be read: {view.unreadable}",
            hint=wording.show(view),
            hold=policy.invalid.hold,
            repeat=policy.invalid.repeat,
        )
