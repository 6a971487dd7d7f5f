"""What an observer of a workspace says beside the plain file events."""

from dataclasses import dataclass
from enum import Enum, StrEnum

from watchdog.events import DirModifiedEvent


class ScanReason(StrEnum):
    """Why everything was looked at."""

    START = "start"
    OVERFLOW = "overflow"
    INTERVAL = "interval"
    ATTACHED = "attached"
    RESUMED = "resumed"


@dataclass(unsafe_hash=True)
class TreeScannedEvent(DirModifiedEvent):
    """Look at everything below `src_path`: the whole tree was just looked at, and this is every lock in it.

    What is not in `locks` (absolute paths) is gone. It is sent when the first crawl is done (`START`), after
    the kernel lost events (`OVERFLOW`), after each slow rescan (`INTERVAL`), when the root is back
    (`ATTACHED`), and when inotify took over from polling (`RESUMED`). To a handler that does not know
    it, it is a directory that was modified. `skipped` counts the pruned directories, `seconds` is how long
    the look took.
    """

    locks: frozenset[str] = frozenset()
    reason: ScanReason = ScanReason.START
    directories: int = 0
    skipped: int = 0
    seconds: float = 0.0


class Component(StrEnum):
    """What an observer can lose."""

    INOTIFY = "inotify"
    WORKSPACE = "workspace"


class Condition(Enum):
    """How a component is. `FAILED`: the emitter's thread has ended, nothing more will come from it."""

    DEGRADED = "degraded"
    RECOVERED = "recovered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Health:
    """A component was lost, or is back. `reason` is one clause, `hint` the way out; `error` only when FAILED."""

    component: Component
    condition: Condition
    reason: str
    hint: str = ""
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """Where an observer stands.

    `directories` are known, `watches` of them watched, `polled` looked at every poll interval, `unreadable`
    closed to us (and polled too), `skipped` were pruned when everything was last looked at. `events` are
    those read from the system. `silent` are the types of the file systems in the workspace that do not
    notify of every change. `armed`: the first crawl is done. `turned_at` is the monotonic time at which the
    observer's thread was last seen at work: a look at a dead network file system may hold it up.
    """

    backend: str = ""
    directories: int = 0
    watches: int = 0
    polled: int = 0
    unreadable: int = 0
    skipped: int = 0
    locks: int = 0
    events: int = 0
    overflows: int = 0
    rescans: int = 0
    silent: tuple[str, ...] = ()
    armed: bool = False
    turned_at: float = 0.0
