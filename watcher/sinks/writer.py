"""One thread a sink, so that a sink which blocks or fails stops neither the loop nor the other sinks."""

import time
from collections.abc import Callable
from threading import Condition, Event, Lock, Thread

from watcher.sinks.backlog import Backlog
from watcher.sinks.line import Line
from watcher.sinks.sink import Sink, SinkEnded

_FIRST_RETRY = 0.1
_LAST_RETRY = 5.0
_HANGS = "it takes no lines"


class Writer:
    """Feeds one sink with lines in order: numbered, retried until they are out, bounded in number.

    `on_trouble(writer, reason)` is called once when the sink begins to fail, or has not taken a line for
    `patience` seconds; `on_recovery(writer, reason, dropped)` once when all that waited is out again.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        on_trouble: "Callable[[Writer, str], None]",
        on_recovery: "Callable[[Writer, str, int], None]",
        patience: float,
        backlog: Backlog | None = None,
    ) -> None:
        self.sink = sink
        self.trouble = ""
        self.ended = False
        self.dropped = 0
        self._on_trouble = on_trouble
        self._on_recovery = on_recovery
        self._patience = patience
        self._backlog = Backlog() if backlog is None else backlog
        self._seq = 0
        self._current: Line | None = None
        self._dropped_before = 0
        self._deadline: float | None = None
        self._retry = _FIRST_RETRY
        self._since = 0.0
        lock = Lock()
        self._ready = Condition(lock)
        self._drained = Condition(lock)
        self._nudge = Event()
        self._thread = Thread(target=self._run, name=f"sink {sink.name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many lines are still to be written."""
        return len(self._backlog) + (self._current is not None)

    def put(self, line: Line) -> None:
        """Number a line and pass it on, without waiting. Called from any thread."""
        with self._ready:
            if self.ended:
                return
            self._seq += 1
            numbered = Line(line.record, line.at, line.id, self._seq)
            if self._current is not None or self._backlog:
                self.dropped += self._backlog.put(numbered)
            elif not self._offer(numbered):
                self._current, self._since = numbered, time.monotonic()
                self._ready.notify()
            # Nobody else can tell that the thread hangs in a write: a terminal that says it has room for a
            # byte then waits until it has room for all.
            hangs = self._current is not None and not self.trouble and self._is_overdue()
            if hangs:
                self.trouble = _HANGS
        if hangs:
            self._on_trouble(self, _HANGS)

    def flush(self, timeout: float) -> bool:
        """Wait until every line is out or the sink has ended; False where that took longer than `timeout` seconds."""
        with self._drained:
            return self._drained.wait_for(lambda: self._current is None and (self.ended or not self.trouble), timeout)

    def reopen(self) -> None:
        """Have the sink open its target anew, and try again at once."""
        self.sink.reopen()
        self._nudge.set()

    def close(self, deadline: float) -> None:
        """Let the thread end once every line is out, or at `deadline` (monotonic seconds). Does not wait."""
        with self._ready:
            self._deadline = deadline
            self._ready.notify()
        self._nudge.set()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end, for at most `timeout` seconds."""
        self._thread.join(timeout)

    def _offer(self, line: Line) -> bool:
        try:
            return self.sink.offer(line)
        except Exception:  # noqa: BLE001 - the loop must not feel it: the thread meets it again, and tells
            return False

    def _run(self) -> None:
        try:
            while (line := self._next()) is not None:
                self._deliver(line)
        except SinkEnded as end:
            self._finish()
            self.trouble = ""
            self._fail(str(end))
        finally:
            self._finish()
            self.sink.close()

    def _deliver(self, line: Line) -> None:
        """Try to write one line. If that fails for now, wait as long as it makes sense, to be called again."""
        try:
            self.sink.write(line)
        except TimeoutError as error:
            if self._is_overdue():
                self._fail(_reason(error))
        except OSError as error:
            self._fail(_reason(error))
            self._nudge.wait(self._retry if self._deadline is None else _FIRST_RETRY)
            self._nudge.clear()
            self._retry = min(2 * self._retry, _LAST_RETRY)
        except SinkEnded:
            raise
        except Exception as error:  # noqa: BLE001 - a line that cannot be rendered costs itself, not the log
            self._fail(_reason(error))
            self._advance(dropped=1)
        else:
            self._retry = _FIRST_RETRY
            self._advance()

    def _next(self) -> Line | None:
        """Wait for the line to write; None when it is time to end."""
        with self._ready:
            while self._current is None and self._deadline is None:
                self._ready.wait()
            if self._deadline is not None and time.monotonic() >= self._deadline:
                return None
            return self._current

    def _advance(self, *, dropped: int = 0) -> None:
        """Go on to the next line; when there is none, whatever was wrong is over."""
        with self._ready:
            self.dropped += dropped
            self._current, self._since = self._backlog.take(), time.monotonic()
            if self._current is not None:
                return
            trouble = self.trouble
            lost = self.dropped - self._dropped_before
            self._dropped_before = self.dropped
        if trouble:
            self._on_recovery(self, trouble, lost)
        with self._drained:
            self.trouble = ""
            self._drained.notify_all()

    def _fail(self, reason: str) -> None:
        with self._ready:
            if self.trouble:
                return
            self.trouble = reason
        self._on_trouble(self, reason)

    def _is_overdue(self) -> bool:
        return time.monotonic() - self._since >= self._patience

    def _finish(self) -> None:
        """Take no more lines. Nothing may be offered to a sink that is about to be closed."""
        with self._ready:
            self.dropped += self.waiting
            self.ended = True
            self._backlog.clear()
            self._current = None
            self._drained.notify_all()


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
