"""One directory of a tree, in as little memory as Python allows: there are tens of thousands."""

from collections.abc import Iterator


class Node:
    """One directory. Its place never changes: a directory that moves is a new node, so a path stays right.

    `watch` is the notifier's own number for it, 0 where changes in it are not notified. `children` is None
    instead of empty: most directories are leaves, and there are many.
    """

    __slots__ = ("children", "name", "parent", "watch")

    def __init__(self, name: str, parent: "Node | None") -> None:
        self.name = name
        self.parent = parent
        self.watch = 0
        self.children: dict[str, Node] | None = None

    def depth(self) -> int:
        """How many levels it lies below the root."""
        depth, node = 0, self.parent
        while node is not None:
            depth, node = depth + 1, node.parent
        return depth

    def subtree(self) -> Iterator["Node"]:
        """Itself and every node below it."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            if node.children:
                waiting.extend(node.children.values())
