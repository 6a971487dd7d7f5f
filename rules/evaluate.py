"""Apply every rule to one worker."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rules.collision import collision
from rules.invalid import invalid
from rules.model import Finding, Kind, LockView, Undecided
from rules.orphan import orphan
from rules.policy import Policy
from rules.stale import stale


class Find(Protocol):
    """What a rule does: look at one worker, and yield what is wrong with it.

    It is pure: it reads the view and the policy and nothing else, and takes microseconds. What it cannot
    decide yet it yields as `Undecided`: then an alert that fires goes on, and one that waits starts over.
    """

    def __call__(self, view: LockView, policy: Policy, /) -> Iterable[Finding | Undecided]:
        """Find what is wrong with one worker."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: the kind of what it finds, and how."""

    kind: str
    find: Find


RULES: tuple[Rule, ...] = (
    Rule(Kind.INVALID, invalid),
    Rule(Kind.STALE, stale),
    Rule(Kind.ORPHAN, orphan),
    Rule(Kind.COLLISION, collision),
)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the rules say of one worker now. `view` is None where its lock is gone.

    What is neither found nor undecided is cleared: an alert on it resolves. `failed` holds the rules that
    raised, with what they raised: what they found before stays as it was.
    """

    worker: str
    view: LockView | None
    findings: tuple[Finding, ...] = ()
    undecided: frozenset[Undecided] = frozenset()
    disabled: frozenset[str] = frozenset()
    failed: tuple[tuple[Rule, Exception], ...] = ()


def evaluate(worker: str, view: LockView | None, policy: Policy, rules: Sequence[Rule] = RULES) -> Ruling:
    """Judge one worker by every rule that is on and does not exempt it."""
    if view is None:
        return Ruling(worker, None)
    findings: list[Finding] = []
    undecided: set[Undecided] = set()
    disabled: set[str] = set()
    failed: list[tuple[Rule, Exception]] = []
    for rule in rules:
        if policy.exempts(rule.kind, worker):
            disabled.add(rule.kind)
            continue
        try:
            outcomes = tuple(rule.find(view, policy))
            _check(outcomes)
        except Exception as error:  # noqa: BLE001 - another package's rule may raise anything, and must harm nothing
            failed.append((rule, error))
            continue
        findings += (outcome for outcome in outcomes if isinstance(outcome, Finding))
        undecided.update(outcome for outcome in outcomes if isinstance(outcome, Undecided))
    return Ruling(worker, view, tuple(findings), frozenset(undecided), frozenset(disabled), tuple(failed))


def _check(outcomes: Iterable[object]) -> None:
    for outcome in outcomes:
        if not isinstance(outcome, Finding | Undecided):
            raise TypeError(f"a rule yields findings, not {type(outcome).__name__}")
