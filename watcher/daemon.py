"""The loop that joins them: facts from the probes, through the detector, to the journal.

One datum, three stops. The observer's thread names a lock that changed; the loop looks at the file and its
process, applies what it saw and concludes; each conclusion goes to the journal as lines. The ends of
processes and the answers of tmux enter the same way. Before a lock is called stale or orphaned, it is looked
at once more: an owner that removes its lock and exits is no alert.
"""

import asyncio
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import Any

from rules.alerts import Alert, Transition
from rules.model import Kind, LockRecord, LockView, Moment, Verdict
from rules.verdict import LIVE
from watcher import parts, records
from watcher.detector import Conclusion
from watcher.events import Elapsed, EnvironmentSeen, Event, LockGone, LockSeen, ProcessSeen, Reading, Rescanned
from watcher.health import Health
from watcher.paths import directory_of
from watcher.plugins import load_rules
from watcher.probes import Probes
from watcher.records import Component, Record
from watcher.report import alert_record, lock_record
from watcher.settings import Settings, changed
from watcher.sinks.pipeline import Journal
from watcher.state import Loaded, NoStore, StateStore, StoredWorker, Vitals
from watcher.version import __version__

NOBODY_READS = "nobody reads the log any more"
"""The reason to stop where every sink has ended: a watcher that nobody hears is not one."""

_SLICE = 64
"""Locks looked at in one go: some milliseconds before the loop has its turn again."""

_VITALS = 1.0
"""Seconds after a change before `status` can see it."""

_STUCK = 10.0
"""Seconds without a turn of the observer's thread, which turns each second, before a file system is to blame."""

_RETRY = 1.0
"""Seconds before a lock is looked at again that could not be, for want of descriptors or memory."""

_JUDGING = ("host_aliases", "tmux.", "rules.invalid.grace", "rules.collision.window")
"""The settings that decide what a fact means, beside those of the rules."""

_FIXED = ("log.file", "log.format", "log.quiet", "state.", "metrics.", "otlp.", "alertmanager.")
"""The settings that only a restart puts in force."""


