"""One line of the log, typed. The daemon makes these; the sinks add what every line has (`Envelope`) and write them.

A field that does not apply is absent from the line: here it has its default, None, False or an empty string.
Times are aware datetimes in UTC. Strings may hold anything that a file name may, including bytes that are not
UTF-8 (as `os.fsdecode` gives them): the sinks escape.
"""

from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from rules.model import Evidence, Severity, Verdict
from rules.resolution import Resolution

SCHEMA = 1
SERVICE = "lockwarden"


class Level(StrEnum):
    """How loud a line is. Those of alerts follow their severity."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """The place in the order from debug, 0, to critical, 4."""
        return _RANK[self]


_RANK = {level: rank for rank, level in enumerate(Level)}


class Worth(IntEnum):
    """What is given up first where a sink does not keep up, and at last."""

    INFORMATION = 0
    REMINDER = 1
    TRANSITION = 2


class Component(StrEnum):
    """The part of the watcher that works less well than it should, or does again."""

    INOTIFY = "inotify"
    TMUX = "tmux"
    PROCESS = "process"
    WORKSPACE = "workspace"
    LOG = "log"
    STATE = "state"
    CONFIG = "config"


class Status(StrEnum):
    """Whether what an alert says holds now."""

    FIRING = "firing"
    RESOLVED = "resolved"


_STATES = ["alive", "dead", "unknown", "none"]
_TIME = {"format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"}

Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
State = Annotated[str, Meta(extra_json_schema={"enum": _STATES})]
Time = Annotated[datetime, Meta(extra_json_schema=_TIME)]


def utc(seconds: float) -> datetime:
    """Give the time that is `seconds` after the epoch, as records hold it."""
    return datetime.fromtimestamp(seconds, UTC)


class Envelope(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every line has, whatever it says."""

    timestamp: Annotated[Time, Meta(description="When it was written: RFC 3339, UTC, microseconds.")]
    level: Annotated[Level, Meta(description="Alerts: their severity. Resolved alerts and most else: info.")]
    event: Annotated[str, Meta(description="What happened, from the closed list. Never holds data.")]
    message: Annotated[str, Meta(description="One sentence for a person.")]
    service: Annotated[str, Meta(description="The program.", extra_json_schema={"const": SERVICE})]
    schema: Annotated[int, Meta(description="The version of this schema.", extra_json_schema={"const": SCHEMA})]
    hostname: Annotated[str, Meta(description="The host that the watcher runs on.")]
    workspace: Annotated[str, Meta(description="The absolute path of the workspace.")]
    id: Annotated[str, Meta(pattern="^[0-9a-f]{32}$", description="Unique to the record, the same in every sink.")]
    seq: Annotated[int, Meta(ge=1, description="Counts from 1 per run and sink: a gap is a lost line.")]
    run: Annotated[str, Meta(pattern="^[0-9a-f]{8}$", description="One per start of the watcher.")]
    truncated: Annotated[bool, Meta(description="True where fields were cut to keep the line short.")] = False


class Record(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="event"):
    """What one line says beyond its envelope."""

    worth: ClassVar[Worth] = Worth.TRANSITION

    @property
    def event(self) -> str:
        """The name of what happened."""
        return str(self.__struct_config__.tag)

    @property
    def level(self) -> Level:
        """How loud the line is."""
        return Level.INFO


class WatcherStarted(Record, kw_only=True, frozen=True, tag="watcher.started"):
    """The watcher is armed. The first record of a run."""

    version: str
    pid: Annotated[int, Meta(ge=1, description="The watcher's own process.")]
    backend: Annotated[str, Meta(description="Where file events come from: inotify, native or polling.")]
    directories: Annotated[Count, Meta(description="Directories found outside skip names.")]
    watches: Annotated[Count, Meta(description="Watches placed.")]
    skipped: Annotated[Count, Meta(description="Directories not entered because of their names.")]
    locks: Annotated[Count, Meta(description="Locks found.")]
    seconds: Annotated[Seconds, Meta(description="From the start to armed.")]
    polled: Annotated[str, Meta(description="What is polled because its file system notifies nobody.")] = ""


