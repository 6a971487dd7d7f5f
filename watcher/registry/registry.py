"""Who holds what, live. Pure.

Everything that affects who holds a lock lives here. Facts come in as events (`apply`), in any order, any
number at a time; what they have come to goes out at the end (`collect`): lines to be written about locks,
and the workers on which the rules must be asked again.

A lock that disappears is not released at once: an owner that refreshes its lock by removing and writing it
does so within `REFRESH_WINDOW`, and that is one refresh. To have looked too late is no proof that it was gone for
longer: whoever says that time has `Elapsed` is to look first at the locks that are `overdue`. While a lock is gone,
while an unreadable file has its grace, and while tmux owes an answer, nothing is reported or ruled on that worker.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from itertools import takewhile
from typing import assert_never

from rules.model import (
    Claim,
    EarlierClaim,
    Evidence,
    FileState,
    LockRecord,
    LockView,
    Moment,
    PaneRef,
    SessionRef,
    SessionState,
    SharedPane,
    Verdict,
)
from rules.verdict import verdict_of
from watcher.events import (
    Elapsed,
    EnvironmentSeen,
    Event,
    LockGone,
    LockSeen,
    ProcessSeen,
    Reading,
    Rescanned,
    ServersSeen,
    SessionsSeen,
    Unreadable,
)
from watcher.paths import directory_of
from watcher.registry.changes import ChangeKind, Changes, LockChange
from watcher.registry.claims import Judge, may_be_live, named_pids, with_tmux_socket
from watcher.registry.entry import Entry, Outbox
from watcher.registry.index import Index, Sharers
from watcher.registry.sessions import Changed, SessionDirectory

REFRESH_WINDOW = 0.1
"""Seconds within which deleting and creating by the same owner is one refresh."""

PATIENCE = 5.0
"""Seconds after which an answer that tmux never gave is taken for UNKNOWN; tmux's own time-out is shorter."""

ASK_AGAIN = 0.25
"""Seconds after which an answer that is still owed is asked for again."""

MOST_EARLIER = 16
"""Earlier claims kept on one worker: an agent that rewrites its lock for ever must not fill our memory."""


