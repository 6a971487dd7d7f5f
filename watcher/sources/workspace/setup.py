"""How a workspace is to be watched, and who is told."""

from collections.abc import Callable
from dataclasses import dataclass

from watchdog.events import FileSystemEvent

from watcher.sources.workspace.crawl import Pruning
from watcher.sources.workspace.notifier import Notifier
from watcher.sources.workspace.reports import Health


@dataclass(frozen=True, slots=True)
class Setup:
    """What the emitters of one observer share.

    `open_notifier` is given the root; it may raise OSError: then everything is polled, and it is tried
    again.
    """

    pruning: Pruning
    open_notifier: Callable[[str], Notifier]
    rescan_interval: float
    poll_interval: float
    on_event: Callable[[FileSystemEvent], None] | None = None
    on_health: Callable[[Health], None] | None = None
