"""tmux as a live source of facts: which servers there are, and which panes each has, the moment it changes."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from rules.model import Moment, PaneRef
from watcher.events import Event, ServersSeen, Sessions, SessionsSeen, Unreachable
from watcher.sources.tmux.directories import SocketDirectories
from watcher.sources.tmux.link import ServerLink
from watcher.sources.tmux.look import SWITCHED_OFF, servers_seen
from watcher.sources.tmux.server import Question, Server, TmuxOptions
from watcher.sources.tmux.servers import Census
from watcher.sources.tmux.survey import Survey
from watcher.sources.tmux.terminals import TerminalChanges, Terminals


class Health(StrEnum):
    """How a part of a source is doing."""

    DEGRADED = "degraded"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class TmuxHealth:
    """One change for the worse or the better; `subject` is the socket or the user it is about."""

    state: Health
    subject: str
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A question that got no answer, from a server that may just have ended; `asked` and `at` are monotonic."""

    server: Server
    answer: Unreachable
    asked: float
    at: float


_AFTER_A_SOCKET = (0.02, 0.1, 0.5)
_REMEMBERED = 64
_REAP = 0.02
_LAST_REAPING = 1.0
_HINT = "until it answers, locks that name a tmux session of its user stay unverified"
_USER_HINT = "run as that user or as root, or name the tmux servers to ask with --tmux-socket"
_UNSEEN_HINT = "this server is asked every second instead, and changes are seen that late"


