"""What the lines of a state file add up to. Pure.

Each alert line has a number, and is stored *before* the log line that it announces is written. The log lines
up to a number are later known to be out (`Written`). What was announced and is not known to be out is in
doubt: another run has to see to it that the log has it (`owed`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from rules.alerts import Alert, Step, Transition
from rules.model import Claim, Liveness, SessionState
from watcher.registry.claims import may_be_live
from watcher.state.entries import Entry, Run, StoredAlert, StoredWorker, Written

MOST_ENDED = 10_000
"""Resolved alerts kept while their lines wait: a log that nobody reads for days must not fill the disk."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """A resolved alert whose line is in doubt; `announced` numbers its firing line if that is too, else 0."""

    entry: StoredAlert
    announced: int


class Ledger:
    """The claims and the alerts of one workspace, as far as the lines that were applied tell."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.workers: dict[str, StoredWorker] = {}
        self.alerts: dict[str, Alert] = {}
        self.number = 0
        self.written = 0
        self._announced: dict[str, int] = {}
        self._ended: dict[str, _Ended] = {}

    @property
    def is_in_doubt(self) -> bool:
        """Whether any announced line is not known to be out."""
        return bool(self._announced or self._ended)

    def apply(self, entry: Entry) -> None:
        """Take in one line."""
        match entry:
            case Run():
                self._begin(entry)
            case StoredWorker(worker, claim):
                if claim is not None:
                    self.workers[worker] = entry
                else:
                    self.workers.pop(worker, None)
            case StoredAlert(number):
                self.number = max(self.number, number)
                if entry.resolution is None:
                    self._fire(number, entry.alert)
                else:
                    self._end(entry)
            case Written(upto=upto):
                self.number = max(self.number, upto)
                self._write(upto)

    def announce(self, transition: Transition) -> StoredAlert | None:
        """Number a log line that is about to be written and take it in; None for a mere reminder."""
        if transition.step is Step.REPEATED:
            return None
        self.number += 1
        entry = StoredAlert(self.number, transition.alert, transition.resolution)
        self.apply(entry)
        return entry

    def settle(self, is_logged: Callable[[Step, str], bool]) -> None:
        """Take for written what the log has for certain: asked for each line in doubt, by its step and episode."""
        self._announced = {
            fingerprint: number
            for fingerprint, number in self._announced.items()
            if not is_logged(Step.FIRING, self.alerts[fingerprint].episode)
        }
        self._ended = {
            episode: replace(ended, announced=0 if is_logged(Step.FIRING, episode) else ended.announced)
            for episode, ended in self._ended.items()
            if not is_logged(Step.RESOLVED, episode)
        }

    def owed(self, transitions: Iterable[Transition]) -> Iterator[Transition]:
        """Add to the first transitions of a run the lines that the log may lack since the run before.

        An alert whose firing line may be missing gets one before it resolves, and also where nobody can say yet
        whether it still holds. One whose resolved line may be missing gets that again. What is added has been
        announced: it needs no number of its own.
        """
        for ended in self._ended.values():
            if ended.announced:
                yield Transition(Step.FIRING, _restored(replace(ended.entry.alert, ends_at=None)))
            yield Transition(Step.RESOLVED, ended.entry.alert, ended.entry.resolution)
        doubtful = {fingerprint: self.alerts[fingerprint] for fingerprint in self._announced}
        for transition in transitions:
            alert = doubtful.pop(transition.alert.fingerprint, None)
            if alert is not None and transition.step is not Step.FIRING:
                yield Transition(Step.FIRING, _restored(alert))
            yield transition
        for alert in doubtful.values():
            yield Transition(Step.FIRING, _restored(alert))

    def entries(self) -> list[Entry]:
        """Give the fewest lines that add up to the same."""
        entries: list[Entry] = [self.run] if self.run is not None else []
        entries += self.workers.values()
        entries.append(Written(upto=self.written))
        for ended in self._ended.values():
            if ended.announced:
                entries.append(StoredAlert(ended.announced, replace(ended.entry.alert, ends_at=None)))
            entries.append(ended.entry)
        # Last, for it may be a new episode of one that has ended.
        for fingerprint, alert in self.alerts.items():
            entries.append(StoredAlert(self._announced.get(fingerprint, 0), alert))
        return entries

    def _begin(self, run: Run) -> None:
        if self.run is not None and run.boot_id != self.run.boot_id:
            for worker in self.workers.values():
                earlier = (replace(each, claim=_rebooted(each.claim)) for each in worker.earlier)
                self.workers[worker.worker] = StoredWorker(
                    worker.worker,
                    _rebooted(worker.claim) if worker.claim is not None else None,
                    tuple(each for each in earlier if may_be_live(each.claim)),
                )
        self.run = run

    def _fire(self, number: int, alert: Alert) -> None:
        before = self.alerts.get(alert.fingerprint)
        if before is None or before.starts_at != alert.starts_at:
            self._announced.pop(alert.fingerprint, None)
            if number > self.written:
                self._announced[alert.fingerprint] = number
        self.alerts[alert.fingerprint] = alert
        self._ended.pop(alert.episode, None)

    def _end(self, entry: StoredAlert) -> None:
        fingerprint, announced = entry.alert.fingerprint, 0
        firing = self.alerts.get(fingerprint)
        if firing is not None and firing.starts_at == entry.alert.starts_at:
            del self.alerts[fingerprint]
            announced = self._announced.pop(fingerprint, 0)
        if entry.number > self.written:
            self._ended[entry.alert.episode] = _Ended(entry, announced)
        if len(self._ended) > MOST_ENDED:
            del self._ended[next(iter(self._ended))]

    def _write(self, upto: int) -> None:
        self.written = max(self.written, upto)
        self._announced = {name: number for name, number in self._announced.items() if number > upto}
        self._ended = {
            episode: replace(ended, announced=ended.announced if ended.announced > upto else 0)
            for episode, ended in self._ended.items()
            if ended.entry.number > upto
        }


def _restored(alert: Alert) -> Alert:
    return replace(alert, initial=True, restored=True)


def _rebooted(claim: Claim) -> Claim:
    """Give a claim as a reboot leaves it: what was known to run has ended, panes and inodes bear new numbers.

    A process that was never seen is left to be looked at: without a time in its lock, and under the same
    number, it may be one of this boot.
    """
    known = claim.identity is not None and claim.record.acquired_at is not None
    process = claim.process
    if process is not Liveness.DEAD:
        process = Liveness.DEAD if known else Liveness.UNKNOWN
    return replace(
        claim,
        process=process,
        session=SessionState.UNKNOWN if claim.record.session_id else SessionState.NONE,
        agent=Liveness.DEAD if claim.agent_identity is not None else claim.agent,
        identity=None,
        agent_identity=None,
        pin=None,
        former=None,
        pane=None,
        settled=not claim.record.session_id,
    )
