"""A registry and its alert book, fed by hand and read as short lines. Times are monotonic seconds."""

from collections.abc import Collection

from rules.alerts import AlertBook, Step, Transition
from rules.evaluate import evaluate
from rules.model import LockRecord, ProcessFact, Verdict
from rules.policy import Policy
from tests.rules.builders import HOST, SCOPE, alive, at, ended, record
from tests.watcher.answers import ME, answer, listing
from watcher.events import Elapsed, Event, LockGone, LockSeen, ProcessSeen, Reading, Rescanned, Unreadable
from watcher.registry import Registry
from watcher.registry.changes import ChangeKind, Changes, LockChange
from watcher.registry.claims import Judge
from watcher.registry.sessions import SessionDirectory

DEFAULTS = Policy()


class Desk:
    """Tells facts to a registry, asks the rules, and gives back what would be logged.

    Lines are `acquired a held`, `verdict a held -> stale`, `firing stale a`, `firing collision a takeover`,
    `resolved stale a refreshed`.
    """

    def __init__(
        self, policy: Policy = DEFAULTS, *, tmux: bool = True, alias: bool = False, named: Collection[str] = ()
    ) -> None:
        sessions = SessionDirectory(ME, enabled=tmux, alias=alias, named=named)
        self.registry = Registry(
            SCOPE.workspace, Judge(HOST), sessions, grace=policy.invalid.grace, window=policy.collision.window
        )
        self.book = AlertBook(SCOPE)
        self.policy = policy
        self.changes = Changes()
        self.transitions: list[Transition] = []
        self.now = at(0.0)

    def tell(self, *events: Event) -> list[str]:
        """Take in facts as one batch, and give the lines that they have come to."""
        initial = False
        for event in events:
            self.registry.apply(event)
            self.now = event.at
            initial |= isinstance(event, Rescanned) and event.initial
        self.changes = self.registry.collect()
        rulings = [evaluate(w, self.registry.view(w), self.policy) for w in sorted(self.changes.touched)]
        self.transitions = self.book.update(rulings, self.now, initial=initial)
        return [*map(_change, self.changes.lines), *map(_transition, self.transitions)]

    def wait(self, until: float) -> list[str]:
        """Let time pass, waking up whenever something is due."""
        lines: list[str] = []
        while (due := self.deadline()) is not None and due <= until:
            lines += self.tell(Elapsed(at(max(due, self.now.mono))))
        return lines if self.now.mono == until else lines + self.tell(Elapsed(at(until)))

    def deadline(self) -> float | None:
        """Say when something is due next."""
        due = [due for due in (self.registry.deadline(), self.book.deadline()) if due is not None]
        return min(due, default=None)

    def write(
        self,
        t: float,
        worker: str,
        pid: int,
        session_id: str = "",
        *,
        fact: ProcessFact | None = None,
        recreated: bool = False,
        of: LockRecord | None = None,
    ) -> list[str]:
        """Have a lock be written and read at `t`; its process lives unless a `fact` says otherwise."""
        content = of if of is not None else record(pid, session_id, taken=t)
        reading = Reading(content, ME, fact if fact is not None else alive(pid))
        return self.tell(LockSeen(worker, reading, at(t), recreated))

    def garble(self, t: float, worker: str, reason: str = "no JSON") -> list[str]:
        """Have a lock file be read at `t` that cannot be read as a lock."""
        return self.tell(LockSeen(worker, Reading(Unreadable(reason), ME), at(t)))

    def delete(self, t: float, worker: str) -> list[str]:
        """Have a lock file be found gone at `t`."""
        return self.tell(LockGone(worker, at(t)))

    def die(self, t: float, *pids: int) -> list[str]:
        """Have processes end at `t`."""
        return self.tell(*(ProcessSeen(pid, ended(pid), at(t)) for pid in pids))

    def tmux(self, t: float, *panes: str, server: int = 1, started: float = -100.0) -> list[str]:
        """Ask tmux at `t`: one server, and its panes."""
        return self.tell(listing("/s", asked=t), answer("/s", *panes, asked=t, server=server, started=started))

    def firing(self) -> list[str]:
        """List what fires, as kind and worker."""
        return [f"{alert.finding.kind} {alert.finding.worker}" for alert in self.book.firing()]

    def verdict(self, worker: str) -> Verdict | None:
        """Give the verdict on a worker's lock, None where it has none."""
        view = self.registry.view(worker)
        return view.verdict if view is not None else None

    def is_empty(self) -> bool:
        """Say whether registry and book have forgotten everything."""
        kept = self.registry
        indexes = (kept._entries, kept._pids._keys, kept._ids._keys, kept._pins._keys, kept._panes._keys)
        by_key = (kept._pids._workers, kept._ids._workers, kept._pins._workers, kept._panes._workers)
        return not any(
            (*indexes, *by_key, kept._sharers._queues, kept._sharers._places, kept._awaiting, kept._timers)
        ) and (not any((self.book._entries, self.book._by_worker)))


def _change(change: LockChange) -> str:
    worker, verdict = change.view.worker, change.view.verdict
    before = f"{change.previous} -> " if change.kind is ChangeKind.VERDICT else ""
    return f"{change.kind} {worker} {before}{verdict}"


def _transition(transition: Transition) -> str:
    finding = transition.alert.finding
    more = transition.resolution if transition.step is Step.RESOLVED else finding.evidence
    return " ".join(str(word) for word in (transition.step, finding.kind, finding.worker, more) if word)
