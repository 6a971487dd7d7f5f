from collections.abc import Callable, Iterator
from typing import cast

import pytest

from rules.evaluate import RULES, Rule, Ruling, evaluate
from rules.model import Evidence, Finding, Kind, LockView, Severity, Undecided
from rules.policy import CollisionPolicy, OrphanPolicy, Policy, RulePolicy, StalePolicy
from tests.rules.builders import HELD, STALE, claim, finding, findings, view

OTHER = claim(pid=12)
Find = Callable[[LockView, Policy], Iterator[Finding | Undecided]]


def test_every_kind_has_its_rule() -> None:
    """The rules that ship find the four kinds, each its own."""
    assert sorted(rule.kind for rule in RULES) == sorted(Kind)


def test_a_worker_without_a_lock_is_cleared() -> None:
    """Where the lock is gone nothing is found, nothing in doubt, nothing switched off."""
    assert evaluate("a", None, Policy(stale=StalePolicy(enabled=False))) == Ruling("a", None)


def test_a_rule_that_is_off_is_not_asked() -> None:
    """A rule that is switched off finds nothing, and the ruling says that it is off."""
    ruling = evaluate("a", view(STALE), Policy(stale=StalePolicy(enabled=False)))
    assert ruling.findings == ()
    assert ruling.disabled == {Kind.STALE}


@pytest.mark.parametrize(
    ("glob", "worker", "exempt"),
    [
        ("rig/crew/ada", "rig/crew/ada", True),
        ("rig/*", "rig/crew/ada", True),
        ("*/crew/*", "town/rig/crew/ada", True),
        ("rig", "rig/crew", False),
        ("RIG/*", "rig/crew", False),
        (".", ".", True),
        ("*", ".", True),
        ("ad?", "ada", True),
    ],
)
def test_workers_are_exempt_by_globs(glob: str, worker: str, *, exempt: bool) -> None:
    """A glob on the whole path exempts a worker from every rule, or from the rule that has it."""
    stale = view(STALE, worker=worker)
    everywhere = Policy(ignore_workers=("nobody", glob))
    here = Policy(stale=StalePolicy(ignore_workers=(glob,)))
    elsewhere = Policy(orphan=OrphanPolicy(ignore_workers=(glob,)))
    assert (findings(stale, everywhere) == []) is exempt
    assert (findings(stale, here) == []) is exempt
    assert findings(stale, elsewhere) == [(Kind.STALE, None)]


def test_a_kind_from_elsewhere_has_default_policy() -> None:
    """The rule of another package is on, exempted by general globs, and follows the defaults."""
    assert Policy().of("haunted") == RulePolicy()
    assert Policy(ignore_workers=("a",)).exempts("haunted", "a")
    assert not Policy().exempts("haunted", "a")


def haunted(seen: LockView, _: Policy) -> Iterator[Finding | Undecided]:
    """Find what only another package's rule looks for."""
    yield finding("haunted", seen.worker)


def broken(seen: LockView, _: Policy) -> Iterator[Finding | Undecided]:
    """Raise in the middle of it."""
    yield finding("broken", seen.worker)
    raise ZeroDivisionError


def babbling(_: LockView, __: Policy) -> Iterator[Finding | Undecided]:
    """Yield what is no finding."""
    yield cast("Finding", ["nonsense"])


def test_another_packages_rule_is_asked_too() -> None:
    """A further rule adds its findings to those that ship."""
    ruling = evaluate("a", view(STALE), Policy(), (*RULES, Rule("haunted", haunted)))
    assert [found.kind for found in ruling.findings] == [Kind.STALE, "haunted"]


@pytest.mark.parametrize("find", [broken, babbling])
def test_a_rule_that_fails_harms_no_other(find: Find) -> None:
    """A rule that raises, or yields what is no finding, is named with its error; the others find what they find."""
    rule = Rule("broken", find)
    ruling = evaluate("a", view(STALE), Policy(), (rule, *RULES))
    assert [found.kind for found in ruling.findings] == [Kind.STALE]
    ((failed, error),) = ruling.failed
    assert failed is rule
    assert isinstance(error, ZeroDivisionError | TypeError)


def test_all_that_is_wrong_is_found_at_once() -> None:
    """A worker may have several findings: here a rival and another package's."""
    seen = view(HELD, earlier=((OTHER, Evidence.TAKEOVER),))
    policy = Policy(collision=CollisionPolicy(severity=Severity.ERROR))
    ruling = evaluate("a", seen, policy, (*RULES, Rule("haunted", haunted)))
    assert [(found.kind, found.severity) for found in ruling.findings] == [
        (Kind.COLLISION, Severity.ERROR),
        ("haunted", Severity.WARNING),
    ]
