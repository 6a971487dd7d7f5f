"""Looks at many directories, a slice at a time, so that they never hold up an event for long."""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable

from watcher.sources.workspace.nodes import Node
from watcher.sources.workspace.reports import ScanReason
from watcher.sources.workspace.tree import Tree

_SLICE = 0.005
"""Seconds of looking between two reads of events."""

_MARGIN = 1_000_000_000
"""Nanoseconds by which the time of a change may lie behind the clock: file systems keep it in ticks."""


def visit_urgent(tree: Tree) -> None:
    """Make the visits that events called for, as many as fit into a slice."""
    end = time.monotonic() + _SLICE
    while (tree.recheck or tree.urgent) and time.monotonic() < end:
        if tree.recheck:
            tree.visit(tree.recheck.popleft(), tree.urgent, deep=False)
        else:
            tree.visit(tree.urgent.popleft(), tree.urgent, deep=True)


class Scan(ABC):
    """A walk over a queue of nodes that may grow while it is walked.

    `share` is how much of one core it may take, `seconds` what it took of one so far.
    """

    share = 1.0

    def __init__(self, tree: Tree, nodes: Iterable[Node]) -> None:
        self.queue = deque(nodes)
        self.tree = tree
        self.skipped = 0
        self.seconds = 0.0
        self.began = self.resume_at = time.monotonic()
        self.began_at = time.time_ns()

    @abstractmethod
    def look(self, node: Node) -> None:
        """Look at one node of the queue."""

    def advance(self) -> bool:
        """Do one slice; say whether all is done."""
        queue, look = self.queue, self.look
        end = time.monotonic() + _SLICE
        began = time.thread_time()
        while queue and time.monotonic() < end:
            look(queue.popleft())
        busy = time.thread_time() - began
        self.seconds += busy
        self.resume_at = time.monotonic() + busy * (1 / self.share - 1)
        return not queue


class FullScan(Scan):
    """Look at every directory, whatever was known of it. Breadth first: shallow directories get the watches first."""

    def __init__(self, tree: Tree, reason: ScanReason) -> None:
        super().__init__(tree, [tree.root])
        self.reason = reason

    def look(self, node: Node) -> None:
        """Visit it, and all below it after all that is beside it."""
        self.skipped += self.tree.visit(node, self.queue, deep=True)


class SlowScan(FullScan):
    """The safety net: visit the directories that changed since `since` (nanoseconds since the epoch).

    It takes a thousandth of one core, so on a large tree it is done less often than every interval.
    """

    share = 1 / 1000

    def __init__(self, tree: Tree, since: int) -> None:
        super().__init__(tree, ScanReason.INTERVAL)
        self._since = since - _MARGIN

    def look(self, node: Node) -> None:
        """Glance at it."""
        self.tree.glance(node, self.queue, self._since)


class PollScan(Scan):
    """Look at the directories in which changes are not notified. What is found there is visited at once.

    It takes a twentieth of one core, so many directories are looked at less often than every interval.
    """

    share = 1 / 20

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree, tree.polled)

    def look(self, node: Node) -> None:
        """Visit it alone."""
        self.tree.visit(node, self.tree.urgent, deep=False)