class Daemon:
    """Watches one workspace until it is told to stop.

    `root` is the absolute path of a readable directory. `store` keeps what must outlive a restart.
    `on_transition` is called in the loop with each step of each alert, for programs that embed the watcher.
    """

    def __init__(
        self,
        root: str,
        settings: Settings,
        journal: Journal,
        *,
        store: StateStore | NoStore | None = None,
        on_transition: Callable[[Transition], None] | None = None,
    ) -> None:
        self._root = root
        self._settings = self._began_with = settings
        self._journal = journal
        self._store = store or NoStore()
        self._on_transition = on_transition
        self._began = time.monotonic()
        rules, self._refused = load_rules()
        self._detector = parts.detector(root, settings, rules)
        self._registry = self._detector.registry
        self._health = Health()
        self._started = False
        self._armed = asyncio.Event()
        self._beat_at = 0.0
        self._early: list[Record] = []
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._unseen: dict[str, None] = {}
        self._reconciling: asyncio.Task[None] | None = None

    async def run(self) -> str:
        """Watch until `stop` is called; return the reason that it was given."""
        self._loop = asyncio.get_running_loop()
        self._stopping: asyncio.Future[str] = self._loop.create_future()
        self._first_scan: asyncio.Future[list[str]] = self._loop.create_future()
        for name, reason in self._refused.items():
            self.on_trouble(Component.CONFIG, name, f"the rule {name} cannot be had: {reason}", "mend its package")
        self._probes = Probes(self._root, self._settings, self, self.now)
        try:
            if await self._unless_stopped(self._loop.create_task(self._start())):
                self._beat()
                await self._stopping
            return self._stopping.result()
        finally:
            await self._end()

    async def started(self) -> None:
        """Wait until all that is there has been looked at and told."""
        await self._armed.wait()

    def locks(self) -> list[LockView]:
        """List every lock that is there now, with what is known of it."""
        views = (self._registry.view(worker) for worker in self._registry.workers())
        return [view for view in views if view is not None]

    def firing(self) -> list[Alert]:
        """List the alerts that fire now, oldest first."""
        return self._detector.book.firing()

    def stop(self, reason: str) -> None:
        """End `run`. Called in the loop; a second call changes nothing."""
        if not self._stopping.done():
            self._stopping.set_result(reason)

    def reopen_logs(self) -> None:
        """Have the log files opened anew, after a rotation."""
        self._journal.reopen()

    async def reconfigure(self, settings: Settings) -> None:
        """Go on by other settings, once we have started; those that only a restart can put in force are told."""
        await self.started()
        keys = changed(self._settings, settings)
        self._settings = settings
        self._journal.selection = parts.selection(settings)
        if any(key.startswith(_JUDGING) for key in keys):
            rules = settings.rules
            self._registry.reconfigure(
                parts.judge(settings),
                parts.sessions(settings) if any(key.startswith("tmux.") for key in keys) else None,
                grace=rules.invalid.grace,
                window=rules.collision.window,
            )
        await self._probes.reconfigure(settings, keys)
        late = [key for key in changed(self._began_with, settings) if key.startswith(_FIXED)]
        reason = f"{', '.join(late)}: in force after a restart" if late else ""
        self.on_trouble(Component.CONFIG, "restart", reason, "restart the watcher")
        self._journal.write(records.WatcherReloaded(changed=", ".join(keys)))
        self._publish(self._detector.reconfigure(settings.rules.policy(), self.now()))
        self._look_at_all(self._registry.workers())
        self._beat()

    def refuse(self, reason: str) -> None:
        """Say that new settings were refused, and that the old ones stay; an empty reason: they are fine again."""
        self.on_trouble(Component.CONFIG, "reload", reason, "mend it, then send HUP again; the old settings stay")

    def on_defect(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log a defect of ours in full, and live on: the next event finds the facts as they are.

        For `asyncio.AbstractEventLoop.set_exception_handler`, where the loop is ours alone.
        """
        error = context.get("exception")
        told = "".join(traceback.format_exception(error)) if error is not None else str(context.get("message"))
        self._journal.write(
            records.WatcherDegraded(component=Component.WORKSPACE, reason=f"a defect of lockwarden: {told}")
        )

    def progress(self) -> int | None:
        """Say how many directories have been looked at so far; None once we have started."""
        return None if self._started else self._probes.stats.directories

    def now(self) -> Moment:
        """Read both clocks."""
        return Moment(time.time(), self._loop.time())

    # -- beginning and ending

    async def _start(self) -> None:
        """Look at everything once, then say what was found: first that we started, then each lock and alert."""
        workers = await self._first_scan
        readings: dict[str, Reading] = {}
        for some in _slices(workers):
            readings |= self._examine(some)
            await asyncio.sleep(0)
        uids = self._restore(await asyncio.to_thread(self._store.load))
        self._detector.apply(Rescanned(readings, self.now(), initial=True))
        for pid in self._registry.pids():
            self._detector.apply(ProcessSeen(pid, self._probes.process(pid), self.now()))
        uids.update(reading.uid for reading in readings.values())
        await self._probes.look_at_tmux(uid for uid in uids if uid >= 0)
        self._started = True
        self._journal.write(self._started_record())
        for record in self._early:
            self._journal.write(record)
        self._conclude(initial=True)
        self._armed.set()
        self.on_inbox()

    def _restore(self, loaded: Loaded) -> set[int]:
        """Take over what an earlier run knew; return the users whose locks it had seen."""
        if loaded.trouble:
            self.on_trouble(Component.STATE, "file", loaded.trouble, "nothing needs to be done")
        self._detector.restore(loaded.alerts)
        for stored in loaded.workers:
            if stored.claim is not None:
                self._registry.restore(stored.worker, stored.claim, stored.earlier)
        claims = [stored.claim for stored in loaded.workers if stored.claim is not None]
        return {claim.uid for claim in claims}

    def _examine(self, workers: Iterable[str]) -> dict[str, Reading]:
        """Look at locks for the first time; one that cannot be looked at now comes with the events."""
        readings: dict[str, Reading] = {}
        for worker in workers:
            try:
                reading = self._probes.examine(worker)
            except OSError:
                self._probes.inbox.put((worker,))
                continue
            if reading is not None:
                readings[worker] = reading
        return readings

    async def _unless_stopped(self, task: asyncio.Task[None]) -> bool:
        """Wait for a task unless we are stopped meanwhile; say whether it was done."""
        waited: set[asyncio.Future[Any]] = {task, self._stopping}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return False

    async def _end(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        if self._reconciling is not None:
            self._reconciling.cancel()
        await self._probes.close()
        if self._started:
            reason = self._stopping.result() if self._stopping.done() else "a defect of lockwarden"
            self._journal.write(records.WatcherStopped(reason=reason, uptime_s=self._uptime()))

    # -- what happens (`watcher.probes.Listener`)

    def on_inbox(self) -> None:
        """Look at some of the locks that changed."""
        if self._started:
            for worker, deleted in self._probes.inbox.take(_SLICE):
                self._look(worker, recreated=deleted)
            self._conclude()

    def on_scan(self, workers: list[str]) -> None:
        """Look at every lock that a scan of the whole workspace found, and every one that it did not find again."""
        if not self._first_scan.done():
            self._first_scan.set_result(workers)
        else:
            self._look_at_all({*workers, *self._registry.workers()})

    def on_process(self, event: ProcessSeen) -> None:
        """Take what became known of a process. Its owner may have removed its lock before it ended: look first."""
        if self._started:
            for worker in self._registry.on_pid(event.pid):
                self._look(worker)
        self._detector.apply(event)
        self._conclude()

    def on_environment(self, event: EnvironmentSeen) -> None:
        """Take what the environment of a lock's owner says of its tmux server."""
        self._detector.apply(event)
        self._conclude()

    def on_tmux(self, event: Event) -> None:
        """Take an answer of tmux. Locks that it would call stale or orphaned are looked at once more."""
        self._detector.apply(event)
        if self._started:
            for worker in self._registry.turned({Verdict.STALE, Verdict.ORPHAN}):
                self._look(worker)
            self._conclude()

    def on_trouble(self, component: Component, subject: str, reason: str, hint: str = "") -> None:
        """Note how a part of us is doing: in trouble for a reason, or well again where that is empty."""
        for record in self._health.note(component, subject, reason, hint, time.monotonic()):
            if self._started:
                self._journal.write(record)
            else:
                self._early.append(record)

    # -- looking and concluding

    def _look_at_all(self, workers: Iterable[str]) -> None:
        """Look at locks a few at a time, between whatever else happens."""
        self._unseen.update(dict.fromkeys(sorted(workers)))
        if self._reconciling is None or self._reconciling.done():
            self._reconciling = self._loop.create_task(self._reconcile())

    async def _reconcile(self) -> None:
        while self._unseen:
            for worker in list(islice(self._unseen, _SLICE)):
                del self._unseen[worker]
                self._look(worker)
            self._conclude()
            await asyncio.sleep(0)
        self._probes.recheck()

    def _look(self, worker: str, *, recreated: bool = False) -> None:
        """Look at one lock and its process, and apply what was seen."""
        try:
            reading = self._probes.examine(worker)
        except OSError as error:
            # Short of descriptors or memory: that says nothing about the lock. Look again when it may be over.
            self._loop.call_later(_RETRY, self._probes.inbox.put, (worker,))
            reason = f"locks cannot be read: {os.strerror(error.errno or 0).lower()}"
            self.on_trouble(
                Component.PROCESS, "locks", reason, "raise the limit of open files (LimitNOFILE, ulimit -n)"
            )
            return
        self.on_trouble(Component.PROCESS, "locks", "")
        if reading is None:
            self._detector.apply(LockGone(worker, self.now()))
            return
        self._detector.apply(LockSeen(worker, reading, self.now(), recreated=recreated))
        record = reading.content
        if isinstance(record, LockRecord) and reading.process is not None and not self._registry.names_pid(record.pid):
            self._probes.forget(record.pid)

    def _conclude(self, *, initial: bool = False) -> None:
        """Write what the facts so far have come to, and wait for what they ask for."""
        if self._started:
            self._publish(self._detector.conclude(self.now(), initial=initial))

    def _publish(self, conclusion: Conclusion) -> None:
        for change in conclusion.changes.lines:
            self._journal.write(lock_record(change))
        for transition in self._store.intend(conclusion.transitions):
            worker = transition.alert.finding.worker
            view = self._registry.view(worker)
            self._journal.write(alert_record(transition, directory_of(self._root, worker), view, self._probes.name))
            if self._on_transition is not None:
                self._on_transition(transition)
        self._store.keep(StoredWorker(worker, *self._registry.claims(worker)) for worker in conclusion.changes.touched)
        for rule, error in conclusion.failed:
            told = "".join(traceback.format_exception(error))
            self.on_trouble(Component.CONFIG, rule.kind, f"the rule {rule.kind} failed and is switched off: {told}")
        if not self._journal.alive:
            self.stop(NOBODY_READS)
        self._probes.follow(conclusion.changes, self._registry)
        self._set_timer("deadline", self._detector.deadline(), self._elapse)
        if "vitals" not in self._timers:
            self._set_timer("vitals", self._loop.time() + _VITALS, self._show_vitals)

    def _elapse(self) -> None:
        for worker in self._registry.overdue(self._loop.time()):
            self._look(worker)
        self._detector.apply(Elapsed(self.now()))
        self._conclude()

    def _set_timer(self, name: str, due: float | None, call: Callable[[], None]) -> None:
        """Have `call` called at `due`, in monotonic seconds, instead of when it was to be before."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
        if due is not None:
            self._timers[name] = self._loop.call_at(due, call)

    # -- how we are

    def _started_record(self) -> Record:
        stats = self._probes.stats
        return records.WatcherStarted(
            version=__version__,
            pid=os.getpid(),
            backend=stats.backend,
            directories=stats.directories,
            watches=stats.watches,
            skipped=stats.skipped,
            locks=len(self._registry.workers()),
            seconds=self._uptime(),
            polled=", ".join(stats.silent),
        )

    def _beat(self) -> None:
        """Set the timer for the next heartbeat, unless that is off."""
        interval = self._settings.heartbeat.interval
        self._set_timer("heartbeat", self._loop.time() + interval if interval > 0 else None, self._heartbeat)

    def _heartbeat(self) -> None:
        self._beat()
        self._beat_at = time.time()
        self._show_vitals()
        verdicts, stats = self._registry.counts(), self._probes.stats
        stuck = 0 < stats.turned_at < time.monotonic() - _STUCK
        reason = "a file system in the workspace does not answer: nothing is seen of its locks" if stuck else ""
        self.on_trouble(Component.WORKSPACE, "file system", reason, "look for a dead network mount")
        firing = Counter(alert.finding.kind for alert in self._detector.book.firing())
        self._journal.write(
            records.WatcherHeartbeat(
                uptime_s=self._uptime(),
                locks=verdicts.total(),
                held=sum(verdicts[verdict] for verdict in LIVE),
                unverifiable=verdicts[Verdict.UNVERIFIABLE],
                watches=stats.watches,
                firing_stale=firing[Kind.STALE],
                firing_orphan=firing[Kind.ORPHAN],
                firing_collision=firing[Kind.COLLISION],
                firing_invalid=firing[Kind.INVALID],
                events=stats.events,
                overflows=stats.overflows,
                rescans=stats.rescans,
                dropped=self._journal.dropped,
            )
        )

    def _show_vitals(self) -> None:
        """Have `status` know how we are, a little after anything has changed; see whether anybody reads the log."""
        self._timers.pop("vitals", None)
        if not self._journal.alive:
            self.stop(NOBODY_READS)
        elif self._journal.waiting:  # what becomes of the last lines is seen though nothing more may happen
            self._set_timer("vitals", self._loop.time() + _VITALS, self._show_vitals)
        stats = self._probes.stats
        self._store.publish(
            Vitals(
                at=time.time(),
                pid=os.getpid(),
                heartbeat_at=self._beat_at,
                backend=stats.backend,
                directories=stats.directories,
                watches=stats.watches,
                verdicts=dict(self._registry.counts()),
                events=stats.events,
                overflows=stats.overflows,
                rescans=stats.rescans,
                dropped=self._journal.dropped,
                degraded=self._health.degraded(),
            )
        )

    def _uptime(self) -> float:
        return round(time.monotonic() - self._began, 6)


def _slices(workers: list[str]) -> Iterable[list[str]]:
    return (workers[at : at + _SLICE] for at in range(0, len(workers), _SLICE))