class WatcherHeartbeat(Record, kw_only=True, frozen=True, tag="watcher.heartbeat"):
    """The watcher lives, and these are its counts."""

    worth: ClassVar[Worth] = Worth.INFORMATION

    uptime_s: Annotated[Seconds, Meta(description="Seconds since the start.")]
    locks: Annotated[Count, Meta(description="Locks in the registry.")]
    held: Annotated[Count, Meta(description="Of these, with a living owner.")]
    unverifiable: Annotated[Count, Meta(description="Of these, with an owner that cannot be judged.")]
    watches: Annotated[Count, Meta(description="Watches in place.")]
    firing_stale: Count
    firing_orphan: Count
    firing_collision: Count
    firing_invalid: Count
    events: Annotated[Count, Meta(description="File events since the start.")]
    overflows: Annotated[Count, Meta(description="Times that the kernel's queue overflowed, since the start.")]
    rescans: Annotated[Count, Meta(description="Looks at the whole workspace since the start.")]
    dropped: Annotated[Count, Meta(description="Log lines lost since the start, over all sinks.")]


class _Health(Record, kw_only=True, frozen=True):
    component: Annotated[Component, Meta(description="The part that is meant.")]
    reason: Annotated[str, Meta(description="What is wrong, or what was.")]
    hint: Annotated[str, Meta(description="What to do about it.")] = ""
    dropped: Annotated[Count | None, Meta(description="Log lines lost meanwhile.")] = None


class WatcherDegraded(_Health, kw_only=True, frozen=True, tag="watcher.degraded"):
    """A part of the watcher does not work as it should; the rest goes on."""

    @property
    def level(self) -> Level:
        """How loud the line is."""
        return Level.WARNING


class WatcherRecovered(_Health, kw_only=True, frozen=True, tag="watcher.recovered"):
    """A part that was degraded works again."""


class WatcherReloaded(Record, kw_only=True, frozen=True, tag="watcher.reloaded"):
    """A new configuration is in force."""

    changed: Annotated[str, Meta(description="The keys that changed, separated by commas.")]


class WatcherStopped(Record, kw_only=True, frozen=True, tag="watcher.stopped"):
    """The watcher ends. The last record of a run that was not killed."""

    reason: str
    uptime_s: Annotated[Seconds, Meta(description="Seconds since the start.")]


class LockFields(Record, kw_only=True, frozen=True):
    """What is known about one lock. `worker_hex` is filled in by the sinks."""

    worker: Annotated[str, Meta(description="Path of the worker relative to the workspace, `.` for its root.")]
    lock_path: Annotated[str, Meta(description="Absolute path of the lock file.")]
    pid: Annotated[int | None, Meta(description="The recorded process. Absent where the lock is unreadable.")] = None
    session_id: Annotated[str, Meta(description="What the lock says its session is.")] = ""
    lock_host: Annotated[str, Meta(description="The host that the lock names.")] = ""
    acquired_at: Annotated[Time | None, Meta(description="When the lock says it was acquired.")] = None
    process_state: Annotated[State, Meta(description="Whether the recorded process is there.")]
    session_state: Annotated[State, Meta(description="Whether what `session_id` names is there.")]
    agent_state: Annotated[State, Meta(description="Whether the process behind the recorded one is there.")]
    agent_pid: Annotated[int | None, Meta(description="The process behind the recorded one.")] = None
    verdict: Annotated[Verdict, Meta(description="What these facts add up to.")]
    worker_hex: Annotated[
        str, Meta(pattern="^([0-9a-f]{2})*$", description="The exact bytes of a worker that is not UTF-8.")
    ] = ""


class LockChange(LockFields, kw_only=True, frozen=True):
    """Something happened to a lock, or to its owner."""

    worth: ClassVar[Worth] = Worth.INFORMATION


