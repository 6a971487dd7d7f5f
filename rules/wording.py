"""How facts are said to a person: the clauses that reasons share, and the commands that hints name."""

import shlex

from rules.model import Claim, LockView, SessionState


def process_of(claim: Claim) -> str:
    """Name the recorded process: `process 4242`."""
    return f"process {claim.record.pid}" if claim.record.pid > 0 else "no process"


def session_of(claim: Claim) -> str:
    """Name what the lock's session id points at: `session gt-ada`, `pane %5`."""
    session_id = claim.record.session_id
    return f"pane {session_id}" if session_id.startswith("%") else f"session {session_id}"


def owner_of(claim: Claim) -> str:
    """Name an owner by its session where it has one that lives, else by its process."""
    if claim.session is SessionState.ALIVE:
        return session_of(claim)
    return process_of(claim)


def show(view: LockView) -> str:
    """Give the command that shows a worker's lock."""
    return f"lockwarden lock show {shlex.quote(view.directory)}"


def clean(view: LockView) -> str:
    """Give the command that removes a worker's lock, if it is still stale by then."""
    return f"lockwarden clean {shlex.quote(view.directory)}"
