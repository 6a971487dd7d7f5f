"""One look at all tmux servers, for those who ask once: `scan`, `clean`, the library."""

import select
import time
from collections.abc import Callable, Iterable

from rules.model import Moment
from watcher.events import ServersSeen, Sessions, SessionsSeen, Unreachable
from watcher.sources.tmux.server import Question, Server, TmuxOptions, reason_of
from watcher.sources.tmux.servers import Census, ServerSearch

SWITCHED_OFF = Unreachable("tmux is switched off (tmux.enabled, --no-tmux)")

_MORE_LOOKS = 2
_REAPING = 1.0

Clock = Callable[[], Moment]
Answer = Sessions | Unreachable


def look(options: TmuxOptions, uids: Iterable[int], now: Clock) -> list[ServersSeen | SessionsSeen]:
    """Ask every tmux server of `uids` for its panes, all at once, each with `options.timeout` seconds.

    Synchronous, without threads. Where servers came or went meanwhile, it looks again, at most twice.
    """
    wanted = frozenset(uids)
    if not options.enabled:
        return [ServersSeen(uid, SWITCHED_OFF, time.monotonic(), now()) for uid in wanted]
    search = ServerSearch(options)
    asked, censuses = time.monotonic(), search.census(wanted)
    answers = _ask_all(options, _servers(censuses), now)
    for _ in range(_MORE_LOOKS):
        if all(isinstance(seen.answer, Sessions) for seen in answers):
            break
        before = _servers(censuses)
        asked, censuses = time.monotonic(), search.census(wanted)
        if _servers(censuses) == before:
            break
        answers = _ask_all(options, _servers(censuses), now)
    return [*(servers_seen(uid, census, asked, now()) for uid, census in censuses.items()), *answers]


def servers_seen(uid: int, census: Census, asked: float, at: Moment) -> ServersSeen:
    """Say what a census found: every socket, or that not every server can be asked."""
    sockets = frozenset(census.servers)
    return ServersSeen(uid, Unreachable(census.incomplete) if census.incomplete else sockets, asked, at, sockets)


def _servers(censuses: dict[int, Census]) -> frozenset[Server]:
    return frozenset(server for census in censuses.values() for server in census.servers.values())


class _Round:
    """The questions that were put at once, and what has come of them."""

    def __init__(self, options: TmuxOptions, now: Clock) -> None:
        self.answers: list[SessionsSeen] = []
        self._options = options
        self._now = now
        self._poll = select.poll()
        self._open: dict[int, tuple[str, Question]] = {}
        self._ended: list[Question] = []

    def put(self, server: Server) -> None:
        asked = time.monotonic()
        try:
            question = Question(self._options, server)
        except OSError as error:
            answer = Unreachable(f"tmux cannot be run: {reason_of(error)}")
            self.answers.append(SessionsSeen(server.socket, answer, asked, self._now()))
        else:
            self._open[question.descriptor] = server.socket, question
            self._poll.register(question.descriptor, select.POLLIN)

    def gather(self) -> None:
        """Wait for the answers, for as long as they may take, then for the end of the clients."""
        deadline = time.monotonic() + self._options.timeout
        while self._open and (left := deadline - time.monotonic()) > 0:
            for descriptor, _ in self._poll.poll(left * 1000):
                answer = self._open[descriptor][1].read()
                if answer is not None:
                    self._close(descriptor, answer)
        for descriptor, (_, question) in list(self._open.items()):
            self._close(descriptor, question.timed_out())
        deadline = time.monotonic() + _REAPING
        while self._ended and time.monotonic() < deadline:
            self._ended = [question for question in self._ended if not question.reap()]
            time.sleep(0.001 if self._ended else 0)

    def _close(self, descriptor: int, answer: Answer) -> None:
        socket, question = self._open.pop(descriptor)
        self.answers.append(SessionsSeen(socket, answer, question.asked, self._now()))
        self._poll.unregister(descriptor)
        question.end()
        self._ended.append(question)


def _ask_all(options: TmuxOptions, servers: frozenset[Server], now: Clock) -> list[SessionsSeen]:
    if not servers:  # also where the system has no poll(2)
        return []
    questions = _Round(options, now)
    for server in servers:
        questions.put(server)
    questions.gather()
    return questions.answers