class LockAcquired(LockChange, kw_only=True, frozen=True, tag="lock.acquired"):
    """A lock is there that was not."""

    initial: Annotated[bool, Meta(description="True where it was there when the watcher started.")] = False


class LockRefreshed(LockChange, kw_only=True, frozen=True, tag="lock.refreshed"):
    """A lock was written again by its owner."""


class LockReplaced(LockChange, kw_only=True, frozen=True, tag="lock.replaced"):
    """A lock was written by another owner."""


class LockReleased(LockChange, kw_only=True, frozen=True, tag="lock.released"):
    """A lock is gone. The verdict is the last it had."""


class LockVerdict(LockChange, kw_only=True, frozen=True, tag="lock.verdict"):
    """The facts about a lock's owner add up to something else than before."""

    previous: Annotated[Verdict, Meta(description="What they added up to before.")]


class AlertFields(LockFields, kw_only=True, frozen=True):
    """One alert, on one lock."""

    status: ClassVar[Status] = Status.FIRING

    kind: Annotated[
        str,
        Meta(
            pattern="^[a-z][a-z0-9_]*$",
            description="stale, orphan, collision, invalid, or the word of a rule that another package brings.",
        ),
    ]
    severity: Severity
    fingerprint: Annotated[
        str, Meta(pattern="^[0-9a-f]{16}$", description="The same for this finding over restarts and refreshes.")
    ]
    episode: Annotated[str, Meta(pattern="^[0-9a-f]{16}$", description="The fingerprint, from firing to resolved.")]
    starts_at: Annotated[Time, Meta(description="When the finding began.")]
    reason: Annotated[str, Meta(description="Why: one sentence.")]
    hint: Annotated[str, Meta(description="The next command for a person.")]
    evidence: Annotated[Evidence | None, Meta(description="Collision: how it was seen.")] = None
    other_pid: Annotated[int | None, Meta(description="Collision: the earlier claim's process.")] = None
    other_session_id: Annotated[str, Meta(description="Collision: the earlier claim's session.")] = ""
    other_worker: Annotated[str, Meta(description="Collision: the earlier claim's worker.")] = ""
    other_acquired_at: Annotated[Time | None, Meta(description="Collision: when the earlier claim began.")] = None
    occupied_by: Annotated[str, Meta(description="A pane that works in the directory without a lock.")] = ""

    @property
    def level(self) -> Level:
        """How loud the line is."""
        return Level(self.severity)


class AlertFiring(AlertFields, kw_only=True, frozen=True, tag="alert.firing"):
    """A finding lasted longer than its hold."""

    initial: Annotated[bool, Meta(description="True where it held when the watcher started.")] = False
    restored: Annotated[bool, Meta(description="True where an earlier run of the watcher had it firing.")] = False


class AlertUpdated(AlertFields, kw_only=True, frozen=True, tag="alert.updated"):
    """The facts of a firing alert changed."""

    worth: ClassVar[Worth] = Worth.REMINDER


class AlertRepeated(AlertFields, kw_only=True, frozen=True, tag="alert.repeated"):
    """An alert still fires."""

    worth: ClassVar[Worth] = Worth.REMINDER


class AlertResolved(AlertFields, kw_only=True, frozen=True, tag="alert.resolved"):
    """What an alert says no longer holds."""

    status: ClassVar[Status] = Status.RESOLVED

    ends_at: Annotated[Time, Meta(description="When it ceased to hold.")]
    reason: Annotated[Resolution, Meta(description="Why it ceased to hold.")]

    @property
    def level(self) -> Level:
        """How loud the line is."""
        return Level.INFO


RECORDS: tuple[type[Record], ...] = (
    WatcherStarted,
    WatcherHeartbeat,
    WatcherDegraded,
    WatcherRecovered,
    WatcherReloaded,
    WatcherStopped,
    LockAcquired,
    LockRefreshed,
    LockReplaced,
    LockReleased,
    LockVerdict,
    AlertFiring,
    AlertUpdated,
    AlertRepeated,
    AlertResolved,
)
"""Every record there is."""
