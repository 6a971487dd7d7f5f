"""What the registry keeps of one worker, and what it hands out at the end of a batch."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from rules.model import Claim, EarlierClaim, LockView, PaneRef, Verdict
from watcher.registry.changes import ChangeKind, LockChange


@dataclass(slots=True)
class Entry:
    """One worker. `claim` is what the file said when last readable; `past` a claim that was released.

    While the file is gone, `last` is how the lock was at that moment. `file` is by what the file is known again.
    """

    worker: str
    claim: Claim | None = None
    earlier: tuple[EarlierClaim, ...] = ()
    past: Claim | None = None
    past_until: float = 0.0
    unreadable: str = ""
    unreadable_since: float = 0.0
    gone_at: float | None = None
    last: LockView | None = None
    file: tuple[int, int, int] | None = None
    recreated: bool = False
    pending: ChangeKind | None = None
    initial: bool = False
    reported: Verdict | None = None
    wake: float | None = None

    def claims(self) -> Iterator[Claim]:
        """List every claim that is kept: the current one, the released one, the earlier ones."""
        if self.claim is not None:
            yield self.claim
        if self.past is not None:
            yield self.past
        for earlier in self.earlier:
            yield earlier.claim

    def is_held(self) -> bool:
        """Say whether there is a lock, or was one that is not released yet."""
        return self.claim is not None or bool(self.unreadable)


@dataclass(slots=True)
class Outbox:
    """What `collect` hands out."""

    lines: list[LockChange] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    pids: set[int] = field(default_factory=set)
    panes: set[PaneRef] = field(default_factory=set)
    ask: bool = False
