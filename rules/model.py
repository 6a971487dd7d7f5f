"""The nouns: what a lock says, what is known about its owner, and what a rule may find.

Everything here is a frozen fact. Three answers are an enum: `UNKNOWN` is not dead, and nothing is ever
called dead for want of evidence.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Liveness(StrEnum):
    """Whether a process is there."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


class SessionState(StrEnum):
    """Whether what `session_id` names is there; `NONE` where the lock names no session."""

    NONE = "none"
    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """What the facts about one lock add up to (the table is in `rules.verdict`)."""

    HELD = "held"
    HELD_BY_SESSION = "held_by_session"
    HELD_BY_AGENT = "held_by_agent"
    ORPHAN = "orphan"
    STALE = "stale"
    UNVERIFIABLE = "unverifiable"
    INVALID = "invalid"


class Kind(StrEnum):
    """The kinds of finding that ship with lockwarden; another package's rule may bring its own word."""

    STALE = "stale"
    ORPHAN = "orphan"
    COLLISION = "collision"
    INVALID = "invalid"


class Severity(StrEnum):
    """How loud an alert is; the log level follows it."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Evidence(StrEnum):
    """How a collision was seen."""

    TAKEOVER = "takeover"
    REPLACED = "replaced"
    SHARED_PANE = "shared_pane"


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on both clocks: `wall` in seconds since the epoch, `mono` in monotonic seconds.

    Durations are measured on `mono`, which no clock step moves; `wall` is for people.
    """

    wall: float
    mono: float


@dataclass(frozen=True, slots=True)
class LockRecord:
    """What one lock file says.

    `acquired_at` is in UTC, cut to microseconds, and None where the file has no usable time: absent, Go's
    zero time, or outside the years that a datetime can hold. Absent strings are empty.
    """

    pid: int = 0
    acquired_at: datetime | None = None
    session_id: str = ""
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process for all time: a pid alone is recycled, the inode of its pidfd and its start are not.

    `inode` is 0 where the system has no pidfds; `start` is in clock ticks since boot (or any unit of the
    probe's own, so long as it is the same for the same process and grows), 0 where it is not known.
    """

    pid: int
    inode: int
    start: int


@dataclass(frozen=True, slots=True)
class AgentFact:
    """The process behind a short-lived writer: the first ancestor that is neither shell, tmux nor init."""

    identity: ProcessIdentity
    state: Liveness = Liveness.ALIVE


@dataclass(frozen=True, slots=True)
class ProcessFact:
    """What a probe found out about one pid on this host.

    `started_at` is seconds since the epoch, None where it is not known or not to be trusted (the clock was
    stepped). `agent` is None where no anchor was caught.
    """

    state: Liveness
    identity: ProcessIdentity | None = None
    started_at: float | None = None
    agent: AgentFact | None = None


@dataclass(frozen=True, slots=True)
class PaneRef:
    """One pane of one run of one tmux server; `server` tells runs on the same socket apart."""

    socket: str
    server: int
    pane: str


@dataclass(frozen=True, slots=True)
class SessionRef:
    """One session (`$N`) of one run of one tmux server."""

    socket: str
    server: int
    session: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One owner's hold on one worker, with all that is known about it.

    `seen` is when the file was first read so. `uid` owns the file. `identity` and `agent_identity` pin the
    recorded process and the agent behind it. `pin` is what the session id came down to, for as long as that
    lives, and `former` the last that it is known to have come down to since the lock was read; `pane` the one
    pane that `pin` means, None where it means none or several. `tmux_socket` is the server that the owner's
    environment named, empty where it could not be read. A `descriptive` session id is one that tmux may never
    have heard of.

    `asked_after` is the monotonic time after which tmux must have been asked for its "yes" to count: that of
    the process's death. A "no" counts from when the lock was `seen`, for a session that is gone stays gone.
    `settled` is False while such an answer is still to come: nothing is raised, resolved or reported on a
    claim that is not settled.
    """

    record: LockRecord
    seen: Moment
    uid: int = 0
    process: Liveness = Liveness.UNKNOWN
    session: SessionState = SessionState.UNKNOWN
    agent: Liveness = Liveness.UNKNOWN
    identity: ProcessIdentity | None = None
    agent_identity: ProcessIdentity | None = None
    pin: PaneRef | SessionRef | None = None
    former: PaneRef | SessionRef | None = None
    pane: PaneRef | None = None
    tmux_socket: str = ""
    descriptive: bool = False
    asked_after: float = 0.0
    settled: bool = True


@dataclass(frozen=True, slots=True)
class EarlierClaim:
    """A claim that was on a worker before the current one, and how it was displaced."""

    claim: Claim
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class SharedPane:
    """Another worker whose older lock names the same pane."""

    worker: str
    claim: Claim


class FileState(StrEnum):
    """How the file of a lock reads: `SETTLING` while an unreadable one has its grace."""

    READABLE = "readable"
    SETTLING = "settling"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class LockView:
    """All that a rule may know about one worker at one moment.

    `worker` is the path relative to the workspace (`.` for its root), `directory` the absolute one.
    `claim` is what the file said when it was last readable. `earlier` is oldest first. `older_sharer` is the
    newest of the other workers, neither inside this one nor around it, whose older locks name the same pane.
    `occupied_by` names a pane whose current path is inside the worker, empty where there is none.
    """

    worker: str
    directory: str
    verdict: Verdict
    file: FileState
    claim: Claim | None = None
    unreadable: str = ""
    earlier: tuple[EarlierClaim, ...] = ()
    older_sharer: SharedPane | None = None
    occupied_by: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one worker, as a rule found it.

    `reason` is one sentence, `hint` the next command for a person. `workers` is what the finding is about:
    the worker, or for a shared pane both, sorted; with `kind` it makes the fingerprint. `hold` and `repeat`
    are seconds. `claim` is None where the file cannot be read. `other` is the claim it collides with.
    """

    kind: str
    worker: str
    severity: Severity
    reason: str
    hint: str
    workers: tuple[str, ...]
    claim: Claim | None = None
    evidence: Evidence | None = None
    other: Claim | None = None
    other_worker: str = ""
    occupied_by: str = ""
    hold: float = 0.0
    repeat: float = 0.0


@dataclass(frozen=True, slots=True)
class Undecided:
    """A rule's "I do not know": what fires stays firing, what waits for its hold starts over."""

    kind: str
    workers: tuple[str, ...]