class TmuxWatch:
    """Posts `ServersSeen` and `SessionsSeen` for the users it is told of. All methods are called in `loop`.

    Idle, it looks every `options.slow_look` seconds which servers there are, and asks each once.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: TmuxOptions,
        post: Callable[[Event], None],
        on_health: Callable[[TmuxHealth], None],
        clock: Callable[[], Moment],
    ) -> None:
        """Do nothing yet: `start` does."""
        self._loop = loop
        self._options = options
        self._post = post
        self._on_health = on_health
        self._clock = clock
        self._uids: set[int] = set()
        self._links: dict[str, ServerLink] = {}
        self._answers: dict[int, tuple[frozenset[str] | Unreachable, frozenset[str]]] = {}
        self._doubts: dict[str, _Doubt] = {}
        self._troubles: dict[str, str] = {}
        self._panes: dict[tuple[str, int], set[str]] = {}
        self._dead: list[Question] = []
        self._timers: set[asyncio.TimerHandle] = set()
        self._remembered: dict[str, None] = {}
        self._survey = Survey(loop, options, self._prepare, self._surveyed)
        self._closed = False
        self._directories = SocketDirectories(loop, options, self._sockets_changed)
        self._terminals = Terminals(loop, self._terminals_changed)

    async def start(self, uids: Iterable[int]) -> None:
        """Take the first look; when this returns, everything has answered or its time is over."""
        self._uids.update(uids)
        if not self._options.enabled:
            self._say_switched_off(self._uids)
            return
        self._survey.want(fresh=True)
        while waits := [*self._first_answers(), *([self._survey.running] if self._survey.running else [])]:
            await asyncio.wait(waits)
        self._later(self._options.slow_look, self._slow_look)

    def add_uid(self, uid: int) -> None:
        """Look at the servers of `uid` too, from now on."""
        if uid in self._uids:
            return
        self._uids.add(uid)
        if self._options.enabled:
            self._survey.want(fresh=True)
        else:
            self._say_switched_off([uid])

    def ask(self) -> None:
        """Have everything asked afresh: which servers there are, and what each of them has."""
        if not self._options.enabled or self._closed:
            return
        for link in self._links.values():
            link.ask()
        self._survey.want(fresh=True)

    def watch_panes(self, panes: Iterable[PaneRef]) -> None:
        """Have a server asked the moment the process in one of `panes` ends."""
        for (socket, server), names in _by_server(panes).items():
            self._panes.setdefault((socket, server), set()).update(names)
            link = self._links.get(socket)
            if link is not None and link.server.pid in (0, server):
                link.watch_panes(names)

    def drop_panes(self, panes: Iterable[PaneRef]) -> None:
        """Undo `watch_panes`."""
        for (socket, server), names in _by_server(panes).items():
            wanted = self._panes.get((socket, server), set())
            wanted -= names
            if not wanted:
                self._panes.pop((socket, server), None)
            link = self._links.get(socket)
            if link is not None and link.server.pid in (0, server):
                link.drop_panes(names)

    async def close(self) -> None:
        """End every client and wait until they are gone; nothing is posted any more."""
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        self._directories.close()
        self._terminals.close()
        for link in self._links.values():
            link.close()
        self._links.clear()
        await self._survey.close()
        deadline = time.monotonic() + _LAST_REAPING
        while self._reap() and time.monotonic() < deadline:  # noqa: ASYNC110 - no event tells of it everywhere
            await asyncio.sleep(0.001)

    def _first_answers(self) -> list[asyncio.Future[None]]:
        return [link.first for link in self._links.values() if not link.first.done()]

    def _later(self, wait: float, call: Callable[[], object]) -> None:
        if self._closed:
            return

        def due() -> None:
            self._timers.discard(timer)
            call()

        timer = self._loop.call_later(wait, due)
        self._timers.add(timer)

    def _slow_look(self) -> None:
        self._survey.want()
        self._later(self._options.slow_look, self._slow_look)

    def _sockets_changed(self) -> None:
        """A socket came or went. Between bind(2) and listen(2) a new server refuses: look some more times."""
        self._survey.want()
        for wait in _AFTER_A_SOCKET:
            self._later(wait, self._survey.want)

    def _terminals_changed(self, changes: TerminalChanges) -> None:
        for link in self._links.values():
            link.terminals_changed(changes)

    def _say_switched_off(self, uids: Iterable[int]) -> None:
        for uid in uids:
            self._post(ServersSeen(uid, SWITCHED_OFF, time.monotonic(), self._clock()))

    def _prepare(self) -> Iterable[int]:
        self._directories.watch(self._uids, self._remembered)
        return self._uids

    def _surveyed(self, censuses: dict[int, Census], asked: float, fresh: bool) -> None:  # noqa: FBT001 - of `Survey`
        """Take in which servers there are; where a fresh answer was asked for, post it even if it is the same."""
        servers = {server.socket: server for census in censuses.values() for server in census.servers.values()}
        known = frozenset(self._links)
        for socket, link in list(self._links.items()):
            if servers.get(socket) != link.server:
                self._unlink(link)
        for uid, census in censuses.items():
            seen = servers_seen(uid, census, asked, self._clock())
            self._trouble(f"user {uid}", census.incomplete, _USER_HINT)
            if fresh or self._answers.get(uid) != (seen.sockets, seen.reachable):
                self._answers[uid] = seen.sockets, seen.reachable
                self._post(seen)
        for socket in known - servers.keys():
            # Where all servers are known, the one that is gone is just not among them.
            if any(census.incomplete for census in censuses.values()):
                ended = Unreachable(f"the tmux server on {socket} has ended")
                self._post(SessionsSeen(socket, ended, asked, self._clock()))
        for socket, server in servers.items():
            if socket not in self._links:
                self._link(server)
        self._settle(asked)

    def _link(self, server: Server) -> None:
        seen = self._terminals.tell_of(server.pid)
        link = ServerLink(
            self._loop,
            self._options,
            server,
            answered=self._answered,
            doubted=self._survey.want,
            bury=self._bury,
            seen=seen,
        )
        self._links[server.socket] = link
        if not seen:
            reason = f"the terminals of the tmux server on {server.socket} cannot be seen from here"
            self._trouble(_unseen(server.socket), reason, _UNSEEN_HINT)
        self._remembered.pop(server.socket, None)
        self._remembered[server.socket] = None
        if len(self._remembered) > _REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        for (socket, pid), names in self._panes.items():
            if socket == server.socket and server.pid in (0, pid):
                link.watch_panes(frozenset(names))

    def _unlink(self, link: ServerLink) -> None:
        socket = link.server.socket
        link.close()
        del self._links[socket]
        self._doubts.pop(socket, None)
        self._trouble(socket, "")
        self._trouble(_unseen(socket), "")

    def _answered(self, server: Server, answer: Sessions | Unreachable, asked: float) -> None:
        """Pass on an answer. Where there is none, look first whether the server still is there."""
        if isinstance(answer, Sessions):
            self._doubts.pop(server.socket, None)
            self._trouble(server.socket, "")
            self._post(SessionsSeen(server.socket, answer, asked, self._clock()))
        else:
            self._doubts[server.socket] = _Doubt(server, answer, asked, time.monotonic())
            self._survey.want()

    def _settle(self, looked: float) -> None:
        """Say of servers that gave no answer, and were there at a later look, that they gave none."""
        for socket, doubt in list(self._doubts.items()):
            link = self._links.get(socket)
            if link is None or link.server != doubt.server:
                del self._doubts[socket]
            elif doubt.at < looked:
                del self._doubts[socket]
                self._trouble(socket, doubt.answer.reason)
                self._post(SessionsSeen(socket, doubt.answer, doubt.asked, self._clock()))

    def _trouble(self, subject: str, reason: str, hint: str = _HINT) -> None:
        """Note what is wrong with `subject`, nothing where it is empty; each change of mind is told once."""
        before = self._troubles.get(subject, "")
        if reason:
            self._troubles[subject] = reason
            if not before:
                self._on_health(TmuxHealth(Health.DEGRADED, subject, reason, hint))
        elif before:
            del self._troubles[subject]
            self._on_health(TmuxHealth(Health.RECOVERED, subject, f"no longer so: {before}", ""))

    def _bury(self, question: Question) -> None:
        self._dead.append(question)
        if len(self._dead) == 1:
            self._later(_REAP, self._reap_later)

    def _reap_later(self) -> None:
        if self._reap():
            self._later(_REAP, self._reap_later)

    def _reap(self) -> bool:
        """Reap what can be reaped; whether some are left."""
        self._dead = [question for question in self._dead if not question.reap()]
        return bool(self._dead)


def _unseen(socket: str) -> str:
    """Name the trouble that the terminals of a server are not seen, beside that it does not answer."""
    return f"{socket} (unseen)"


def _by_server(panes: Iterable[PaneRef]) -> dict[tuple[str, int], frozenset[str]]:
    groups: dict[tuple[str, int], set[str]] = {}
    for pane in panes:
        groups.setdefault((pane.socket, pane.server), set()).add(pane.pane)
    return {server: frozenset(names) for server, names in groups.items()}
