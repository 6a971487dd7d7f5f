"""Linux's inotify as a notifier: one descriptor, one watch a directory. See inotify(7)."""

import contextlib
import errno
import os
import select
import struct
import threading

from inotify_simple import INotify, flags  # type: ignore[import-untyped]  # it has no annotations

from watcher.sources.workspace.crawl import LOCK_NAME, RUNTIME_DIR, reached
from watcher.sources.workspace.mounts import MOUNTINFO
from watcher.sources.workspace.nodes import Node
from watcher.sources.workspace.notifier import Notifier
from watcher.sources.workspace.tree import Tree

_APPEARED = int(flags.CREATE | flags.MOVED_TO)
_VANISHED = int(flags.DELETE | flags.MOVED_FROM)
_WRITTEN = int(flags.CREATE | flags.MOVED_TO | flags.CLOSE_WRITE | flags.ATTRIB)
_MOVED_FROM = int(flags.MOVED_FROM)
_MOVED_TO = int(flags.MOVED_TO)
_ISDIR = int(flags.ISDIR)
_IGNORED = int(flags.IGNORED)
_OVERFLOW = int(flags.Q_OVERFLOW)
_ROOT = int(flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT)
_ABOUT_DIRECTORIES = _ISDIR | _IGNORED | _OVERFLOW | _ROOT

# No OPEN, ACCESS or CLOSE_NOWRITE: the walk would feed the queue. MASK_ADD, for a bind mount shows one directory
# in two places, and the second must not take away what the first asked for.
_STRUCTURE = int(
    flags.CREATE
    | flags.DELETE
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.ONLYDIR
    | flags.DONT_FOLLOW
    | flags.EXCL_UNLINK
    | flags.MASK_ADD
)
_CONTENT = _STRUCTURE | int(flags.CLOSE_WRITE | flags.ATTRIB)
_TOP = _STRUCTURE | int(flags.DELETE_SELF | flags.MOVE_SELF)

