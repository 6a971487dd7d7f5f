"""The alert book: pending, firing, resolved.

Everything that decides whether a line is written about a finding lives here. A finding enters as pending,
fires once it has lasted for its hold, is repeated while it lasts, and resolves once when it is found no
more. What a rule cannot decide changes nothing, except that a pending finding loses its place.

Holds and repeats run on the monotonic clock; the times that people read are wall time. The fingerprint
names the *trouble* (kind, host, workspace, workers), never the pid or the session, so it is the same over
restarts and refreshes; the episode names one run of it, from its start to its end.
"""

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from rules.evaluate import Ruling
from rules.model import Finding, LockRecord, Moment
from rules.resolution import Resolution, resolution


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a book's alerts are: the host and the absolute path of the workspace."""

    host: str
    workspace: str

    def fingerprint(self, kind: str, workers: Iterable[str]) -> str:
        """Hash what an alert is about to 16 hex digits."""
        return _digest(kind, self.host, self.workspace, *workers)


def _digest(*parts: str) -> str:
    data = "\0".join(parts).encode("utf-8", "surrogateescape")
    return hashlib.sha256(data).hexdigest()[:16]


_SLACK = 64


class Step(StrEnum):
    """What happened to an alert."""

    FIRING = "firing"
    UPDATED = "updated"
    REPEATED = "repeated"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    """A finding that fires, or fired. `starts_at` and `ends_at` are seconds since the epoch.

    `initial`: it was there when the watcher started. `restored`: an earlier run had it firing already.
    """

    finding: Finding
    fingerprint: str
    starts_at: float
    ends_at: float | None = None
    initial: bool = False
    restored: bool = False

    @property
    def episode(self) -> str:
        """Name this run of the alert: 16 hex digits, the same from its firing to its resolution."""
        return _digest(self.fingerprint, f"{self.starts_at:.6f}")


@dataclass(frozen=True, slots=True)
class Transition:
    """One line to be written about an alert; `resolution` is set where the step is RESOLVED."""

    step: Step
    alert: Alert
    resolution: Resolution | None = None


@dataclass(slots=True)
class _Entry:
    """One trouble in the book. `due` is the monotonic time of its next line, None where none is due."""

    alert: Alert
    due: float | None
    firing: bool = False


