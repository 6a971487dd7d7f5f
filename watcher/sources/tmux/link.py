"""One run of one tmux server, watched: hints in, answers out."""

import asyncio
import math
import os
import time
from collections.abc import Callable

from watcher.events import Sessions, Unreachable
from watcher.sources.tmux.panes import PanePidfds, open_pidfd
from watcher.sources.tmux.server import Question, Server, TmuxOptions, reason_of
from watcher.sources.tmux.terminals import TerminalChanges

_PAUSE = 0.005
_RECHECK = 0.05
_UNSEEN = 1.0
_MOST_FRUITLESS = 8

Answered = Callable[[Server, Sessions | Unreachable, float], None]


class ServerLink:
    """Keeps the answer of one server fresh, for as long as that server runs.

    `answered` is called with each answer and the monotonic time at which it was asked for. `doubted` is called when
    the server has ended, or seems to have: somebody must look which servers there are. `bury` takes over questions
    that were ended and are still to be reaped. `first` is done once the first question has its answer.

    `seen`: `terminals_changed` is called when terminals come and go, so the server need not be asked but then, and
    every `options.slow_look` seconds for what moves no terminal (a rename). Else it is asked every second; so it is
    while a window is in two sessions, for then a session may end and leave its panes.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: TmuxOptions,
        server: Server,
        *,
        answered: Answered,
        doubted: Callable[[], None],
        bury: Callable[[Question], None],
        seen: bool,
    ) -> None:
        """Start to watch `server`: ask for the first answer."""
        self.server = server
        self.first: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._options = options
        self._answered = answered
        self._doubted = doubted
        self._bury = bury
        self._seen = seen
        self._closed = False
        self._question: Question | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._due: asyncio.TimerHandle | None = None
        self._again = math.inf
        self._last_put = float("-inf")
        self._failures = 0
        self._refusals = 0
        self._rechecks = 0
        self._last: Sessions | None = None
        self._panes = PanePidfds(loop, self._pane_ended)
        self._terminals: frozenset[str] = frozenset()
        self._gone: set[str] = set()
        self._fruitless = 0
        self._pidfd = open_pidfd(server.pid)
        if self._pidfd >= 0:
            loop.add_reader(self._pidfd, self._exited)
        self._put()

    def ask(self) -> None:
        """Have the server asked now; while it is being asked, once more after that. At most once in 5 ms."""
        self._ask_after(_PAUSE)

    def terminals_changed(self, changes: TerminalChanges) -> None:
        """Ask if that may have been panes of this server: at once if one went, less and less often if none came."""
        if self._question is not None:
            self._gone |= changes.gone
        if changes.lost or not self._terminals.isdisjoint(changes.gone):
            self.ask()
        elif self.server.uid in changes.owners:
            self._ask_after(self._grown(_PAUSE, self._fruitless))
            self._fruitless = min(self._fruitless + 1, _MOST_FRUITLESS)

    def watch_panes(self, panes: frozenset[str]) -> None:
        """Ask when the process in one of `panes` ends."""
        self._panes.want(panes)
        self._rechecks = 0
        if self._last is not None and panes <= {pane.pane for pane in self._last.panes}:
            self._follow(self._last)
        else:
            self.ask()

    def drop_panes(self, panes: frozenset[str]) -> None:
        """Undo `watch_panes`."""
        self._panes.drop(panes)

    def close(self) -> None:
        """End everything that belongs to this link; nothing is called any more."""
        self._closed = True
        for timer in (self._patience, self._due):
            if timer is not None:
                timer.cancel()
        self._finish()
        self._panes.close()
        self._close_pidfd()
        if not self.first.done():
            self.first.set_result(None)

    def _ask_after(self, pause: float) -> None:
        """Have a question put when the last was put `pause` seconds ago, and has its answer."""
        if self._question is not None:
            self._again = min(self._again, pause)
        else:
            self._put_in(self._last_put + pause - time.monotonic())

    def _put_in(self, wait: float) -> None:
        """Have the next question put after `wait` seconds, or sooner where one is due sooner."""
        if self._due is not None:
            if self._due.when() <= self._loop.time() + wait:
                return
            self._due.cancel()
        if wait > 0:
            self._due = self._loop.call_later(wait, self._put)
        else:
            self._put()

    def _put(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self._finish()
        self._again = math.inf
        self._gone.clear()
        self._last_put = asked = time.monotonic()
        try:
            question = Question(self._options, self.server)
        except OSError as error:
            self._refused(Unreachable(f"tmux cannot be run: {reason_of(error)}"), asked)
            return
        self._question = question
        self._loop.add_reader(question.descriptor, self._read, question)
        self._patience = self._loop.call_later(self._options.timeout, self._lose_patience, question)

    def _read(self, question: Question) -> None:
        answer = question.read()
        if answer is not None:
            self._finish()
            if isinstance(answer, Sessions):
                self._answer(answer, question.asked)
            else:
                self._refused(answer, question.asked)

    def _lose_patience(self, question: Question) -> None:
        """Say that no answer came, and leave the question open: a server that was stopped answers when it goes on."""
        self._answer(question.timed_out(), question.asked)

    def _refused(self, answer: Unreachable, asked: float) -> None:
        """Ask once more before saying so: a server that is about to end refuses too, and will be gone by then."""
        self._refusals += 1
        if self._refusals > 1:
            self._answer(answer, asked)
        else:
            self._doubted()
            self._put_in(_RECHECK)

    def _finish(self) -> None:
        question, self._question = self._question, None
        if self._patience is not None:
            self._patience.cancel()
        if question is not None:
            self._loop.remove_reader(question.descriptor)
            question.end()
            self._bury(question)

    def _answer(self, answer: Sessions | Unreachable, asked: float) -> None:
        self._failures = 0 if isinstance(answer, Sessions) else self._failures + 1
        if isinstance(answer, Sessions):
            self._refusals = 0
            self._fruitless = self._fruitless if answer == self._last else 0
            self._last = answer
            self._terminals = frozenset(pane.terminal for pane in answer.panes if not pane.dead)
        self._answered(self.server, answer, asked)
        if not self.first.done():
            self.first.set_result(None)
        if self._closed:
            return
        if isinstance(answer, Sessions):
            self._follow(answer)
            if not self._terminals.isdisjoint(self._gone):
                self._again = _PAUSE
            if self._again < math.inf:
                self._ask_after(self._again)
            self._put_in(self._options.slow_look if self._seen and not _shared(answer) else _UNSEEN)
        else:
            self._put_in(self._grown(self._options.timeout, self._failures - 1))

    def _follow(self, answer: Sessions) -> None:
        """Watch the panes that are wanted, and look again, less and less often, where one cannot be watched."""
        if self._panes.follow(answer):
            self._put_in(self._grown(_RECHECK, self._rechecks))
            self._rechecks += 1

    def _grown(self, wait: float, times: int) -> float:
        return min(wait * (1 << min(times, 16)), self._options.slow_look)

    def _pane_ended(self) -> None:
        self._rechecks = 0
        self.ask()

    def _exited(self) -> None:
        self._close_pidfd()
        self._doubted()

    def _close_pidfd(self) -> None:
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1


def _shared(answer: Sessions) -> bool:
    """Whether a pane is in several sessions: it is listed once for each (link-window, new-session -t)."""
    return len({pane.pane for pane in answer.panes}) < len(answer.panes)
