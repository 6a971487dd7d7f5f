"""What can happen: every fact enters the registry as one of these. Pure data.

Events are hints about a world that has moved on; what they carry is what a probe read, and when it asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rules.model import LockRecord, Moment, ProcessFact


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file named `agent.lock` that cannot be read as a lock; `reason` is one short clause.

    `age` is how many seconds ago the file last changed, by the wall clock; 0 where that is not known.
    """

    reason: str
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at one lock file gave: its content, its owner `uid`, and the recorded process as probed then.

    `tmux_socket` is the server that the process's environment names, empty where it could not be read. `file` is by
    what the file itself is known again (device, inode, ctime in nanoseconds), None where that is not known.
    """

    content: LockRecord | Unreadable
    uid: int
    process: ProcessFact | None = None
    tmux_socket: str = ""
    file: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class LockSeen:
    """The lock of `worker` was read. `recreated`: a deletion came in between since the last look, or before that."""

    worker: str
    reading: Reading
    at: Moment
    recreated: bool = False


@dataclass(frozen=True, slots=True)
class LockGone:
    """The lock of `worker` is not there."""

    worker: str
    at: Moment


@dataclass(frozen=True, slots=True)
class ProcessSeen:
    """A pid was looked at again, or its pidfd said that it ended (`fact.state` is DEAD)."""

    pid: int
    fact: ProcessFact
    at: Moment


@dataclass(frozen=True, slots=True)
class EnvironmentSeen:
    """The environment of a process names the tmux server that it runs under, by its socket."""

    pid: int
    tmux_socket: str
    at: Moment


@dataclass(frozen=True, slots=True)
class Pane:
    """One line of `tmux list-panes -a`. `pane` is `%N`, `session` is `$N`, `pid` the process in the pane.

    `terminal` is the path of its pseudo-terminal, empty where that is not known.
    """

    pane: str
    pid: int
    dead: bool
    session: str
    name: str
    path: str = ""
    terminal: str = ""


@dataclass(frozen=True, slots=True)
class Sessions:
    """Every pane of one tmux server. `server` is its pid, `started_at` in seconds since the epoch."""

    server: int
    started_at: float
    panes: tuple[Pane, ...]


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A question that got no answer: a server that hangs or refuses, a directory that may not be read."""

    reason: str


@dataclass(frozen=True, slots=True)
class ServersSeen:
    """Which tmux servers there are for a user: their sockets. `asked` is the monotonic time of the question.

    Where `sockets` is Unreachable, since not every server can be asked, `reachable` are those that can.
    """

    uid: int
    sockets: frozenset[str] | Unreachable
    asked: float
    at: Moment
    reachable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SessionsSeen:
    """One tmux server answered (an empty `panes` is an answer), or did not."""

    socket: str
    answer: Sessions | Unreachable
    asked: float
    at: Moment


@dataclass(frozen=True, slots=True)
class Rescanned:
    """One look at the whole workspace: every lock that is there. What is not in it is gone."""

    readings: Mapping[str, Reading]
    at: Moment
    initial: bool = False


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Time has passed: graces and windows may have run out."""

    at: Moment


Event = LockSeen | LockGone | ProcessSeen | EnvironmentSeen | ServersSeen | SessionsSeen | Rescanned | Elapsed
