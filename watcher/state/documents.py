"""Claims and alerts as the state file holds them, and the way there and back.

The stored form is apart from `rules.model` on purpose: the file outlives the program that wrote it. Times are
epoch seconds or RFC 3339; what is measured on the monotonic clock is not stored, for it means nothing to
another run.
"""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from rules.alerts import Alert
from rules.model import (
    Claim,
    Evidence,
    Finding,
    Liveness,
    LockRecord,
    Moment,
    PaneRef,
    ProcessIdentity,
    SessionRef,
    SessionState,
    Severity,
)

_END_OF_TIME = 253_402_300_799.0
"""The last second of the year 9999, beyond which no datetime goes."""

Wall = Annotated[float, Meta(ge=0, le=_END_OF_TIME, description="Seconds since the epoch.")]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]


class ProcessDocument(Struct, frozen=True):
    """One process of one boot: its pid, the inode of its pidfd (0: unknown), its start."""

    pid: int
    inode: int
    start: int


class TmuxDocument(Struct, frozen=True, omit_defaults=True):
    """A pane (`%N`) or a session (`$N`) of one run of one tmux server; `server` is its pid."""

    socket: str
    server: int
    pane: str = ""
    session: str = ""


class ClaimDocument(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One owner's hold on one worker: what its lock says, when it was first read so, and what became known."""

    pid: int = 0
    acquired_at: Annotated[datetime, Meta(tz=True)] | None = None
    session_id: str = ""
    hostname: str = ""
    seen_at: Wall
    uid: int = 0
    process: Liveness = Liveness.UNKNOWN
    session: SessionState = SessionState.UNKNOWN
    agent: Liveness = Liveness.UNKNOWN
    identity: ProcessDocument | None = None
    agent_identity: ProcessDocument | None = None
    pin: TmuxDocument | None = None
    former: TmuxDocument | None = None
    pane: TmuxDocument | None = None
    tmux_socket: str = ""
    descriptive: bool = False
    settled: bool = True


class FindingDocument(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an alert says. `hold` and `repeat` are in seconds."""

    kind: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$")]
    worker: str
    severity: Severity
    reason: str
    hint: str
    workers: tuple[str, ...]
    claim: ClaimDocument | None = None
    evidence: Evidence | None = None
    other: ClaimDocument | None = None
    other_worker: str = ""
    occupied_by: str = ""
    hold: Seconds = 0.0
    repeat: Seconds = 0.0


class AlertDocument(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An alert that fires, or where `ends_at` is set, fired."""

    fingerprint: Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
    starts_at: Wall
    ends_at: Wall | None = None
    finding: FindingDocument


def store_claim(claim: Claim) -> ClaimDocument:
    """Give a claim as it is stored."""
    record = claim.record
    return ClaimDocument(
        pid=record.pid,
        acquired_at=record.acquired_at,
        session_id=record.session_id,
        hostname=record.hostname,
        seen_at=claim.seen.wall,
        uid=claim.uid,
        process=claim.process,
        session=claim.session,
        agent=claim.agent,
        identity=_store_process(claim.identity),
        agent_identity=_store_process(claim.agent_identity),
        pin=_store_ref(claim.pin),
        former=_store_ref(claim.former),
        pane=_store_ref(claim.pane),
        tmux_socket=claim.tmux_socket,
        descriptive=claim.descriptive,
        settled=claim.settled,
    )


def load_claim(document: ClaimDocument, mono: float) -> Claim:
    """Give a stored claim back to a run that began at `mono`: tmux must be asked after that."""
    pane = _load_ref(document.pane)
    return Claim(
        record=LockRecord(document.pid, document.acquired_at, document.session_id, document.hostname),
        seen=Moment(document.seen_at, mono),
        uid=document.uid,
        process=document.process,
        session=document.session,
        agent=document.agent,
        identity=_load_process(document.identity),
        agent_identity=_load_process(document.agent_identity),
        pin=_load_ref(document.pin),
        former=_load_ref(document.former),
        pane=pane if isinstance(pane, PaneRef) else None,
        tmux_socket=document.tmux_socket,
        descriptive=document.descriptive,
        asked_after=mono,
        settled=document.settled,
    )


def store_alert(alert: Alert) -> AlertDocument:
    """Give an alert as it is stored."""
    finding = alert.finding
    return AlertDocument(
        fingerprint=alert.fingerprint,
        starts_at=alert.starts_at,
        ends_at=alert.ends_at,
        finding=FindingDocument(
            kind=str(finding.kind),
            worker=finding.worker,
            severity=finding.severity,
            reason=finding.reason,
            hint=finding.hint,
            workers=finding.workers,
            claim=store_claim(finding.claim) if finding.claim is not None else None,
            evidence=finding.evidence,
            other=store_claim(finding.other) if finding.other is not None else None,
            other_worker=finding.other_worker,
            occupied_by=finding.occupied_by,
            hold=finding.hold,
            repeat=finding.repeat,
        ),
    )


def load_alert(document: AlertDocument, mono: float) -> Alert:
    """Give a stored alert back to a run that began at `mono`."""
    stored = document.finding
    finding = Finding(
        kind=stored.kind,
        worker=stored.worker,
        severity=stored.severity,
        reason=stored.reason,
        hint=stored.hint,
        workers=stored.workers,
        claim=load_claim(stored.claim, mono) if stored.claim is not None else None,
        evidence=stored.evidence,
        other=load_claim(stored.other, mono) if stored.other is not None else None,
        other_worker=stored.other_worker,
        occupied_by=stored.occupied_by,
        hold=stored.hold,
        repeat=stored.repeat,
    )
    return Alert(finding, document.fingerprint, document.starts_at, document.ends_at)


def _store_process(identity: ProcessIdentity | None) -> ProcessDocument | None:
    return ProcessDocument(identity.pid, identity.inode, identity.start) if identity is not None else None


def _load_process(document: ProcessDocument | None) -> ProcessIdentity | None:
    return ProcessIdentity(document.pid, document.inode, document.start) if document is not None else None


def _store_ref(ref: PaneRef | SessionRef | None) -> TmuxDocument | None:
    match ref:
        case PaneRef(socket, server, pane):
            return TmuxDocument(socket, server, pane=pane)
        case SessionRef(socket, server, session):
            return TmuxDocument(socket, server, session=session)
        case None:
            return None


def _load_ref(document: TmuxDocument | None) -> PaneRef | SessionRef | None:
    if document is None:
        return None
    if document.pane:
        return PaneRef(document.socket, document.server, document.pane)
    return SessionRef(document.socket, document.server, document.session)
