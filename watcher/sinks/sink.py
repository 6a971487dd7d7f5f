"""What a sink is: the end of the way of a line."""

from typing import Protocol

from watcher.sinks.line import Line


class SinkEnded(Exception):  # noqa: N818 - an end, not an error: a reader that has had enough
    """The sink takes no more lines, for good. The text says why."""


class Sink(Protocol):
    """Takes lines, one after the other, from one thread at a time."""

    @property
    def name(self) -> str:
        """How the sink is called in health and in `watcher.degraded`: `stdout`, a path."""

    def offer(self, line: Line) -> bool:
        """Write the line if that is sure not to wait; return whether it is written whole.

        Called from the event loop, never while `write` runs. A sink that always has to wait returns False.
        """

    def write(self, line: Line) -> None:
        """Write the line, waiting for at most about a second.

        Raises:
            TimeoutError: nobody takes it yet. The same line comes again at once.
            OSError: it could not be written. The same line comes again, after a while.
            SinkEnded: no line ever will be.
        """

    def reopen(self) -> None:
        """Open what is written to anew, before the next line. Called from any thread."""

    def close(self) -> None:
        """Let go of what is held."""