class Registry:
    """Every lock of one workspace, its owner, and the owners before it that still live.

    `root` is the absolute path of the workspace; `grace` the seconds for which an unreadable file is nobody's
    business; `window` those within which another owner's new lock replaces a deleted one.
    """

    def __init__(
        self, root: str, judge: Judge, sessions: SessionDirectory, *, grace: float = 1.0, window: float = 1.0
    ) -> None:
        self._root = root
        self._judge = judge
        self._sessions = sessions
        self._grace = grace
        self._window = window
        self._entries: dict[str, Entry] = {}
        self._pids: Index[int] = Index()
        self._ids: Index[str] = Index()
        self._pins: Index[PaneRef | SessionRef] = Index()
        self._panes: Index[PaneRef] = Index()
        self._sharers = Sharers()
        self._awaiting: set[str] = set()
        self._leaving: dict[str, float] = {}  # since when they are gone, longest first
        self._timers: list[tuple[float, str]] = []
        self._now = Moment(0.0, 0.0)
        self._out = Outbox()

    def workers(self) -> list[str]:
        """List the workers that have a lock file, readable or not."""
        return [worker for worker, entry in self._entries.items() if entry.is_held()]

    def view(self, worker: str) -> LockView | None:
        """Give all that is known of one worker's lock; None where there is none."""
        entry = self._entries.get(worker)
        return self._view(entry) if entry is not None and entry.is_held() else None

    def turned(self, verdicts: Collection[Verdict]) -> list[str]:
        """List the workers that the next `collect` would report with one of these verdicts for the first time."""
        entries = (self._entries[worker] for worker in self._out.touched)
        return [e.worker for e in entries if e.gone_at is None and e.reported is not self._verdict(e) in verdicts]

    def counts(self) -> Counter[Verdict]:
        """Count the locks by verdict."""
        return Counter(self._verdict(entry) for entry in self._entries.values() if entry.is_held())

    def names_pid(self, pid: int) -> bool:
        """Say whether a living claim rests on a pid."""
        return pid in self._pids

    def names_pane(self, pane: PaneRef) -> bool:
        """Say whether a claim rests on a pane."""
        return pane in self._panes

    def overdue(self, now: float) -> list[str]:
        """List the workers whose lock will be released at `now` (monotonic seconds), unless it is seen again first."""
        return list(takewhile(lambda worker: now >= self._leaving[worker] + REFRESH_WINDOW, self._leaving))

    def on_pid(self, pid: int) -> set[str]:
        """List the workers with a claim that rests on a pid."""
        return set(self._pids.workers(pid))

    def deadline(self) -> float | None:
        """Say when time alone will change something, in monotonic seconds; None while nothing waits."""
        return self._timers[0][0] if self._timers else None

    def claims(self, worker: str) -> tuple[Claim | None, tuple[EarlierClaim, ...]]:
        """Give a worker's claim and the earlier ones that may still live; None where its lock is gone."""
        entry = self._entries.get(worker)
        return (entry.claim, entry.earlier) if entry is not None else (None, ())

    def pids(self) -> list[int]:
        """List the pids that claims rest on."""
        return list(self._pids)

    def restore(self, worker: str, claim: Claim, earlier: Iterable[EarlierClaim]) -> None:
        """Take over what an earlier run knew of a worker; what is true now comes with the first `Rescanned`."""
        entry = self._entries[worker] = Entry(worker, claim=claim, earlier=tuple(earlier))
        self._file(entry)

    def reconfigure(self, judge: Judge, sessions: SessionDirectory | None, *, grace: float, window: float) -> None:
        """Judge by other settings from now on; every lock is to be looked at, and with other `sessions` tmux asked."""
        self._judge, self._grace, self._window = judge, grace, window
        self._sessions = sessions or self._sessions
        for worker in tuple(self._entries):
            self._revise(worker, judge.revised)

    def apply(self, event: Event) -> None:
        """Take in one fact."""
        self._now = event.at
        match event:
            case LockSeen(worker, reading, _, recreated):
                self._see(worker, reading, recreated=recreated)
            case LockGone(worker):
                self._lose(worker)
            case Rescanned(readings, _, initial):
                self._rescan(readings, initial=initial)
            case ProcessSeen() | EnvironmentSeen():
                self._hear_of(event)
            case ServersSeen() | SessionsSeen():
                self._relocate(self._sessions.see(event))
            case Elapsed():
                self._elapse()
            case _:
                assert_never(event)

    def collect(self, *, everyone: bool = False) -> Changes:
        """Report what all events since the last call have come to; `everyone`: have every worker ruled on."""
        if everyone:
            self._out.touched.update(self._entries)
        ruled: set[str] = set()
        for worker in sorted(self._out.touched):
            entry = self._entries[worker]
            ruled |= self._place(entry) | {worker}
            self._report(entry)
            if not entry.is_held() and entry.past is None:
                del self._entries[worker]
            else:
                self._set_timer(entry)
        out, self._out = self._out, Outbox()
        touched = frozenset(worker for worker in ruled if not self._is_leaving(worker))
        return Changes(tuple(out.lines), touched, frozenset(out.pids), frozenset(out.panes), out.ask)

    def _is_leaving(self, worker: str) -> bool:
        """Say whether a lock is gone that may still be refreshed."""
        entry = self._entries.get(worker)
        return entry is not None and entry.gone_at is not None and entry.is_held()

    def _place(self, entry: Entry) -> set[str]:
        """Note which pane a worker's lock names; return the workers that this concerns."""
        claim = entry.claim
        if claim is None:
            return self._sharers.place(entry.worker, None, 0.0)
        if claim.pane is None and claim.session is SessionState.UNKNOWN and self._judge.is_here(claim):
            return self._sharers.followers(entry.worker)  # it is not known that it names another pane now
        return self._sharers.place(entry.worker, claim.pane, _taken_at(claim))

    def _rescan(self, readings: Mapping[str, Reading], *, initial: bool) -> None:
        for worker, reading in readings.items():
            self._see(worker, reading, initial=initial)
        for worker in self._entries.keys() - readings.keys():
            self._lose(worker)
            if initial:
                self._release(self._entries[worker], self._now.mono)  # it went before we were there to see a refresh

    def _hear_of(self, event: ProcessSeen | EnvironmentSeen) -> None:
        """Take in what became known of a pid, for every claim that rests on it."""
        for worker in self.on_pid(event.pid):
            match event:
                case ProcessSeen(pid, fact, at):
                    self._revise(worker, lambda claim: self._judge.with_pid(claim, pid, fact, at))
                case EnvironmentSeen(pid, tmux_socket):
                    self._revise(worker, lambda claim: with_tmux_socket(claim, pid, tmux_socket))
            self._out.ask |= worker in self._awaiting

    def _see(self, worker: str, reading: Reading, *, recreated: bool = False, initial: bool = False) -> None:
        entry = self._entries.setdefault(worker, Entry(worker))
        if not self._may_be_refreshed(entry, reading):
            self._release_overdue(entry)
        self._leaving.pop(worker, None)
        first = entry.reported is None and entry.pending is None
        if first:
            entry.pending, entry.initial = ChangeKind.ACQUIRED, initial
        # Of a deletion one may hear late, when the file that was made after it has long been looked at.
        recreated = recreated and (entry.file is None or entry.file != reading.file)
        entry.recreated = entry.recreated or recreated or entry.gone_at is not None
        entry.file, entry.gone_at, entry.last = reading.file, None, None
        if isinstance(reading.content, Unreadable):
            if not entry.unreadable:
                entry.unreadable_since = self._now.mono - (reading.content.age if initial else 0.0)
            entry.unreadable = reading.content.reason
        else:
            entry.unreadable = ""
            self._claim(entry, reading.content, reading, first=first)
            entry.recreated = False
        self._file(entry)
        self._out.ask |= worker in self._awaiting

    def _claim(self, entry: Entry, record: LockRecord, reading: Reading, *, first: bool) -> None:
        """Take in what a readable file says: nothing new, a refresh, or another owner."""
        before = entry.claim
        if before is not None and before.record == record and not entry.recreated:
            entry.claim = self._locate(self._judge.with_process(before, reading.process, self._now))
            return
        claim = self._locate(self._judge.open(record, reading, self._now))
        evidence = Evidence.REPLACED if entry.recreated else Evidence.TAKEOVER
        if before is None:
            before = entry.past if self._now.mono <= entry.past_until else None
            entry.past = None
        elif not first:
            self._flush(entry)
            entry.pending = ChangeKind.REFRESHED if self._judge.same_owner(before, claim) else ChangeKind.REPLACED
        if before is not None and may_be_live(before):
            entry.earlier = (*entry.earlier, EarlierClaim(before, evidence))
        entry.earlier = tuple(e for e in entry.earlier if not self._judge.same_owner(e.claim, claim))[-MOST_EARLIER:]
        entry.claim = claim

    def _lose(self, worker: str) -> None:
        entry = self._entries.get(worker)
        if entry is None:
            return
        if entry.gone_at is None:
            entry.gone_at, entry.last = self._now.mono, self._view(entry)
            self._leaving[worker] = entry.gone_at
            self._out.touched.add(worker)
        else:
            self._release_overdue(entry)

    def _may_be_refreshed(self, entry: Entry, reading: Reading) -> bool:
        """Say whether a lock that is back may have been its owner's all the time that nobody looked."""
        if entry.gone_at is None or entry.claim is None:
            return False
        if isinstance(reading.content, Unreadable):
            return self._now.mono < entry.gone_at + self._window
        return self._judge.same_owner(entry.claim, self._locate(self._judge.open(reading.content, reading, self._now)))

    def _release_overdue(self, entry: Entry) -> None:
        """Let go of a lock that has been gone for longer than a refresh takes."""
        if entry.gone_at is not None and entry.is_held() and self._now.mono >= entry.gone_at + REFRESH_WINDOW:
            self._release(entry, entry.gone_at)

    def _release(self, entry: Entry, gone_at: float) -> None:
        self._leaving.pop(entry.worker, None)
        if entry.claim is not None:
            self._flush(entry)
        if entry.reported is not None and entry.last is not None:
            self._out.lines.append(LockChange(ChangeKind.RELEASED, entry.last))
        entry.past, entry.past_until = entry.claim, gone_at + self._window
        entry.claim, entry.earlier, entry.unreadable = None, (), ""
        entry.reported = entry.pending = None
        self._file(entry)

    def _revise(self, worker: str, revised: Callable[[Claim], Claim]) -> None:
        """Apply a change of facts to every claim on a worker; earlier ones whose owner is gone are dropped."""
        entry = self._entries[worker]
        if entry.claim is not None:
            entry.claim = self._locate(revised(entry.claim))
        if entry.past is not None:
            entry.past = self._locate(revised(entry.past))
        earlier = (replace(e, claim=self._locate(revised(e.claim))) for e in entry.earlier)
        entry.earlier = tuple(e for e in earlier if may_be_live(e.claim) and not self._is_owners(entry, e.claim))
        self._file(entry)

    def _is_owners(self, entry: Entry, earlier: Claim) -> bool:
        """Say whether an earlier claim has turned out to be the present owner's."""
        return entry.claim is not None and self._judge.same_owner(earlier, entry.claim)

    def _locate(self, claim: Claim) -> Claim:
        """Look up a claim's session by what the servers have said."""
        if not self._judge.is_here(claim):
            session = SessionState.UNKNOWN if claim.record.session_id else SessionState.NONE
            return replace(claim, session=session)
        claim = self._sessions.locate(claim)
        if not claim.settled and self._now.mono >= claim.asked_after + PATIENCE:
            return replace(claim, session=SessionState.UNKNOWN, settled=True)
        return claim

    def _relocate(self, changed: Changed) -> None:
        """Look up again the sessions that an answer may concern: those it changed, those that waited for it."""
        workers = set(self._awaiting)
        if changed.everything:
            workers |= self._ids.everyone()
        for session_id in changed.ids:
            workers |= self._ids.workers(session_id)
        for pin in changed.pins:
            workers |= self._pins.workers(pin)
        for worker in workers:
            self._revise(worker, lambda claim: claim)

    def _elapse(self) -> None:
        now = self._now.mono
        while self._timers and self._timers[0][0] <= now:
            due, worker = heapq.heappop(self._timers)
            entry = self._entries.get(worker)
            if entry is None or entry.wake != due:
                continue
            entry.wake = None
            self._release_overdue(entry)
            if entry.past is not None and now >= entry.past_until:
                entry.past = None
            self._revise(worker, lambda claim: claim)
            self._out.ask |= worker in self._awaiting

    def _set_timer(self, entry: Entry) -> None:
        """Note when time alone will next change something about a worker."""
        due: list[float] = []
        if entry.gone_at is not None and entry.is_held():
            due.append(entry.gone_at + REFRESH_WINDOW)
        if entry.past is not None:
            due.append(entry.past_until)
        if self._file_state(entry) is FileState.SETTLING:
            due.append(entry.unreadable_since + self._grace)
        if entry.worker in self._awaiting:
            settled = all(claim.settled for claim in entry.claims())
            due.append(self._now.mono + (PATIENCE if settled else ASK_AGAIN))
        wake = min(due, default=None)
        if wake is not None and (entry.wake is None or wake < entry.wake):
            entry.wake = wake
            heapq.heappush(self._timers, (wake, entry.worker))

    def _file(self, entry: Entry) -> None:
        """Note by what a worker is to be found, and that it was touched."""
        worker, claims = entry.worker, [claim for claim in entry.claims() if self._judge.is_here(claim)]
        self._out.touched.add(worker)
        self._out.pids.update(self._pids.update(worker, (pid for claim in claims for pid in named_pids(claim))))
        list(self._ids.update(worker, (c.record.session_id for c in claims if c.record.session_id)))
        list(self._pins.update(worker, (claim.pin for claim in claims if claim.pin is not None)))
        self._out.panes.update(self._panes.update(worker, (c.pane for c in claims if c.pane is not None)))
        if any(self._sessions.wants_answer(claim) for claim in claims):
            self._out.ask |= worker not in self._awaiting
            self._awaiting.add(worker)
        else:
            self._awaiting.discard(worker)

    def _report(self, entry: Entry) -> None:
        """Write the line that a worker has earned, once it can be judged."""
        state = self._file_state(entry)
        if entry.gone_at is not None or state is FileState.SETTLING:
            return
        if state is FileState.READABLE and (entry.claim is None or not entry.claim.settled):
            return
        if entry.pending is not None:
            self._flush(entry)
        elif entry.reported is not self._verdict(entry):
            self._line(entry, ChangeKind.VERDICT)

    def _flush(self, entry: Entry) -> None:
        if entry.pending is not None:
            kind, entry.pending = entry.pending, None
            self._line(entry, kind)

    def _line(self, entry: Entry, kind: ChangeKind) -> None:
        view = self._view(entry)
        initial = entry.initial and kind is ChangeKind.ACQUIRED
        self._out.lines.append(LockChange(kind, view, entry.reported, initial=initial))
        entry.reported = view.verdict

    def _file_state(self, entry: Entry) -> FileState:
        if not entry.unreadable:
            return FileState.READABLE
        overdue = self._now.mono >= entry.unreadable_since + self._grace
        return FileState.INVALID if overdue else FileState.SETTLING

    def _verdict(self, entry: Entry) -> Verdict:
        if self._file_state(entry) is FileState.INVALID:
            return Verdict.INVALID
        return verdict_of(entry.claim) if entry.claim is not None else Verdict.UNVERIFIABLE

    def _view(self, entry: Entry) -> LockView:
        verdict = self._verdict(entry)
        directory = directory_of(self._root, entry.worker)
        older = self._sharers.older(entry.worker)
        sharer = self._entries[older].claim if older is not None else None
        return LockView(
            worker=entry.worker,
            directory=directory,
            verdict=verdict,
            file=self._file_state(entry),
            claim=entry.claim,
            unreadable=entry.unreadable,
            earlier=entry.earlier,
            older_sharer=SharedPane(older, sharer) if older is not None and sharer is not None else None,
            occupied_by=self._sessions.occupant(directory) if verdict is Verdict.STALE else "",
        )


def _taken_at(claim: Claim) -> float:
    """Say when a lock was taken: by its own word, else when it was first seen (epoch seconds)."""
    acquired_at = claim.record.acquired_at
    return acquired_at.timestamp() if acquired_at is not None else claim.seen.wall
