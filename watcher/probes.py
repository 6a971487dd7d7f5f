"""Every source of facts about one workspace, running: its files, the processes and the panes that locks name."""

import asyncio
import os
import threading
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from watchdog.events import FileSystemEvent, FileSystemEventHandler

from rules.identity import Host
from rules.model import LockRecord, Moment, PaneRef, ProcessFact
from watcher import parts
from watcher.events import EnvironmentSeen, Event, ProcessSeen, Reading
from watcher.inbox import Inbox
from watcher.locks.lockfile import read_worker_lock
from watcher.owners import Owners
from watcher.paths import directory_of, worker_of
from watcher.records import Component
from watcher.registry import Registry
from watcher.registry.changes import Changes
from watcher.settings import Settings
from watcher.sources.processes.exits import raise_descriptor_limit
from watcher.sources.processes.watch import ProcessWatch
from watcher.sources.tmux import watch as tmux_watch
from watcher.sources.tmux.watch import TmuxHealth, TmuxWatch
from watcher.sources.workspace.observer import Condition, Stats, TreeScannedEvent, WorkspaceObserver
from watcher.sources.workspace.observer import Health as ObserverHealth

_ENDING = 5.0
"""Seconds that ending may take before what hangs is left behind."""


class Listener(Protocol):
    """Who is told. All of it happens in the loop."""

    def on_inbox(self) -> None:
        """There are locks to look at in the inbox."""

    def on_scan(self, workers: list[str]) -> None:
        """The whole workspace was looked at, and these workers have a lock."""

    def on_process(self, event: ProcessSeen) -> None:
        """More is known of a process that locks name."""

    def on_environment(self, event: EnvironmentSeen) -> None:
        """The environment of a lock's owner names a tmux server."""

    def on_tmux(self, event: Event) -> None:
        """A tmux server answered, or is there no more."""

    def on_trouble(self, component: Component, subject: str, reason: str, hint: str = "") -> None:
        """A source is in trouble for a reason, or well again where that is empty."""


