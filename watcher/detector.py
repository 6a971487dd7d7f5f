"""Facts in, lines out: the registry, the rules and the alert book, joined. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rules.alerts import Alert, AlertBook, Transition
from rules.evaluate import RULES, Rule, Ruling, evaluate
from rules.model import Moment
from rules.policy import Policy
from watcher.events import Event
from watcher.registry import Registry
from watcher.registry.changes import Changes


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a batch of facts has come to: changes of locks, then what they mean for the alerts.

    `failed` holds the rules that raised, with what they raised; they are not asked again, and their alerts resolve
    as `disabled`.
    """

    changes: Changes
    transitions: tuple[Transition, ...]
    failed: tuple[tuple[Rule, Exception], ...] = ()


class Detector:
    """Judges one workspace: `apply` facts, then `conclude`."""

    def __init__(self, registry: Registry, book: AlertBook, policy: Policy, rules: Sequence[Rule] = RULES) -> None:
        self.registry = registry
        self.book = book
        self._policy = policy
        self._rules = tuple(rules)
        self._switched_off: frozenset[str] = frozenset()
        self._restored: set[str] = set()

    def apply(self, event: Event) -> None:
        """Take in one fact."""
        self.registry.apply(event)

    def restore(self, alerts: Iterable[Alert]) -> None:
        """Take over what an earlier run had firing; the first conclusion says what became of it."""
        self._restored = self.book.restore(alerts)

    def conclude(self, now: Moment, *, initial: bool = False) -> Conclusion:
        """Say what all facts since the last conclusion have come to."""
        changes = self.registry.collect()
        workers, self._restored = changes.touched | self._restored, set()
        return self._judge(workers, changes, now, initial=initial)

    def reconfigure(self, policy: Policy, now: Moment) -> Conclusion:
        """Judge every worker anew by another policy."""
        self._policy = policy
        changes = self.registry.collect(everyone=True)
        return self._judge(changes.touched, changes, now)

    def deadline(self) -> float | None:
        """Say when time alone will change something, in monotonic seconds; None while nothing waits."""
        due = [due for due in (self.registry.deadline(), self.book.deadline()) if due is not None]
        return min(due, default=None)

    def _evaluate(self, worker: str) -> Ruling:
        ruling = evaluate(worker, self.registry.view(worker), self._policy, self._rules)
        return replace(ruling, disabled=ruling.disabled | self._switched_off)

    def _judge(self, workers: Iterable[str], changes: Changes, now: Moment, *, initial: bool = False) -> Conclusion:
        rulings = [self._evaluate(worker) for worker in sorted(workers)]
        failed = {rule.kind: (rule, error) for ruling in rulings for rule, error in ruling.failed}
        self._rules = tuple(rule for rule in self._rules if rule.kind not in failed)
        self._switched_off |= failed.keys()
        transitions = self.book.update(rulings, now, initial=initial)
        return Conclusion(changes, tuple(transitions), tuple(failed.values()))
