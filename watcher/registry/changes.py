"""What the registry reports: lines about locks, and what has to be looked at for their sake. Pure data."""

from dataclasses import dataclass
from enum import StrEnum

from rules.model import LockView, PaneRef, Verdict


class ChangeKind(StrEnum):
    """What happened to a lock."""

    ACQUIRED = "acquired"
    REFRESHED = "refreshed"
    REPLACED = "replaced"
    RELEASED = "released"
    VERDICT = "verdict"


@dataclass(frozen=True, slots=True)
class LockChange:
    """One line to be written about a lock; the view of a released one is as it was.

    `previous` is the verdict that was reported last, None where there was none. `initial`: the lock was
    there when the watcher started.
    """

    kind: ChangeKind
    view: LockView
    previous: Verdict | None = None
    initial: bool = False


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed since the registry was last asked.

    `touched`: the workers to be ruled on. `pids` and `panes`: those that locks began or ceased to name.
    `ask`: some claim cannot be judged before tmux gives a fresh answer.
    """

    lines: tuple[LockChange, ...] = ()
    touched: frozenset[str] = frozenset()
    pids: frozenset[int] = frozenset()
    panes: frozenset[PaneRef] = frozenset()
    ask: bool = False
