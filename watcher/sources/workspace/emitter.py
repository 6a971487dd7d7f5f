"""The one thread that watches one workspace: events first, then what they call for, then a slice of a scan."""

import time

from watchdog.events import FileCreatedEvent, FileDeletedEvent, FileModifiedEvent, FileSystemEvent
from watchdog.observers.api import EventEmitter, EventQueue, ObservedWatch

from watcher.sources.workspace.limits import no_notifier, out_of_watches
from watcher.sources.workspace.mounts import Mounts, read_mounts
from watcher.sources.workspace.notifier import Notifier
from watcher.sources.workspace.reports import Component, Condition, Health, ScanReason, Stats, TreeScannedEvent
from watcher.sources.workspace.root import Root, Whereabouts
from watcher.sources.workspace.scan import FullScan, PollScan, SlowScan, visit_urgent
from watcher.sources.workspace.setup import Setup
from watcher.sources.workspace.tree import LockChange, Tree
from watcher.sources.workspace.trouble import Trouble

_CHECK_ROOT = 1.0
_REATTACH = 0.25
"""Seconds between two looks at the root: while it is there, and while it is not."""

_CLOCK_STEP = 0.5
"""Seconds by which the clock may drift from one scan to the next before times of change are not trusted."""

_EVENTS: dict[LockChange, type[FileSystemEvent]] = {
    LockChange.CREATED: FileCreatedEvent,
    LockChange.MODIFIED: FileModifiedEvent,
    LockChange.DELETED: FileDeletedEvent,
}


