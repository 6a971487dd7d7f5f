"""A registry and its alert book, fed by hand and read as short lines. Times are monotonic seconds."""

from collections.abc import Collection

from rules.alerts import Step, Transition
from rules.model import LockRecord, Moment, ProcessFact, Verdict
from rules.policy import Policy
from tests.watcher.answers import ME, answer, listing
from watcher.detector import Conclusion
from watcher.events import Event, LockGone, LockSeen, ProcessSeen, Reading, Unreadable
from watcher.registry.changes import ChangeKind, Changes, LockChange
from watcher.settings import Settings
from watcher.settings.tree import Tmux
from watcher.testing import FakeWatcher, alive, at, ended, record

DEFAULTS = Policy()


class Desk:
    """Tells facts to a registry, asks the rules, and gives back what would be logged.

    Lines are `acquired a held`, `verdict a held -> stale`, `firing stale a`, `firing collision a takeover`,
    `resolved stale a refreshed`.
    """

    def __init__(
        self, policy: Policy = DEFAULTS, *, tmux: bool = True, alias: bool = False, named: Collection[str] = ()
    ) -> None:
        settings = Settings(tmux=Tmux(enabled=tmux, session_alias=alias, sockets=tuple(named)))
        self.watcher = FakeWatcher(settings, policy=policy)
        self.registry, self.book = self.watcher.registry, self.watcher.book
        self.changes = Changes()
        self.transitions: tuple[Transition, ...] = ()

    @property
    def now(self) -> Moment:
        """What time it is."""
        return at(self.watcher.now)

    def tell(self, *events: Event) -> list[str]:
        """Take in facts as one batch, and give the lines that they have come to."""
        return self._lines(self.watcher.post(*events))

    def wait(self, until: float) -> list[str]:
        """Let time pass, waking up whenever something is due."""
        return [line for conclusion in self.watcher.wait(until) for line in self._lines(conclusion)]

    def deadline(self) -> float | None:
        """Say when something is due next."""
        return self.watcher.deadline()

    def _lines(self, conclusion: Conclusion) -> list[str]:
        self.changes, self.transitions = conclusion.changes, conclusion.transitions
        return [*map(_change, self.changes.lines), *map(_transition, self.transitions)]

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
        file: tuple[int, int, int] | None = None,
    ) -> list[str]:
        """Have a lock be written and read at `t`; its process lives unless a `fact` says otherwise."""
        content = of if of is not None else record(pid, session_id, taken=t)
        reading = Reading(content, ME, fact if fact is not None else alive(pid), file=file)
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
            (
                *indexes,
                *by_key,
                kept._sharers._queues,
                kept._sharers._places,
                kept._awaiting,
                kept._leaving,
                kept._timers,
            )
        ) and (not any((self.book._entries, self.book._by_worker)))


def _change(change: LockChange) -> str:
    worker, verdict = change.view.worker, change.view.verdict
    before = f"{change.previous} -> " if change.kind is ChangeKind.VERDICT else ""
    return f"{change.kind} {worker} {before}{verdict}"


def _transition(transition: Transition) -> str:
    finding = transition.alert.finding
    more = transition.resolution if transition.step is Step.RESOLVED else finding.evidence
    return " ".join(str(word) for word in (transition.step, finding.kind, finding.worker, more) if word)
