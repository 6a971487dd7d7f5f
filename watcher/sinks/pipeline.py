"""The journal: every record goes in here, and comes out as one line in each sink."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from watcher.records import Component, Level, LockChange, Record, WatcherDegraded, WatcherRecovered
from watcher.sinks.line import Line
from watcher.sinks.sink import Sink
from watcher.sinks.writer import Writer

_KEPT = "alerts are kept, and written once it works again"
_ENDED = "start the watcher again to log there"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of the `lock.*` records are written. Alerts and `watcher.*` always are."""

    level: Level = Level.INFO
    alerts_only: bool = False

    def admits(self, record: Record) -> bool:
        """Say whether a record is to be written."""
        if not isinstance(record, LockChange):
            return True
        return not self.alerts_only and record.level.rank >= self.level.rank


class Journal:
    """Writes records to sinks, neither blocking nor raising.

    Each sink has a queue and a thread of its own. Where a sink fails or blocks, the others say so once
    (`watcher.degraded`); when it works again, what was kept comes out in order, followed by `watcher.recovered`.
    `selection` may be set anew at any time. `clock` gives seconds since the epoch; `patience` is for how many
    seconds a reader may read nothing before that is called trouble.
    """

    def __init__(
        self,
        sinks: Iterable[Sink],
        *,
        selection: Selection | None = None,
        clock: Callable[[], float] = time.time,
        patience: float = 5.0,
    ) -> None:
        self.selection = selection or Selection()
        self._clock = clock
        self._writers = tuple(
            Writer(sink, on_trouble=self._degraded, on_recovery=self._recovered, patience=patience) for sink in sinks
        )

    @property
    def dropped(self) -> int:
        """How many lines were lost so far, over all sinks."""
        return sum(writer.dropped for writer in self._writers)

    @property
    def alive(self) -> bool:
        """Whether any sink still takes lines; True where there was none to begin with."""
        return not self._writers or any(not writer.ended for writer in self._writers)

    @property
    def waiting(self) -> int:
        """How many lines the slowest sink has still to write: whoever writes thousands at once may pause by it."""
        return max((writer.waiting for writer in self._writers), default=0)

    def health(self) -> dict[str, str]:
        """Give what is wrong with each sink by its name; an empty string where all is well."""
        return {writer.sink.name: writer.trouble for writer in self._writers}

    def write(self, record: Record) -> None:
        """Write one record to every sink. Called from any thread; neither waits nor raises."""
        self._write(record, self._writers)

    def reopen(self) -> None:
        """Have every sink open its file anew, before its next line."""
        for writer in self._writers:
            writer.reopen()

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until all is written; False where that took longer than `timeout` seconds. Not for the loop."""
        deadline = time.monotonic() + timeout
        return all(writer.flush(max(0.0, deadline - time.monotonic())) for writer in self._writers)

    def close(self, timeout: float = 5.0) -> None:
        """Write what can be written within `timeout` seconds, then let go of the sinks. Waits: not for the loop."""
        deadline = time.monotonic() + timeout
        for writer in self._writers:
            writer.close(deadline)
        for writer in self._writers:
            writer.join(max(0.0, deadline - time.monotonic()))

    def _write(self, record: Record, writers: Iterable[Writer]) -> None:
        if self.selection.admits(record):
            line = Line(record, self._clock(), os.urandom(16).hex())
            for writer in writers:
                writer.put(line)

    def _degraded(self, failed: Writer, reason: str) -> None:
        record = WatcherDegraded(
            component=Component.LOG,
            reason=f"{failed.sink.name}: {reason}",
            hint=_ENDED if failed.ended else _KEPT,
        )
        self._write(record, (writer for writer in self._writers if writer is not failed))

    def _recovered(self, writer: Writer, reason: str, dropped: int) -> None:
        reason = f"{writer.sink.name}: {reason}"
        self.write(WatcherRecovered(component=Component.LOG, reason=reason, dropped=dropped))
