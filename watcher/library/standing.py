"""Where one who wants a lock stands with it: what it adds up to, and whether it is his own."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from rules.identity import Host, same_owner
from rules.model import Claim, Liveness, LockRecord, LockView, SessionState, Verdict
from watcher import parts
from watcher.errors import one_line
from watcher.events import Reading
from watcher.locks.lockfile import LockFile
from watcher.settings import Settings
from watcher.survey import probed, views_of

OURS = "locked (by us)"
UNLOCKED = "unlocked"

_THEIRS, _MINE = ".", "mine"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lock or wants to: a process, and the tmux session, `$N` or pane that it is reached by, if any."""

    pid: int
    session_id: str = ""

    def record(self, host: Host) -> LockRecord:
        """Give the lock that this owner would have by now."""
        return LockRecord(self.pid, datetime.now(UTC), self.session_id, host.name)


@dataclass(frozen=True, slots=True)
class Standing:
    """One look at one lock through one owner's eyes: the file that was judged, what came of it, and is it `ours`.

    `text` says it in a few words: `locked by PID 42 (session: x)`.
    """

    file: LockFile
    view: LockView
    ours: bool
    text: str

    @property
    def may_be_replaced(self) -> bool:
        """True where the lock is ours, stale, or has been unreadable for longer than its grace."""
        return self.ours or self.view.verdict in {Verdict.STALE, Verdict.INVALID}


def stand(worker: str, file: LockFile, owner: Owner, settings: Settings) -> Standing:
    """Judge the lock of a worker directory as `owner` has to.

    May take two seconds where a tmux server hangs. It is asked only where it makes a difference: a dead process
    may live on in its session, and a living one may sit in the same pane as we.
    """
    host = parts.this_host(settings)
    theirs = probed(file.content, file.uid, here=host.is_here)
    mine = probed(owner.record(host), os.geteuid(), here=host.is_here)
    if not _is_for_tmux(theirs, owner, host):
        settings = msgspec.structs.replace(settings, tmux=msgspec.structs.replace(settings.tmux, enabled=False))
    # As two workers of one workspace: so the same answers tell them apart.
    views = views_of(worker, {_THEIRS: theirs, _MINE: mine}, settings)
    view, claim = views[_THEIRS], views[_MINE].claim
    is_ours = (
        claim is not None
        and view.claim is not None
        and same_owner(view.claim, claim, host)
        and _is_proven(view.claim, claim)
    )
    return Standing(file, view, is_ours, OURS if is_ours else one_line(_text(view, host)))


def _is_proven(theirs: Claim, ours: Claim) -> bool:
    """Say whether one owner is known to be the other: equal numbers of sessions that nobody can look up are no proof.

    Who is to be accused of nothing has the benefit of the doubt; who wants to replace a lock has not.
    """
    same_process = theirs.process is Liveness.ALIVE and theirs.record.pid == ours.record.pid
    return same_process or SessionState.UNKNOWN not in {theirs.session, ours.session}


def _is_for_tmux(theirs: Reading, owner: Owner, host: Host) -> bool:
    record = theirs.content
    if not isinstance(record, LockRecord) or not record.session_id or not host.is_here(record.hostname):
        return False
    alive = theirs.process is not None and theirs.process.state is Liveness.ALIVE
    return not alive or bool(owner.session_id)


def _text(view: LockView, host: Host) -> str:
    claim = view.claim
    if claim is None:
        return f"invalid: {view.unreadable}" if view.verdict is Verdict.INVALID else f"unverifiable ({view.unreadable})"
    pid, session = claim.record.pid, claim.record.session_id
    locked = f"locked by PID {pid} (session: {session or 'none'})"
    return {
        Verdict.HELD: locked,
        Verdict.ORPHAN: locked,
        Verdict.HELD_BY_SESSION: f"held by session {session} (dead PID {pid})",
        Verdict.HELD_BY_AGENT: f"held by the agent behind dead PID {pid}",
        Verdict.STALE: f"stale (dead PID {pid})",
        Verdict.UNVERIFIABLE: f"unverifiable ({doubt(claim, host)})",
        Verdict.INVALID: f"invalid: {view.unreadable}",
    }[view.verdict]


def doubt(claim: Claim, host: Host) -> str:
    """Name what cannot be judged of an unverifiable claim."""
    record = claim.record
    if not host.is_here(record.hostname):
        return f"host {record.hostname}"
    if claim.process is Liveness.UNKNOWN:
        return f"PID {record.pid}"
    return f"session {record.session_id}, dead PID {record.pid}"
