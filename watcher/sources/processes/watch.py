"""Is a process there: asked once (`probe`), or watched so that its end is known at once (`ProcessWatch`).

What the answers mean, `pid` being a number that some lock records:

- DEAD: no process of our PID namespace bears the number (or only a thread does), or a zombie does; also what
  no process can bear. A process that was seen alive and has ended is dead, whoever bears its number next.
- ALIVE: one bears it, whosever it is and however hidden: pidfd_open(2) needs no permission.
- UNKNOWN: the look failed, as for want of descriptors; or the number belongs to another PID namespace, as far
  as that can be seen (`Sighting`, `pidns`).

Whether its bearer is the process that took the lock is for `rules.identity` to say, by `started_at`.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

from rules.model import AgentFact, Liveness, Moment, ProcessFact
from watcher.errors import one_line
from watcher.events import ProcessSeen
from watcher.sources.processes.ancestry import Anchor, find_anchor
from watcher.sources.processes.exits import ExitNotifier, best_notifier
from watcher.sources.processes.sighting import Sighting, look, names_process, same_process
from watcher.sources.processes.starttime import StartClock

OnHealth = Callable[[str, str, str], None]
"""Told the component, the reason why it is degraded (empty: it has recovered), and a hint for a person."""

_ALL_POLLED = "nothing here announces the end of a process: all are polled each second", ""
_SOME_POLLED = (
    "too few descriptors to hold every process: the rest is polled each second",
    "raise the limit of open files: ulimit -n, or LimitNOFILE= in the unit",
)

_COMMAND_LINE = 200
_POLL = 1.0
_SLICE = 64
"""Looks taken in one go: a millisecond or two, before the loop has its turn again."""


def probe(pid: int, *, with_agent: bool = False) -> ProcessFact:
    """Look at `pid` once, and at the agent behind it; never blocks, never raises.

    The agent is sought among the ancestors of a process that is there, be it as a zombie.
    """
    watched = _Watched(look(pid))
    if with_agent:
        with suppress(OSError):
            anchor = find_anchor(watched.sighting)
            if anchor is not None and anchor.is_at(found := look(anchor.pid)):
                watched.agent = _Watched(found)
    return watched.fact(StartClock())


def describe(pid: int) -> str:
    """Name a process for a person: "name (command line)"; "" where it is gone or may not be read.

    The command line is cut to 200 characters, and what is not printable is escaped. It is read from the
    process's own memory, for which a stuck process may keep the reader waiting: not to be called in the loop.
    """
    import psutil  # noqa: PLC0415 (18 ms and 2 MB that only a message needs)

    if not names_process(pid):
        return ""
    try:
        process = psutil.Process(pid)
        name = one_line(process.name())
        with suppress(psutil.Error):
            if words := process.cmdline():
                return f"{name} ({one_line(' '.join(words))[:_COMMAND_LINE]})"
    except (psutil.Error, OSError):
        return ""
    return name


@dataclass(slots=True, eq=False)
class _Watched:
    """One process under watch. `held`: its end will be announced, else it must be asked for.

    `failed`: the last look came to nothing, and `sighting` keeps who was seen before.
    `traced`: its ancestors have been read. That is done once: who adopts it later is not its agent.
    """

    sighting: Sighting
    held: bool = False
    failed: bool = False
    traced: bool = False
    anchor: Anchor | None = None
    agent: "_Watched | None" = None
    forgotten: bool = False

    def is_still(self, now: Sighting) -> bool:
        """Say whether another look is of the same process; one that failed may be."""
        if now.state is Liveness.DEAD:
            return False
        if self.sighting.identity is None:
            return True
        if now.identity is None and now.state is Liveness.UNKNOWN:
            return now.failed  # else nobody bears the number here any more, only elsewhere
        return same_process(self.sighting.identity, now.identity)

    def fact(self, starts: StartClock) -> ProcessFact:
        """Put together what is known; of an agent that was forgotten, only who it was."""
        sighting, agent = self.sighting, None
        if self.agent is not None and self.agent.sighting.identity is not None:
            state = Liveness.UNKNOWN if self.agent.forgotten else self.agent.sighting.state
            agent = AgentFact(self.agent.sighting.identity, state)
        return ProcessFact(sighting.state, sighting.identity, starts.started_at(sighting.started), agent)


class ProcessWatch:
    """Every process that a lock names, and the agents behind them; says at once when one ends.

    Belongs to the loop, not to be used from another thread. `post` gets a `ProcessSeen` for each watched pid
    whose process ended (then it is watched no longer, and the fact bears the identity of what ended), or of
    which more is known than before. That may be from within a call to `watch`, before it returns.

    A process that cannot be held (no descriptor left, nobody to announce its end) is looked at each second,
    by the same predicate, and `on_health` hears of it. `notifier` makes what announces the ends.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        post: Callable[[ProcessSeen], None],
        on_health: OnHealth,
        clock: Callable[[], Moment],
        *,
        notifier: Callable[[], ExitNotifier | None] = best_notifier,
    ) -> None:
        self._loop = loop
        self._post = post
        self._on_health = on_health
        self._clock = clock
        self._starts = StartClock()
        self._watched: dict[int, _Watched] = {}
        self._polled: set[int] = set()
        self._doubtful: set[int] = set()
        self._due: dict[int, None] = {}
        self._timer: asyncio.Handle | None = None
        self._degraded = False
        self._notifier = notifier()
        if self._notifier is not None:
            loop.add_reader(self._notifier.fileno(), self._collect)

    @property
    def pids(self) -> frozenset[int]:
        """All pids under watch, agents included."""
        return frozenset(self._watched)

    def watch(self, pid: int, *, with_agent: bool) -> ProcessFact:
        """Look at `pid` and watch its process until it ends or is forgotten; say what is known of it now.

        A pid under watch costs no second look. The agent is watched too, under its own pid: it stays so when
        `pid` has ended or is forgotten, and is to be forgotten for itself. A dead pid is not watched.
        """
        self._collect()
        watched = self._hold(pid)
        if with_agent:
            self._trace(watched)
        return watched.fact(self._starts)

    def forget(self, pid: int) -> None:
        """Watch `pid` no longer; nothing where it is not watched."""
        if watched := self._drop(pid):
            watched.forgotten = True
            if self._notifier is not None:
                self._notifier.release(pid)

    def recheck(self) -> None:
        """Look again, in slices between the loop's other work, at all that is UNKNOWN or polled."""
        if self._degraded and not self._polled and self._notifier is not None:
            self._degraded = False
            self._on_health("process", "", "")
        self._due.update(dict.fromkeys((*self._doubtful, *self._polled)))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._schedule()

    def close(self) -> None:
        """Let go of everything; nothing is posted any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._notifier is not None:
            self._loop.remove_reader(self._notifier.fileno())
            self._notifier.close()
            self._notifier = None
        for index in (self._watched, self._polled, self._doubtful, self._due):
            index.clear()

    def _collect(self) -> None:
        ended = [(pid, self._drop(pid)) for pid in self._notifier.ended()] if self._notifier is not None else []
        for pid, watched in ended:
            self._end(pid, watched)

    def _hold(self, pid: int) -> _Watched:
        """Give what is watched under `pid`, looked at anew unless it is held; else begin to watch it."""
        watched = self._watched.get(pid)
        if watched is not None and (watched.held or self._look_again(pid, watched)):
            return watched
        if again := self._watched.get(pid):
            return again  # whoever heard of the end has asked for the pid
        sighting, held = self._take(pid)
        watched = _Watched(sighting, held, sighting.failed)
        if sighting.state is not Liveness.DEAD:
            self._watched[pid] = watched
            self._sort(pid, watched)
        return watched

    def _look_again(self, pid: int, watched: _Watched) -> bool:
        """Look at a process that is not held, and post what has changed; say whether it is still there."""
        sighting, held = self._take(pid)
        if not watched.is_still(sighting):
            if self._notifier is not None:
                self._notifier.release(pid)
            self._end(pid, self._drop(pid))
            return False
        before, watched.held, watched.failed = watched.sighting, held, sighting.failed
        if sighting.failed:
            watched.sighting = replace(before, state=Liveness.UNKNOWN)
        else:
            watched.sighting = replace(sighting, identity=before.identity or sighting.identity)
        self._sort(pid, watched)
        if sighting.state is not before.state:
            self._tell(pid, watched)
        return True

    def _take(self, pid: int) -> tuple[Sighting, bool]:
        return self._notifier.take(pid) if self._notifier is not None else (look(pid), False)

    def _sort(self, pid: int, watched: _Watched) -> None:
        """Note how more will be heard of a process: by itself, each second, or at the next recheck."""
        self._polled.discard(pid)
        self._doubtful.discard(pid)
        if watched.sighting.state is Liveness.UNKNOWN and not watched.failed:
            self._doubtful.add(pid)
        elif not watched.held:
            self._polled.add(pid)
            self._degrade()
            self._schedule()

    def _trace(self, watched: _Watched) -> None:
        """Watch the agent behind a process, and again where it was forgotten meanwhile."""
        if not watched.traced and not watched.failed:
            with suppress(OSError):
                watched.anchor = find_anchor(watched.sighting)
                watched.traced = True
        anchor, agent = watched.anchor, watched.agent
        if anchor is None or (agent is not None and not agent.forgotten):
            return
        known = anchor.pid in self._watched
        found = self._hold(anchor.pid)
        if anchor.is_at(found.sighting):
            watched.agent = found
        elif not known:
            self.forget(anchor.pid)

    def _drop(self, pid: int) -> _Watched | None:
        self._polled.discard(pid)
        self._doubtful.discard(pid)
        self._due.pop(pid, None)
        return self._watched.pop(pid, None)

    def _end(self, pid: int, watched: _Watched | None) -> None:
        if watched is not None:
            watched.sighting = replace(watched.sighting, state=Liveness.DEAD)
            self._tell(pid, watched)

    def _tell(self, pid: int, watched: _Watched) -> None:
        self._post(ProcessSeen(pid, watched.fact(self._starts), self._clock()))

    def _degrade(self) -> None:
        if not self._degraded:
            self._degraded = True
            self._on_health("process", *(_ALL_POLLED if self._notifier is None else _SOME_POLLED))

    def _schedule(self) -> None:
        """See to it that what is due is looked at now, and what is polled in a second."""
        if self._timer is None and self._due:
            self._timer = self._loop.call_soon(self._sweep)
        elif self._timer is None and self._polled:
            self._timer = self._loop.call_later(_POLL, self._poll)

    def _poll(self) -> None:
        self._due.update(dict.fromkeys(self._polled))
        self._timer = None
        self._schedule()

    def _sweep(self) -> None:
        try:
            for pid in list(islice(self._due, _SLICE)):
                if pid in self._due:  # else forgotten meanwhile, on hearing of another
                    del self._due[pid]
                    self._look_again(pid, self._watched[pid])
        finally:
            self._timer = None
            self._schedule()