class WorkspaceEmitter(EventEmitter):
    """Watches one root; everything about it happens in this thread.

    Each turn waits for events, hands them to the tree, makes the visits that they call for, and does a slice
    of a scan if one is due. A root that goes away is waited for.
    """

    def __init__(
        self,
        event_queue: EventQueue,
        watch: ObservedWatch,
        *,
        timeout: float = 1.0,
        event_filter: list[type[FileSystemEvent]] | None = None,
        setup: Setup,
    ) -> None:
        super().__init__(event_queue, watch, timeout=timeout, event_filter=event_filter)
        self._root = Root(watch.raw_path)
        self._setup = setup
        self._notifier = Notifier()
        self._tree: Tree | None = None
        self._mounts = Mounts()
        self._armed = False
        self._scan: FullScan | None = None
        self._poll: PollScan | None = None
        self._wanted: ScanReason | None = None
        self._since = (0, 0.0)
        self._next_check = self._next_scan = self._next_poll = 0.0
        self._turned_at = 0.0
        self._events = self._overflows = self._rescans = self._skipped = 0
        self._inotify = Trouble(Component.INOTIFY, self._tell)
        self._gone = Trouble(Component.WORKSPACE, self._tell)
        self._out_of_reach = Trouble(Component.WORKSPACE, self._tell)

    # -- the thread

    def on_thread_start(self) -> None:
        """Refuse a root that is no readable directory; one that is lost later is waited for.

        Raises:
            OSError: it is missing, no directory, or not readable.
        """
        self._root.require()

    def on_thread_stop(self) -> None:
        """End the wait."""
        self._notifier.wake()

    def run(self) -> None:
        """Turn until stopped; an exception that ends the thread is told as `FAILED`."""
        failure: Exception | None = None
        try:
            super().run()
        except Exception as error:  # noqa: BLE001 - whatever it was, silence would be worse
            failure = error
        finally:
            self._notifier.close()
        if failure is None:
            return
        if self._setup.on_health is None:
            raise failure
        reason = f"the observer ended: {type(failure).__name__}: {failure}"
        self._tell(Health(Component.INOTIFY, Condition.FAILED, reason, error=failure))

    def queue_events(self, timeout: float) -> None:
        """One turn."""
        self._turned_at = time.monotonic()
        tree, notifier = self._tree, self._notifier
        if tree is None:
            if not self._attach():
                self.stopped_event.wait(_REATTACH)
            return
        notifier.wait(self._patience(timeout))
        notifier.deliver(tree)
        if notifier.overflowed:
            notifier.overflowed = False
            self._overflows += 1
            self._request(ScanReason.OVERFLOW)
        if notifier.remounted:
            notifier.remounted, notifier.suspicious = False, True
            self._remounted(tree)
        if notifier.lost or notifier.suspicious or time.monotonic() >= self._next_check:
            notifier.suspicious = False
            if not self._root_is_there(tree):
                return
        visit_urgent(tree)
        self._advance_scan(tree)
        self._advance_poll(tree)
        notifier.settle()

    @property
    def stats(self) -> Stats:
        """Where it stands; may be read from any thread."""
        tree, notifier = self._tree, self._notifier
        return Stats(
            backend=notifier.backend,
            directories=tree.directories if tree else 0,
            watches=notifier.watches,
            polled=len(tree.polled) if tree else 0,
            unreadable=len(tree.unreadable) if tree else 0,
            skipped=self._skipped if tree else 0,
            locks=len(tree.locks) if tree else 0,
            events=self._events + notifier.events,
            overflows=self._overflows,
            rescans=self._rescans,
            silent=self._mounts.silent_below(self._root.path, self._root.device),
            armed=self._armed,
            turned_at=self._turned_at,
        )

    # -- one turn

    def _patience(self, timeout: float) -> float:
        """How long nothing needs to be done, in seconds."""
        tree = self._tree
        if tree is None or tree.urgent or tree.recheck or self._notifier.pending:
            return 0.0
        due = min(
            self._next_check,
            self._scan.resume_at if self._scan else self._next_scan,
            self._poll.resume_at if self._poll else self._next_poll,
        )
        return max(0.0, min(timeout, due - time.monotonic()))

    def _advance_scan(self, tree: Tree) -> None:
        now = time.monotonic()
        if self._scan is None:
            if now < self._next_scan:
                return
            self._scan = self._slow_scan(tree)
        if now >= self._scan.resume_at and self._scan.advance():
            self._scanned(tree, self._scan)

    def _advance_poll(self, tree: Tree) -> None:
        now = time.monotonic()
        if self._poll is None:
            if now < self._next_poll:
                return
            if self._open_notifier(tree):
                self._request(ScanReason.RESUMED)
            if not self._notifier.sees_mounts:
                self._remounted(tree)
            self._notifier.full = False
            self._poll = PollScan(tree)
        if now >= self._poll.resume_at and self._poll.advance():
            self._poll = None
            self._next_poll = time.monotonic() + self._setup.poll_interval
            self._review(tree)

    # -- scans

    def _request(self, reason: ScanReason) -> None:
        """Have everything looked at; after the scan that is running, if that one is needed whole."""
        if self._tree is not None and (self._scan is None or isinstance(self._scan, SlowScan)):
            self._scan = FullScan(self._tree, reason)
        else:
            self._wanted = reason

    def _slow_scan(self, tree: Tree) -> FullScan:
        """A rescan by times of change, which mean nothing where the clock was set meanwhile."""
        at, offset = self._since
        stepped = abs(_clock_offset() - offset) > _CLOCK_STEP
        return SlowScan(tree, 0 if stepped else at)

    def _scanned(self, tree: Tree, scan: FullScan) -> None:
        self._scan = None
        tree.names.clear()
        self._since = (scan.began_at, _clock_offset())
        self._next_scan = time.monotonic() + self._setup.rescan_interval
        if not isinstance(scan, SlowScan):
            self._skipped = scan.skipped
        if scan.reason is not ScanReason.START:
            self._rescans += 1
        self._armed = True
        self._send(
            TreeScannedEvent(
                self._root.path,
                locks=tree.lock_paths(),
                reason=scan.reason,
                directories=tree.directories,
                skipped=self._skipped,
                seconds=time.monotonic() - scan.began,
            )
        )
        if scan.reason is ScanReason.ATTACHED:
            self._gone.over("the workspace is back")
        self._review(tree)
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            self._request(wanted)

    # -- the root

    def _attach(self) -> bool:
        """Begin to watch the root, if it is there."""
        if not self._root.find():
            return False
        self._mounts = read_mounts()
        self._tree = tree = Tree(self._root.path, self._setup.pruning, self._notifier, self._mounts, self._report)
        self._next_check = time.monotonic() + _CHECK_ROOT
        self._next_poll = time.monotonic() + self._setup.poll_interval
        self._open_notifier(tree)
        self._scan = FullScan(tree, ScanReason.ATTACHED if self._armed else ScanReason.START)
        return True

    def _root_is_there(self, tree: Tree) -> bool:
        """Say whether the root is still the directory it was; let go of it where it is not."""
        self._next_check = time.monotonic() + _CHECK_ROOT
        found = self._root.look()
        if found is Whereabouts.OUT_OF_REACH:
            self._out_of_reach.begin("the workspace cannot be looked at", f"see what may be done at {self._root.path}")
            return True
        self._out_of_reach.over("the workspace can be looked at again")
        if found is Whereabouts.THERE and not self._notifier.lost:
            return True
        tree.clear()
        self._events += self._notifier.events
        self._notifier.close()
        self._notifier = Notifier()
        self._tree = self._scan = self._poll = self._wanted = None
        problem = "the workspace is gone" if found is Whereabouts.GONE else "the workspace was replaced"
        self._gone.begin(problem, f"it is watched again as soon as there is a directory {self._root.path}")
        return False

    def _remounted(self, tree: Tree) -> None:
        """Look again at the places where something was mounted or unmounted: that gives no event."""
        before, self._mounts = self._mounts, read_mounts()
        tree.mounts = self._mounts
        for point in self._mounts.changed_since(before):
            found = tree.find(point)
            if found is not None:
                node, exact = found
                (tree.urgent if exact else tree.recheck).append(node)

    # -- the notifier

    def _open_notifier(self, tree: Tree) -> bool:
        """Take the notifier that is wanted into use, and say so; where it is not to be had, polling stands in."""
        if self._notifier.backend != Notifier.backend:
            return False
        try:
            fresh = self._setup.open_notifier(self._root.path)
        except OSError as error:
            self._inotify.begin(*no_notifier(error, self._setup.poll_interval))
            return False
        if fresh.backend == Notifier.backend:
            return False
        self._notifier = tree.watches = fresh
        return True

    def _review(self, tree: Tree) -> None:
        """Say whether there are watches enough; asked after each pass."""
        if self._notifier.backend == Notifier.backend or not (self._notifier.full or self._inotify.begun):
            return
        unwatched = sum(not node.watch and node not in tree.unreadable for node in tree.polled)
        if unwatched:
            self._inotify.begin(*out_of_watches(unwatched, tree.directories, self._setup.poll_interval))
        else:
            self._inotify.over("every directory is watched again")

    # -- what is said

    def _report(self, change: LockChange, path: str) -> None:
        if self._armed:
            self._send(_EVENTS[change](path))

    def _send(self, event: FileSystemEvent) -> None:
        if self._setup.on_event is not None:
            self._setup.on_event(event)
        else:
            self.queue_event(event)

    def _tell(self, health: Health) -> None:
        if self._setup.on_health is not None:
            self._setup.on_health(health)


def _clock_offset() -> float:
    return time.time() - time.monotonic()
