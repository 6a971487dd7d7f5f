"""Lines that wait for their sink: bounded, and what is given up first is what can best be missed."""

from collections import deque

from watcher.records import Worth
from watcher.sinks.line import Line

INFORMATION_LIMIT = 20_000
ALERT_LIMIT = 100_000


class Backlog:
    """Lines in the order of their `seq`.

    Beyond `information` lines of that worth, new ones are dropped. Transitions are kept, up to a number
    (`alerts`, reminders included) that only a sink which has been dead for long in a storm reaches: beyond it
    the oldest reminders go, and when there are none, the oldest transitions.
    """

    def __init__(self, *, information: int = INFORMATION_LIMIT, alerts: int = ALERT_LIMIT) -> None:
        self._information = information
        self._alerts = alerts
        self._queues: dict[Worth, deque[Line]] = {worth: deque() for worth in Worth}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def put(self, line: Line) -> int:
        """Add the newest line; return how many lines had to be dropped for it, itself included."""
        worth = line.record.worth
        information, reminders, transitions = self._queues.values()
        if worth is Worth.INFORMATION and len(information) >= self._information:
            return 1
        self._queues[worth].append(line)
        if len(reminders) + len(transitions) <= self._alerts:
            return 0
        (reminders or transitions).popleft()
        return 1

    def take(self) -> Line | None:
        """Take the oldest line, None where none waits."""
        waiting = [queue for queue in self._queues.values() if queue]
        return min(waiting, key=lambda queue: queue[0].seq).popleft() if waiting else None

    def clear(self) -> None:
        """Drop all."""
        for queue in self._queues.values():
            queue.clear()
