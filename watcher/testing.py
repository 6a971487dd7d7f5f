"""Fakes for tests of programs that embed the watcher; its own tests use them too, and no other module does.

A watcher whose facts are posted, in a time that stands still until it is told to pass::

    async with FakeWatcher() as watcher:
        watcher.tmux("%5 $1 ada")
        watcher.write("ada", 10, "%5")
        watcher.end(10)                     # its helper has exited; the pane holds the lock
        watcher.tmux()
        transition = await anext(watcher)   # firing: stale

Rules, registry and alert book are the real ones. On a real workspace: `write_lock` and `dead_pid` make locks of
every verdict, `watcher.detect_collisions` takes the sessions that there are as an argument, and a `Recorder`
keeps the records of a real `Watcher`: `Watcher(root, journal=Journal([recorder]))`.
"""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from rules.alerts import Alert, AlertBook, Scope, Transition
from rules.identity import Host
from rules.model import AgentFact, Liveness, LockRecord, LockView, Moment, ProcessFact, ProcessIdentity
from rules.policy import Policy
from watcher.detector import Conclusion, Detector
from watcher.events import (
    Elapsed,
    Event,
    LockGone,
    LockSeen,
    Pane,
    ProcessSeen,
    Reading,
    Rescanned,
    ServersSeen,
    Sessions,
    SessionsSeen,
    Unreadable,
)
from watcher.locks.lockfile import encode
from watcher.paths import lock_path_of
from watcher.records import Record
from watcher.registry import Registry
from watcher.registry.claims import Judge
from watcher.registry.sessions import SessionDirectory
from watcher.settings import Settings
from watcher.sinks.line import Line

HOST = Host("vm")
SCOPE = Scope("vm", "/w")
"""The host and the workspace of a `FakeWatcher`."""

UID = 1
"""The user whose the watcher, the locks and the tmux server of a `FakeWatcher` are."""

BOOT = 1_000_000_000.0
"""The wall clock when the monotonic one stood at 0, seconds since the epoch. All other times are monotonic seconds."""

DEAD = ProcessFact(Liveness.DEAD)
UNKNOWN = ProcessFact(Liveness.UNKNOWN)

_TICK = 0.001
"""Seconds that each thing takes that happens: what tmux was asked before proves nothing about a lock."""


def at(mono: float) -> Moment:
    """Give the moment at which the monotonic clock stands at `mono`."""
    return Moment(BOOT + mono, mono)


def stamp(mono: float) -> datetime:
    """Give the time that a lock written at `mono` bears."""
    return datetime.fromtimestamp(BOOT + mono, UTC)


def record(pid: int = 10, session_id: str = "", *, taken: float | None = 0.0, hostname: str = "vm") -> LockRecord:
    """Make what a lock says; `taken` None is a lock without a usable time."""
    return LockRecord(pid, None if taken is None else stamp(taken), session_id, hostname)


def identity(pid: int, started: float = -5.0) -> ProcessIdentity:
    """Make the identity of the bearer of a pid that started at `started`."""
    ticks = 100_000 + int(started * 100)
    return ProcessIdentity(pid, inode=pid * 1_000_000 + ticks, start=ticks)


def alive(pid: int, *, started: float = -5.0, agent: int | None = None) -> ProcessFact:
    """Make the fact that a pid is borne by a process that started at `started`; `agent` is the one behind it."""
    behind = AgentFact(identity(agent)) if agent is not None else None
    return ProcessFact(Liveness.ALIVE, identity(pid, started), BOOT + started, behind)


def ended(pid: int, *, started: float = -5.0) -> ProcessFact:
    """Make the fact that the bearer of a pid that started at `started` has ended."""
    return ProcessFact(Liveness.DEAD, identity(pid, started), BOOT + started)


def listing(*sockets: str, asked: float, uid: int = UID) -> ServersSeen:
    """Make the answer to which tmux servers a user has."""
    return ServersSeen(uid, frozenset(sockets), asked, at(asked))


def answer(
    socket: str, *panes: str, asked: float, server: int = 1, started: float = -100.0, dead: bool = False
) -> SessionsSeen:
    """Make a tmux server's answer; a pane is `%N $N name`, of which the last may be left out, or the last two."""
    lines = (pane.split() for pane in panes)
    listed = tuple(
        Pane(number, 1, dead, rest[0] if rest else "$1", rest[1] if rest[1:] else "main") for number, *rest in lines
    )
    return SessionsSeen(socket, Sessions(server, BOOT + started, listed), asked, at(asked))


