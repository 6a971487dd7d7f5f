"""Facts for tests, each with as few words as the fact under test needs. Times are monotonic seconds."""

from rules.alerts import AlertBook, Transition
from rules.evaluate import Ruling, evaluate
from rules.model import (
    Claim,
    EarlierClaim,
    Evidence,
    FileState,
    Finding,
    Kind,
    Liveness,
    LockView,
    PaneRef,
    SessionState,
    Severity,
    SharedPane,
    Undecided,
    Verdict,
)
from rules.policy import Policy
from rules.verdict import verdict_of
from watcher.testing import at, record


def pane_ref(pane: str, *, server: int = 1, socket: str = "/s") -> PaneRef:
    """Name a pane."""
    return PaneRef(socket, server, pane)


def claim(
    process: Liveness = Liveness.ALIVE,
    session: SessionState = SessionState.NONE,
    agent: Liveness = Liveness.UNKNOWN,
    *,
    pid: int = 10,
    session_id: str | None = None,
    pane: PaneRef | None = None,
    settled: bool = True,
    taken: float = 0.0,
) -> Claim:
    """Make a claim by what is known of it; it names pane %5 where it names a session at all."""
    if session_id is None:
        session_id = "" if session is SessionState.NONE else "%5"
    return Claim(
        record(pid, session_id, taken=taken),
        at(taken),
        process=process,
        session=session,
        agent=agent,
        pin=pane,
        pane=pane,
        settled=settled,
    )


HELD = claim(pid=11)
STALE = claim(Liveness.DEAD, pid=11)
OPEN = claim(Liveness.UNKNOWN, pid=11)
"""A claim that nobody can judge."""


def view(
    of: Claim | None = HELD,
    *,
    worker: str = "a",
    file: FileState = FileState.READABLE,
    unreadable: str = "",
    earlier: tuple[tuple[Claim, Evidence], ...] = (),
    sharer: tuple[str, Claim] | None = None,
    occupied_by: str = "",
) -> LockView:
    """Make what a rule sees of one worker; the verdict follows from the claim and the state of the file."""
    judged = verdict_of(of) if of is not None else Verdict.UNVERIFIABLE
    return LockView(
        worker=worker,
        directory=f"/w/{worker}",
        verdict=Verdict.INVALID if file is FileState.INVALID else judged,
        file=file,
        claim=of,
        unreadable=unreadable,
        earlier=tuple(EarlierClaim(claim, evidence) for claim, evidence in earlier),
        older_sharer=SharedPane(*sharer) if sharer is not None else None,
        occupied_by=occupied_by,
    )


def findings(of: LockView, policy: Policy | None = None) -> list[tuple[str, Evidence | None]]:
    """List what all rules find, by kind and evidence."""
    return [(finding.kind, finding.evidence) for finding in evaluate(of.worker, of, policy or Policy()).findings]


def undecided(of: LockView, policy: Policy | None = None) -> set[str]:
    """List the kinds on which the rules cannot say."""
    return {doubt.kind for doubt in evaluate(of.worker, of, policy or Policy()).undecided}


def finding(
    kind: str = Kind.STALE, worker: str = "a", *, hold: float = 0.0, repeat: float = 0.0, of: Claim | None = STALE
) -> Finding:
    """Make a finding on one worker."""
    return Finding(kind, worker, Severity.WARNING, "reason", "hint", (worker,), of, hold=hold, repeat=repeat)


def found(*what: Finding, worker: str = "a", of: Claim | None = STALE) -> Ruling:
    """Make a ruling that finds something, or nothing at all."""
    return Ruling(worker, view(of, worker=worker), what)


def in_doubt(kind: str = Kind.STALE, worker: str = "a") -> Ruling:
    """Make a ruling that cannot say."""
    return Ruling(worker, view(OPEN, worker=worker), undecided=frozenset({Undecided(kind, (worker,))}))


def released(worker: str = "a") -> Ruling:
    """Make the ruling on a worker whose lock is gone."""
    return Ruling(worker, None)


def said(transitions: list[Transition]) -> list[tuple[str, str, str]]:
    """Give what was written: step, kind and worker; a resolution says why."""
    return [(t.resolution or t.step, str(t.alert.finding.kind), t.alert.finding.worker) for t in transitions]


def kinds(book: AlertBook) -> list[str]:
    """List the kinds that fire."""
    return [alert.finding.kind for alert in book.firing()]