class AlertBook:
    """Every alert of one workspace, by fingerprint."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._entries: dict[str, _Entry] = {}
        self._by_worker: dict[str, set[str]] = {}
        self._due: list[tuple[float, str]] = []

    def firing(self) -> list[Alert]:
        """List the alerts that fire, oldest first."""
        alerts = (entry.alert for entry in self._entries.values() if entry.firing)
        return sorted(alerts, key=lambda alert: (alert.starts_at, alert.fingerprint))

    def restore(self, alerts: Iterable[Alert]) -> set[str]:
        """Take over what an earlier run had firing, before the first update; return the workers concerned.

        Each must then be ruled on in the update that is `initial`: there it is written as restored, resolved,
        or left alone where nobody can say.
        """
        workers: set[str] = set()
        for alert in alerts:
            self._file(_Entry(replace(alert, initial=True, restored=True), due=None, firing=True), alert.fingerprint)
            workers.add(alert.finding.worker)
        return workers

    def update(self, rulings: Iterable[Ruling], now: Moment, *, initial: bool = False) -> list[Transition]:
        """Take in what the rules say of some workers, and return the lines to write: ends before beginnings."""
        by_worker = {ruling.worker: ruling for ruling in rulings}
        found: dict[str, Finding] = {}
        undecided: set[str] = set()
        for ruling in by_worker.values():
            for finding in ruling.findings:
                found[self._scope.fingerprint(finding.kind, finding.workers)] = finding
            for doubt in ruling.undecided:
                undecided.add(self._scope.fingerprint(doubt.kind, doubt.workers))
        transitions = list(self._end(by_worker, found.keys(), undecided, now))
        for fingerprint, finding in found.items():
            transitions += self._hold(fingerprint, finding, now, initial=initial)
        return transitions + self.due(now)

    def due(self, now: Moment) -> list[Transition]:
        """Return the lines whose time has come: holds that are over, repeats."""
        transitions: list[Transition] = []
        while self._due and self._due[0][0] <= now.mono:
            due, fingerprint = heapq.heappop(self._due)
            entry = self._entries.get(fingerprint)
            if entry is None or entry.due != due:
                continue
            step = Step.REPEATED if entry.firing else Step.FIRING
            entry.firing = True
            self._schedule_repeat(entry, fingerprint, now)
            transitions.append(Transition(step, entry.alert))
        return transitions

    def deadline(self) -> float | None:
        """Say when `due` has something to say next, in monotonic seconds; None while nothing waits."""
        while self._due:
            due, fingerprint = self._due[0]
            entry = self._entries.get(fingerprint)
            if entry is not None and entry.due == due:
                return due
            heapq.heappop(self._due)
        return None

    def _end(
        self, rulings: Mapping[str, Ruling], found: Iterable[str], undecided: set[str], now: Moment
    ) -> Iterator[Transition]:
        """End what is found no more; leave what cannot be decided, unless it was only waiting."""
        failed = {(ruling.worker, rule.kind) for ruling in rulings.values() for rule, _ in ruling.failed}
        concerned = set().union(*(self._by_worker.get(worker, ()) for worker in rulings))
        for fingerprint in sorted(concerned.difference(found)):
            entry = self._entries[fingerprint]
            finding = entry.alert.finding
            if entry.firing and (fingerprint in undecided or (finding.worker, finding.kind) in failed):
                continue
            self._strike(fingerprint)
            if entry.firing:
                reason = resolution(finding, rulings)
                yield Transition(Step.RESOLVED, replace(entry.alert, ends_at=now.wall), reason)

    def _hold(self, fingerprint: str, finding: Finding, now: Moment, *, initial: bool) -> Iterator[Transition]:
        """Take in a finding: a new one waits for its hold, one that fires may have changed."""
        entry = self._entries.get(fingerprint)
        if entry is None:
            alert = Alert(finding, fingerprint, starts_at=now.wall, initial=initial)
            entry = _Entry(alert, due=None)
            self._file(entry, fingerprint)
            self._schedule(entry, fingerprint, now.mono + finding.hold)
            return
        before = entry.alert.finding
        self._unfile(fingerprint, before)
        entry.alert = replace(entry.alert, finding=finding)
        self._file(entry, fingerprint)
        if initial and entry.alert.restored:
            self._schedule_repeat(entry, fingerprint, now)
            yield Transition(Step.FIRING, entry.alert)
        elif entry.firing and _facts(finding) != _facts(before):
            self._schedule_repeat(entry, fingerprint, now)
            yield Transition(Step.UPDATED, entry.alert)
        elif entry.firing and (entry.due is None or finding.repeat != before.repeat):
            self._schedule_repeat(entry, fingerprint, now)
        elif not entry.firing and finding.hold != before.hold and entry.due is not None:
            self._schedule(entry, fingerprint, entry.due - before.hold + finding.hold)

    def _schedule_repeat(self, entry: _Entry, fingerprint: str, now: Moment) -> None:
        repeat = entry.alert.finding.repeat
        self._schedule(entry, fingerprint, now.mono + repeat if repeat > 0 else None)

    def _schedule(self, entry: _Entry, fingerprint: str, due: float | None) -> None:
        entry.due = due
        if due is not None:
            heapq.heappush(self._due, (due, fingerprint))
        if len(self._due) > 2 * len(self._entries) + _SLACK:
            # An alert that is updated all day leaves a dead repeat behind each time.
            self._due = [(e.due, name) for name, e in self._entries.items() if e.due is not None]
            heapq.heapify(self._due)

    def _file(self, entry: _Entry, fingerprint: str) -> None:
        """File an alert under the worker whose ruling brings it or ends it."""
        self._entries[fingerprint] = entry
        self._by_worker.setdefault(entry.alert.finding.worker, set()).add(fingerprint)

    def _unfile(self, fingerprint: str, finding: Finding) -> None:
        filed = self._by_worker[finding.worker]
        filed.discard(fingerprint)
        if not filed:
            del self._by_worker[finding.worker]

    def _strike(self, fingerprint: str) -> None:
        entry = self._entries.pop(fingerprint)
        self._unfile(fingerprint, entry.alert.finding)


def _facts(finding: Finding) -> tuple[object, ...]:
    """Give what makes a firing alert worth another line when it changes."""
    other: LockRecord | None = finding.other.record if finding.other else None
    record = finding.claim.record if finding.claim else None
    return record, finding.evidence, other, finding.other_worker, finding.reason, finding.severity
