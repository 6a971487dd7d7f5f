import pytest

from rules.model import Kind, Severity
from rules.policy import CollisionPolicy, Policy, RulePolicy, StalePolicy


def test_the_defaults() -> None:
    """Without a word from the operator: stale, collision and invalid at once, orphan after half a second."""
    policy = Policy()
    assert {kind: policy.of(kind).hold for kind in Kind} == {"stale": 0, "orphan": 0.5, "collision": 0, "invalid": 0}
    assert {policy.of(kind).repeat for kind in Kind} == {3600}
    assert all(policy.of(kind).enabled for kind in Kind)
    assert [kind for kind in Kind if policy.of(kind).severity is Severity.CRITICAL] == [Kind.COLLISION]
    assert (policy.invalid.grace, policy.collision.window) == (1, 1)
    assert policy.stale.require_dead_session
    assert policy.collision.shared_pane


def test_each_kind_has_its_own() -> None:
    """`of` gives what was decided about a kind, and the defaults for a kind that another package brings."""
    policy = Policy(stale=StalePolicy(hold=60), collision=CollisionPolicy(repeat=0))
    assert policy.of("stale") is policy.stale
    assert policy.of(Kind.COLLISION) is policy.collision
    assert policy.of("forgotten") == RulePolicy()


@pytest.mark.parametrize(
    ("glob", "worker", "exempt"),
    [
        ("rig/crew/a", "rig/crew/a", True),
        ("rig/crew/a", "rig/crew/ab", False),
        ("crew", "rig/crew", False),
        ("rig/*", "rig/crew/a", True),
        ("rig/*", "rig", False),
        ("*/polecats/*", "rig/polecats/x", True),
        ("*/polecats/*", "polecats/x", False),
        ("**/x", "rig/polecats/x", True),
        ("RIG/*", "rig/a", False),
        ("rig/[ab]?", "rig/a1", True),
        (".", ".", True),
        ("*", ".", True),
    ],
)
def test_a_glob_matches_the_whole_path(glob: str, worker: str, exempt: bool) -> None:  # noqa: FBT001 - a column of the table
    """Case counts, `*` crosses `/`, and a part of the path is not enough; in general as for one rule."""
    assert Policy(ignore_workers=(glob,)).exempts("orphan", worker) is exempt
    own = Policy(stale=StalePolicy(ignore_workers=(glob,)))
    assert own.exempts("stale", worker) is exempt
    assert not own.exempts("orphan", worker)


def test_a_rule_that_is_off_exempts_everyone() -> None:
    """Switching a rule off says nothing about another."""
    policy = Policy(stale=StalePolicy(enabled=False))
    assert policy.exempts("stale", "a")
    assert not policy.exempts("orphan", "a")
    assert not policy.exempts("forgotten", "a")