_HEADER = struct.Struct("iIII")
_LOCK = LOCK_NAME.encode() + b"\0"
_LOCK_LENGTH = -(-len(_LOCK) // _HEADER.size) * _HEADER.size
_BUFFER = 1 << 20

_RELEASES = 256
"""Watches removed in one go. Each removal queues an event: in bulk they would overflow the queue."""


class InotifyNotifier(Notifier):
    """Watches directories by one inotify instance, and the mount table beside it.

    Raises:
        OSError: no instance is to be had (EMFILE: the limit of the user, or of open files), or none at all.
    """

    backend = "inotify"
    sees_mounts = True

    def __init__(self) -> None:
        super().__init__()
        with contextlib.ExitStack() as opened:
            self._inotify = opened.enter_context(INotify(nonblocking=True))
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            opened.callback(os.close, self._wake)
            self._poll = select.poll()
            self._poll.register(self._inotify, select.POLLIN)
            self._poll.register(self._wake, select.POLLIN)
            self._mountinfo = -1
            with contextlib.suppress(OSError):
                self._mountinfo = os.open(MOUNTINFO, os.O_RDONLY | os.O_CLOEXEC)
                opened.callback(os.close, self._mountinfo)
                self._poll.register(self._mountinfo, select.POLLPRI)
            self._opened = opened.pop_all()
        self._open = True
        self._closing = threading.Lock()
        self._buffer = bytearray(_BUFFER)
        self._nodes: dict[int, Node | tuple[Node, ...]] = {}
        self._unowned: dict[int, None] = {}

    @property
    def watches(self) -> int:
        """How many directories it watches."""
        return len(self._nodes)

    @property
    def pending(self) -> bool:
        """Say whether there are watches left to remove."""
        return bool(self._unowned)

    # -- watches

    def watch(self, node: Node, path: str) -> bool:
        """Place or renew the watch of `node`. A directory that has a watch keeps its number, under any name."""
        if self.full and not node.watch:
            return True
        mask = _TOP if node.parent is None else _CONTENT if node.name == RUNTIME_DIR else _STRUCTURE
        try:
            number = self._add(path, mask)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.ENOMEM}:
                raise
            self.full = True
            number = 0
        if number == node.watch:
            return True
        fresh = node.watch == 0
        if not fresh:
            self.forget(node)
        if number:
            self._own(number, node)
        return fresh and node.children is None

    def forget(self, node: Node) -> None:
        """Give up the watch of `node`; it is removed when no other node has it, and when there is time."""
        number = node.watch
        if not number:
            return
        node.watch = 0
        owners = self._nodes.get(number)
        if owners is node:
            del self._nodes[number]
            self._unowned[number] = None
        elif isinstance(owners, tuple):
            left = tuple(owner for owner in owners if owner is not node)
            self._nodes[number] = left if len(left) > 1 else left[0]

    def settle(self) -> None:
        """Remove a few watches that nobody owns any more (their directories may have come back meanwhile)."""
        for _ in range(min(_RELEASES, len(self._unowned))):
            number, _ = self._unowned.popitem()
            if number not in self._nodes:
                with contextlib.suppress(OSError):  # EINVAL: the directory is gone, and its watch with it
                    self._inotify.rm_watch(number)

    def _add(self, path: str, mask: int) -> int:
        try:
            return int(self._inotify.add_watch(path, mask))
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
        with reached(path) as descriptor:
            return int(self._inotify.add_watch(f"/proc/self/fd/{descriptor}/.", mask))

    def _own(self, number: int, node: Node) -> None:
        node.watch = number
        owners = self._nodes.get(number)
        if owners is None:
            self._nodes[number] = node
            self._unowned.pop(number, None)
        else:
            self._nodes[number] = (*_several(owners), node)

    # -- events

    def wait(self, timeout: float) -> None:
        """Sleep until there are events, the mount table changes, `wake` is called, or `timeout` seconds passed."""
        for descriptor, _ in self._poll.poll(timeout * 1000):
            if descriptor == self._mountinfo:
                self.remounted = True
            elif descriptor == self._wake:
                os.eventfd_read(self._wake)

    def wake(self) -> None:
        """End the present or next `wait`."""
        with self._closing:
            if self._open:
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Close the instance: that removes all watches at once, and silently."""
        with self._closing:
            self._open = False
            self._opened.close()

    def deliver(self, tree: Tree) -> None:
        """Read what is there, one buffer at most, and tell the tree. Most events are none of ours: skip fast."""
        buffer = self._buffer
        try:
            size = os.readv(self._inotify.fileno(), [buffer])
        except BlockingIOError:
            return
        unpack = _HEADER.unpack_from
        position = 0
        count = 0
        while position < size:
            number, mask, _, length = unpack(buffer, position)
            start = position + 16
            position = start + length
            count += 1
            if length == _LOCK_LENGTH and buffer.startswith(_LOCK, start):
                self._lock_event(number, mask, tree)
            if mask & _ABOUT_DIRECTORIES:
                self._directory_event(number, mask, bytes(buffer[start:position]), tree)
        self.events += count

    def _lock_event(self, number: int, mask: int, tree: Tree) -> None:
        for node in _several(self._nodes.get(number, ())):
            if node.name == RUNTIME_DIR:
                if mask & _WRITTEN:
                    tree.lock_written(node)
                elif mask & _VANISHED:
                    tree.lock_removed(node, moved=bool(mask & _MOVED_FROM))

    def _directory_event(self, number: int, mask: int, padded: bytes, tree: Tree) -> None:
        if mask & _IGNORED:
            self._removed(number, tree)
        elif mask & _OVERFLOW:
            self.overflowed = True
        elif mask & _ROOT:
            self.suspicious = True
        elif padded:
            name = os.fsdecode(padded.rstrip(b"\0"))
            for node in _several(self._nodes.get(number, ())):
                if mask & _APPEARED:
                    tree.directory_appeared(node, name, populated=bool(mask & _MOVED_TO))
                elif mask & _VANISHED:
                    tree.directory_vanished(node, name, moved=bool(mask & _MOVED_FROM))

    def _removed(self, number: int, tree: Tree) -> None:
        """The kernel let go of a watch: we asked for it, or the directory was deleted or unmounted."""
        self._unowned.pop(number, None)
        for node in _several(self._nodes.pop(number, ())):
            node.watch = 0
            if node.parent is None:
                self.lost = True
            else:
                tree.urgent.append(node)


def _several(owners: Node | tuple[Node, ...]) -> tuple[Node, ...]:
    """The nodes that share a watch: one, unless a bind mount shows a directory in several places."""
    return owners if isinstance(owners, tuple) else (owners,)
