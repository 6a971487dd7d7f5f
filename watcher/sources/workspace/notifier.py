"""Who says that something changed in a directory: here nobody, so that everything is polled."""

import threading

from watcher.sources.workspace.nodes import Node
from watcher.sources.workspace.tree import Tree


class Notifier:
    """Notifies of nothing. It is the backend `polling`, and what stands in where the real one fails.

    A notifier belongs to the emitter's thread, but for `wake`. What it noticed beside the events it leaves in
    its attributes: `overflowed` (events were lost), `lost` (the root is not watched any more: it is gone, or
    another), `suspicious` (it may be), `remounted` (the mount table changed), `full` (there are no more
    watches to be had). The emitter resets them. `sees_mounts`: it notices changes of the mount table.
    """

    backend = "polling"
    sees_mounts = False

    def __init__(self) -> None:
        self.events = 0
        self.overflowed = False
        self.lost = False
        self.suspicious = False
        self.remounted = False
        self.full = False
        self._woken = threading.Event()

    @property
    def watches(self) -> int:
        """How many directories it watches."""
        return 0

    @property
    def pending(self) -> bool:
        """Say whether there is work left for `settle`."""
        return False

    def watch(self, node: Node, path: str) -> bool:
        """Have changes in `node` notified from now on; say whether it is still the directory it was.

        `node.watch` is 0 afterwards where they are not. Where directories cannot be told apart the answer
        is True.

        Raises:
            OSError: there is no such directory, or it may not be watched.
        """
        del node, path
        return True

    def forget(self, node: Node) -> None:
        """Stop that; `node` is gone."""

    def wait(self, timeout: float) -> None:
        """Sleep until something happens, `wake` is called, or `timeout` seconds have passed."""
        self._woken.wait(timeout)
        self._woken.clear()

    def wake(self) -> None:
        """End the present or next `wait`; may be called from any thread at any time."""
        self._woken.set()

    def deliver(self, tree: Tree) -> None:
        """Tell the tree what happened, without waiting for more."""

    def settle(self) -> None:
        """Do a little of what can wait."""

    def close(self) -> None:
        """Let go of all that the system lent."""