class FakeWatcher:
    """Stands in for `watcher.Watcher`: the same transitions, locks and alerts, of facts that a test posts.

    Nobody else is asked: neither a file, nor a process, nor a clock. `now` moves by a millisecond with each thing
    that happens, and with `pass_time`. Once `tmux` was told, the one server there is answers as it did last
    whenever the registry asks.
    """

    def __init__(self, settings: Settings | None = None, *, policy: Policy | None = None) -> None:
        settings = settings or Settings()
        policy = policy or settings.rules.policy()
        tmux = settings.tmux
        sessions = SessionDirectory(UID, enabled=tmux.enabled, named=tmux.sockets, alias=tmux.session_alias)
        judge = Judge(HOST, tmux.descriptive)
        grace, window = policy.invalid.grace, policy.collision.window
        self.registry = Registry(SCOPE.workspace, judge, sessions, grace=grace, window=window)
        self.book = AlertBook(SCOPE)
        self.now = 0.0
        self.dropped = 0
        self._detector = Detector(self.registry, self.book, policy)
        self._panes: tuple[str, ...] | None = None
        self._waiting: deque[Transition] = deque()
        self._came = asyncio.Event()
        self._left = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._left = True
        self._came.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Transition:
        while not self._waiting:
            if self._left:
                raise StopAsyncIteration
            self._came.clear()
            await self._came.wait()
        return self._waiting.popleft()

    def locks(self) -> list[LockView]:
        """List every lock that is there now, with what is known of it."""
        views = (self.registry.view(worker) for worker in self.registry.workers())
        return [view for view in views if view is not None]

    def firing(self) -> list[Alert]:
        """List the alerts that fire now, oldest first."""
        return self.book.firing()

    # What happens

    def write(self, worker: str, pid: int, session_id: str = "", *, process: ProcessFact | None = None) -> None:
        """Have a lock be written, by a process that lives unless `process` says otherwise."""
        now = self._tick()
        reading = Reading(record(pid, session_id, taken=now.mono), UID, process or alive(pid))
        self._happen(LockSeen(worker, reading, now))

    def garble(self, worker: str, reason: str = "not JSON") -> None:
        """Have a lock be written that cannot be read; it is an alert once its grace has passed."""
        self._happen(LockSeen(worker, Reading(Unreadable(reason), UID), self._tick()))

    def remove(self, worker: str) -> None:
        """Have a lock be removed; that it was not to be written anew is known once some time has passed."""
        self._happen(LockGone(worker, self._tick()))

    def end(self, *pids: int) -> None:
        """Have processes end."""
        now = self._tick()
        self._happen(*(ProcessSeen(pid, ended(pid), now) for pid in pids))

    def tmux(self, *panes: str) -> None:
        """Have the tmux server answer with these panes, each `%N $N name`; with none it is there, and empty."""
        self._panes = panes
        self._answer()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and whatever is due in it happen."""
        self.wait(self.now + seconds)

    def post(self, *events: Event) -> Conclusion:
        """Take in facts of any kind as one batch, and say what they have come to; `now` is that of the last."""
        initial = False
        for event in events:
            self._detector.apply(event)
            self.now = event.at.mono
            initial |= isinstance(event, Rescanned) and event.initial
        conclusion = self._detector.conclude(at(self.now), initial=initial)
        self._waiting.extend(conclusion.transitions)
        self._came.set()
        return conclusion

    def wait(self, until: float) -> Iterable[Conclusion]:
        """Let time pass until `until`; say what came of it, each time something was due and at the end."""
        conclusions = []
        while (due := self.deadline()) is not None and due <= until:
            conclusions.append(self._happen(Elapsed(at(max(due, self.now)))))
        if self.now < until:
            conclusions.append(self._happen(Elapsed(at(until))))
        return conclusions

    def deadline(self) -> float | None:
        """Say when something is due next; None while nothing is."""
        return self._detector.deadline()

    def _happen(self, *events: Event) -> Conclusion:
        conclusion = self.post(*events)
        if conclusion.changes.ask and self._panes is not None:
            self._answer()
        return conclusion

    def _answer(self) -> None:
        """Answer as of now: an answer to an earlier question proves nothing."""
        asked = self._tick().mono
        self.post(listing("/s", asked=asked), answer("/s", *self._panes or (), asked=asked))

    def _tick(self) -> Moment:
        self.now += _TICK
        return at(self.now)


class Recorder:
    """A sink that keeps every record of a `watcher.sinks.pipeline.Journal`, in memory; safe to read from any thread."""

    name = "recorder"

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._came = threading.Condition()

    @property
    def records(self) -> list[Record]:
        """What was said so far."""
        return [line.record for line in self.lines]

    def wait(self, event: str, timeout: float = 30.0) -> Record:
        """Wait until a record of this event is there, and give the first; blocks, so not for an event loop.

        Raises TimeoutError where none comes within `timeout` seconds.
        """
        with self._came:
            if not self._came.wait_for(lambda: any(each.event == event for each in self.records), timeout):
                raise TimeoutError(f"no {event} came; these did: {', '.join(each.event for each in self.records)}")
            return next(each for each in self.records if each.event == event)

    def offer(self, line: Line) -> bool:
        """Keep a line."""
        self.write(line)
        return True

    def write(self, line: Line) -> None:
        """Keep a line."""
        with self._came:
            self.lines.append(line)
            self._came.notify_all()

    def reopen(self) -> None:
        """Do nothing: there is no file."""

    def close(self) -> None:
        """Do nothing: what was kept is kept."""


def write_lock(
    worker_dir: str | os.PathLike[str], pid: int, session_id: str = "", *, hostname: str = "", ago: float = 0.0
) -> Path:
    """Put a lock into a worker directory on disk, as the newer writers do; give its path.

    It bears the time `ago` seconds before now. Directories are made. No flock is taken, and whatever lock was there is
    replaced: this is for setting a scene, `watcher.Lock` is for owners.
    """
    lock = Path(lock_path_of(os.fspath(worker_dir)))
    lock.parent.mkdir(parents=True, exist_ok=True)
    taken = time.time_ns() - int(ago * 1e9)
    aside = lock.with_name(f"{lock.name}.tmp")
    aside.write_bytes(encode(pid=pid, acquired_ns=taken, utc_offset=0, session_id=session_id, hostname=hostname))
    return aside.rename(lock)


def dead_pid() -> int:
    """Give a pid that a process bore until just now, and none does any more."""
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        return process.pid