class Probes:
    """Looks at the workspace at the absolute path `root`, and keeps looking until it is closed."""

    def __init__(self, root: str, settings: Settings, listener: Listener, now: Callable[[], Moment]) -> None:
        self._loop = asyncio.get_running_loop()
        self._root = root
        self._settings = settings
        self._listener = listener
        self._now = now
        self._host: Host = parts.this_host(settings)
        self._pruning = parts.pruning(settings)
        self._uids = {os.getuid()}
        self._panes: set[PaneRef] = set()
        raise_descriptor_limit()
        self.inbox = Inbox(self._loop, listener.on_inbox)
        self._processes = ProcessWatch(self._loop, listener.on_process, self._on_process_health, now)
        self._owners = Owners(self._loop, self._on_environment)
        self._tmux = self._ask_tmux()
        self._observer = self._observe()

    @property
    def stats(self) -> Stats:
        """Where the observer of the files stands."""
        return self._observer.stats

    def name(self, pid: int) -> str:
        """Name a living process that a lock names, empty where that is not known."""
        return self._owners.name(pid)

    async def look_at_tmux(self, uids: Iterable[int]) -> None:
        """Ask every tmux server of these users, and wait for the answers, or until it is plain that none come."""
        self._uids.update(uids)
        await self._tmux.start(self._uids)

    def examine(self, worker: str) -> Reading | None:
        """Look at a worker's lock and the process behind it; None where there is none, or nobody is to look.

        Raises OSError where this process is short of descriptors or memory, which is no fact about the lock.
        """
        file = read_worker_lock(directory_of(self._root, worker)) if self._pruning.reaches(worker) else None
        if file is None:
            return None
        if file.uid >= 0 and file.uid not in self._uids:
            self._uids.add(file.uid)
            self._tmux.add_uid(file.uid)
        record = file.content
        if isinstance(record, LockRecord) and record.pid > 0 and self._host.is_here(record.hostname):
            return file.reading(self._processes.watch(record.pid, with_agent=True))
        return file.reading()

    def follow(self, changes: Changes, registry: Registry) -> None:
        """Watch the processes and panes that locks name now, and no others; ask tmux where an answer is owed."""
        for pid in changes.pids:
            if registry.names_pid(pid):
                self._processes.watch(pid, with_agent=False)
                self._owners.note(pid)
            else:
                self._processes.forget(pid)
                self._owners.drop(pid)
        named = {pane for pane in changes.panes if registry.names_pane(pane)}
        self._tmux.watch_panes(named - self._panes)
        self._tmux.drop_panes((changes.panes - named) & self._panes)
        self._panes = (self._panes - changes.panes) | named
        if changes.ask:
            self._tmux.ask()

    def process(self, pid: int) -> ProcessFact:
        """Look at a process, and watch it if it is there."""
        return self._processes.watch(pid, with_agent=False)

    def forget(self, pid: int) -> None:
        """Watch a process no more that turned out to be nobody's owner."""
        self._processes.forget(pid)

    def recheck(self) -> None:
        """Look again at what could not be told of processes."""
        self._processes.recheck()

    async def reconfigure(self, settings: Settings, keys: Iterable[str]) -> None:
        """Go on by other settings, of which these keys have changed."""
        self._settings, self._host = settings, parts.this_host(settings)
        self._pruning = parts.pruning(settings)
        if any(key.startswith("tmux.") for key in keys):
            await self._tmux.close()
            self._tmux = self._ask_tmux()
            self._tmux.watch_panes(self._panes)
            await self._tmux.start(self._uids)
        if any(key.startswith("observe.") for key in keys):
            self._replace_observer()

    async def close(self) -> None:
        """Let go of everything; what hangs is left behind after a while."""
        self._owners.close()
        self._processes.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._tmux.close(), _ENDING)
        stopped = asyncio.Event()
        self._stop_observer(lambda: self._in_loop(stopped.set))
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), _ENDING)

    # -- tmux and processes

    def _ask_tmux(self) -> TmuxWatch:
        options = parts.tmux_options(self._settings)
        return TmuxWatch(self._loop, options, self._listener.on_tmux, self._on_tmux_health, self._now)

    def _on_environment(self, pid: int, tmux_socket: str) -> None:
        self._listener.on_environment(EnvironmentSeen(pid, tmux_socket, self._now()))

    def _on_process_health(self, component: str, reason: str, hint: str) -> None:
        self._listener.on_trouble(Component(component), "pidfds", reason, hint)

    def _on_tmux_health(self, health: TmuxHealth) -> None:
        reason = health.reason if health.state is tmux_watch.Health.DEGRADED else ""
        self._listener.on_trouble(Component.TMUX, health.subject, reason, health.hint)

    # -- files: what is told in the observer's thread goes to the loop

    def _observe(self) -> WorkspaceObserver:
        observe = self._settings.observe
        observer = WorkspaceObserver(
            pruning=self._pruning,
            backend=observe.backend,
            rescan_interval=observe.rescan,
            poll_interval=observe.poll,
            on_event=self._on_file_event,
            on_health=self._on_file_health,
        )
        observer.schedule(FileSystemEventHandler(), self._root)
        observer.start()
        return observer

    def _replace_observer(self) -> None:
        self._stop_observer(lambda: None)
        self._observer = self._observe()

    def _stop_observer(self, then: Callable[[], None]) -> None:
        """End the observer in a thread that nobody waits for: it may be stuck in a file system that does not answer."""
        observer = self._observer

        def stop() -> None:
            observer.stop()
            with suppress(RuntimeError):  # it was never started
                observer.join(_ENDING)
            then()

        threading.Thread(target=stop, name="stop observer", daemon=True).start()

    def _on_file_event(self, event: FileSystemEvent) -> None:
        if isinstance(event, TreeScannedEvent):
            self._in_loop(self._listener.on_scan, [worker_of(self._root, path) for path in event.locks])
        else:
            worker = worker_of(self._root, os.fsdecode(event.src_path))
            self.inbox.put((worker,), deleted=event.event_type == "deleted")

    def _on_file_health(self, health: ObserverHealth) -> None:
        component, subject = Component(health.component), "emitter"
        match health.condition:
            case Condition.DEGRADED:
                self._in_loop(self._listener.on_trouble, component, "", health.reason, health.hint)
            case Condition.RECOVERED:
                self._in_loop(self._listener.on_trouble, component, "", "")
            case Condition.FAILED:
                told = "".join(traceback.format_exception(health.error)) if health.error is not None else health.reason
                reason = f"the observer ended, another takes over: {told}"
                self._in_loop(self._listener.on_trouble, component, subject, reason, health.hint)
                self._in_loop(self._replace_observer)

    def _in_loop(self, call: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has ended, and nobody will look any more
            self._loop.call_soon_threadsafe(call, *arguments)
