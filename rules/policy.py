"""What the operator decides about alerts: which are on, how long a finding must last, how loud it is.

The defaults here are the defaults of the configuration. All durations are in seconds.
"""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from rules.model import Kind, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePolicy:
    """How the alerts of one kind behave.

    `hold` is how long a finding must last before it fires. `repeat` is how often a firing alert is written
    again, 0 for never. `ignore_workers` are globs on the worker path (see `Policy.exempts`).
    """

    enabled: bool = True
    hold: float = 0.0
    repeat: float = 3600.0
    severity: Severity = Severity.WARNING
    ignore_workers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StalePolicy(RulePolicy):
    """With `require_dead_session` off, a dead process is enough to alert, whatever its session does."""

    require_dead_session: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanPolicy(RulePolicy):
    """The hold is the moment that an agent needs to go when its session is killed (SIGHUP)."""

    hold: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class CollisionPolicy(RulePolicy):
    """`window` is how soon after a deletion another owner's lock still counts as put in its place."""

    severity: Severity = Severity.CRITICAL
    window: float = 1.0
    shared_pane: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidPolicy(RulePolicy):
    """`grace` is how long a file may stay unreadable before it is a finding; the hold counts from its end."""

    grace: float = 1.0


_OTHER = RulePolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The policy of every rule; `ignore_workers` exempts workers from all of them."""

    stale: StalePolicy = field(default_factory=StalePolicy)
    orphan: OrphanPolicy = field(default_factory=OrphanPolicy)
    collision: CollisionPolicy = field(default_factory=CollisionPolicy)
    invalid: InvalidPolicy = field(default_factory=InvalidPolicy)
    ignore_workers: tuple[str, ...] = ()

    def of(self, kind: str) -> RulePolicy:
        """Give the policy of one kind; a kind that another package brings has the defaults."""
        match kind:
            case Kind.STALE:
                return self.stale
            case Kind.ORPHAN:
                return self.orphan
            case Kind.COLLISION:
                return self.collision
            case Kind.INVALID:
                return self.invalid
            case _:
                return _OTHER

    def exempts(self, kind: str, worker: str) -> bool:
        """Say whether no alert of `kind` is wanted on `worker`: the rule is off, or a glob names the worker.

        A glob is matched by `fnmatch.fnmatchcase` against the whole path relative to the workspace (`.` for its
        root): case counts, and `*` crosses `/`, so `rig/*` is everything below `rig` and `*/crew/*` every
        crew at any depth.
        """
        rule = self.of(kind)
        return not rule.enabled or any(
            fnmatchcase(worker, glob) for glob in (*self.ignore_workers, *rule.ignore_workers)
        )
