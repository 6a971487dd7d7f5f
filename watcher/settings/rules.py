"""The tables `[rules]` and `[rules.*]`: what is an alert, and how it behaves.

The defaults are those of `rules.policy`.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from rules.model import Severity
from rules.policy import CollisionPolicy, InvalidPolicy, OrphanPolicy, Policy, RulePolicy, StalePolicy
from watcher.settings.forms import Duration, Word
from watcher.settings.section import Option, Section

Hold = Annotated[Duration, Meta(description="How long a finding must last before it fires.")]
Loudness = Annotated[Severity, Meta(description="How loud the alert is; the level of its lines.")]
Globs = tuple[Word, ...]


class Rule(Section, frozen=True, kw_only=True):
    """What every rule has; the defaults are those of `rules.policy`."""

    enabled: Annotated[bool, Meta(description="Alert on what this rule finds.")] = RulePolicy().enabled
    hold: Hold = RulePolicy().hold
    repeat: Annotated[Duration, Meta(description="How often a firing alert is written again; 0: never.")] = (
        RulePolicy().repeat
    )
    severity: Loudness = RulePolicy().severity
    ignore_workers: Annotated[
        Globs, Meta(description="Globs on worker paths that this rule leaves alone; * crosses /.")
    ] = RulePolicy().ignore_workers


class Stale(Rule, frozen=True, kw_only=True):
    """A lock whose owner is gone."""

    require_dead_session: Annotated[
        bool, Meta(description="Alert only where the session is gone too; false: a dead process is enough.")
    ] = StalePolicy().require_dead_session


class Orphan(Rule, frozen=True, kw_only=True):
    """A process that lives on without its session."""

    hold: Annotated[
        Hold,
        Option("--orphan-hold", "SECONDS", help="How long a process may outlive its session before that is an alert."),
    ] = OrphanPolicy().hold


class Collision(Rule, frozen=True, kw_only=True):
    """Two live owners of one identity."""

    severity: Loudness = CollisionPolicy().severity
    window: Annotated[
        Duration, Meta(description="How soon after a deletion another owner's lock counts as put in its place.")
    ] = CollisionPolicy().window
    shared_pane: Annotated[bool, Meta(description="Warn of two workers whose locks name one pane.")] = (
        CollisionPolicy().shared_pane
    )


class Invalid(Rule, frozen=True, kw_only=True):
    """A lock file that cannot be read as one."""

    grace: Annotated[
        Duration, Meta(description="How long a file may stay unreadable before it is a finding; hold counts after it.")
    ] = InvalidPolicy().grace


class Rules(Section, frozen=True, kw_only=True):
    """What is an alert, and how it behaves."""

    ignore_workers: Annotated[Globs, Meta(description="Globs on worker paths that no rule alerts on; * crosses /.")] = (
        Policy().ignore_workers
    )
    stale: Stale = Stale()
    orphan: Orphan = Orphan()
    collision: Collision = Collision()
    invalid: Invalid = Invalid()

    def policy(self) -> Policy:
        """Give what the rules are to know of this."""
        return Policy(
            stale=StalePolicy(**msgspec.structs.asdict(self.stale)),
            orphan=OrphanPolicy(**msgspec.structs.asdict(self.orphan)),
            collision=CollisionPolicy(**msgspec.structs.asdict(self.collision)),
            invalid=InvalidPolicy(**msgspec.structs.asdict(self.invalid)),
            ignore_workers=self.ignore_workers,
        )
