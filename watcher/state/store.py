"""The store: what must outlive a restart, kept while the watcher runs (the package tells how, and why)."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from rules.alerts import Alert, Step, Transition
from watcher.state import watch_lock
from watcher.state.codec import to_json
from watcher.state.entries import Run, StoredWorker, Written, encode
from watcher.state.file import StateFile
from watcher.state.ledger import Ledger
from watcher.state.place import WAY_OUT, Place, boot_id
from watcher.state.reading import read_or_set_aside
from watcher.state.vitals import VITALS_NAME, Vitals

_PAUSE = 0.05
"""Seconds between two fsyncs: what changes meanwhile shares one."""

_PATIENCE = 0.25
"""Seconds for which the thread waits for the journal before it sees to the disk again."""

_STUCK = 1.0
"""Seconds after which a disk that does not answer is not written to from the loop any more."""

_FIRST_RETRY = 0.5
_LAST_RETRY = 30.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """What an earlier run left: claims, and alerts that were firing. `trouble` says why it left nothing usable.

    Claims are as a run that begins now may take them: tmux must be asked anew, and after a reboot no process
    lives and no pane is the same.
    """

    workers: tuple[StoredWorker, ...] = ()
    alerts: tuple[Alert, ...] = ()
    trouble: str = ""


class StateStore:
    """Keeps the state of one workspace in a directory of its own inside the state directory.

    `drained(seconds)` waits until every line handed to the journal is written, and says whether it is.
    `is_logged(step, episode)` says whether a line of an earlier run is in the log for certain (`LogTail`);
    without it what is in doubt is written again.
    `on_trouble(reason, hint)` is told when the state cannot be written, and with an empty reason when it can
    be again. Both may be called from a thread of the store's own.

    Raises:
        JobError: the directory cannot be made, or is not ours.
    """

    def __init__(
        self,
        directory: str,
        workspace: str,
        *,
        drained: Callable[[float], bool] = lambda _: True,
        is_logged: Callable[[Step, str], bool] = lambda _step, _episode: False,
        on_trouble: Callable[[str, str], None] = lambda _reason, _hint: None,
    ) -> None:
        self._workspace = os.path.realpath(workspace)
        self._place = Place.create(directory, workspace)
        self._drained = drained
        self._is_logged = is_logged
        self._on_trouble = on_trouble
        self._watching = -1
        self._ledger = Ledger()
        self._file = StateFile(self._place)
        self._owes = True
        self._queued = 0
        self._unsynced = False
        self._vitals: Vitals | None = None
        self._busy_since: float | None = None
        self._trouble = ""
        self._closing = False
        self._changed = threading.Condition()
        # Two, for a disk that is slow must not keep us from noting what the journal has done.
        self._threads = (
            threading.Thread(target=self._tend_file, name="state", daemon=True),
            threading.Thread(target=self._follow_journal, name="state marks", daemon=True),
        )

    def claim_watch(self, about: watch_lock.Running) -> None:
        """Become the one watcher of the workspace, until `close`. Waits up to half a second.

        Raises:
            JobError: another watcher has it; the text names its pid.
        """
        self._watching = watch_lock.take(self._place, about)

    def load(self) -> Loaded:
        """Read what an earlier run left, and begin a file of this run. Waits for the disk; call it once.

        A file that is broken, or not ours to read, is renamed, and `trouble` says so; bad content never raises.
        """
        self._ledger, trouble = read_or_set_aside(self._place, self._workspace, time.monotonic())
        self._ledger.settle(self._is_logged)
        self._ledger.apply(
            Run(
                workspace=self._workspace, host=socket.gethostname(), boot_id=boot_id(), pid=os.getpid(), at=time.time()
            )
        )
        with suppress(OSError):  # the thread tries again, and tells
            self._rewrite()
        for thread in self._threads:
            thread.start()
        return Loaded(tuple(self._ledger.workers.values()), tuple(self._ledger.alerts.values()), trouble)

    def intend(self, transitions: Iterable[Transition]) -> list[Transition]:
        """Store the steps of alerts that are about to be written; give back the lines to write, in order.

        The first call of a run is to have what the initial look at everything came to: to that it adds what the
        log may lack since the run before. Called in the loop.
        """
        with self._changed:
            steps = list(transitions)
            lines = list(self._ledger.owed(steps)) if self._owes else steps
            self._owes = False
            entries = [entry for step in steps if (entry := self._ledger.announce(step)) is not None]
            self._append(b"".join(map(encode, entries)))
        return lines

    def keep(self, workers: Iterable[StoredWorker] = ()) -> None:
        """Store the claims of the workers that changed; all that was intended is handed to the journal by now.

        A worker without a claim is forgotten. One that is as it was costs next to nothing. Called in the loop.
        """
        drained = self._ledger.is_in_doubt and self._drained(0.0)
        with self._changed:
            known, data = self._ledger.workers, bytearray()
            for worker in workers:
                if worker.worker in known if worker.claim is None else known.get(worker.worker) != worker:
                    self._ledger.apply(worker)
                    data += encode(worker)
            self._queued = self._ledger.number
            if drained:
                data += self._mark(self._queued)
            self._append(bytes(data))
            if self._unsynced or self._is_in_doubt():
                self._changed.notify_all()

    def publish(self, vitals: Vitals) -> None:
        """Have `status` know how the watcher is. Called in the loop."""
        with self._changed:
            self._vitals = vitals
            self._changed.notify_all()

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until all is on the disk; False where that took longer than `timeout` seconds. Not for the loop."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._has_work() and self._busy_since is None, timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Write what can be written within `timeout` seconds, and let another watcher begin. Not for the loop.

        Close it after the journal, so that the last lines are known to be out.
        """
        deadline = time.monotonic() + timeout
        self._mark_written(0.0)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        running = [thread for thread in self._threads if thread.is_alive()]
        for thread in running:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._watching >= 0:
            os.close(self._watching)
            self._watching = -1
        if not any(thread.is_alive() for thread in running):
            self._file.close()
            self._place.close()

    # -- with the lock held

    def _append(self, data: bytes) -> None:
        if not data:
            return
        if self._busy_since is not None and time.monotonic() - self._busy_since > _STUCK:
            self._file.is_broken = True
            self._tell("the disk does not answer")
        self._file.append(data)
        self._unsynced = True

    def _mark(self, queued: int) -> bytes:
        written = Written(upto=queued)
        self._ledger.apply(written)
        return encode(written)

    def _is_in_doubt(self) -> bool:
        return self._ledger.is_in_doubt and self._queued > self._ledger.written

    def _has_work(self) -> bool:
        return self._unsynced or self._file.wants_rewrite or self._vitals is not None

    # -- in the threads

    def _follow_journal(self) -> None:
        """Mark the lines that are out, as soon as they are."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._is_in_doubt())
                if self._closing:
                    return
            if not self._mark_written(_PATIENCE):
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, _PAUSE)

    def _mark_written(self, wait: float) -> bool:
        queued = self._queued
        if not self._is_in_doubt():
            return True
        if not self._drained(wait):
            return False
        with self._changed:
            self._append(self._mark(queued))
            self._changed.notify_all()
        return True

    def _tend_file(self) -> None:
        """Make durable what was appended, and the file short again, until the end."""
        retry = _FIRST_RETRY
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._has_work())
                closing = self._closing
                self._busy_since = time.monotonic()
            try:
                self._write()
            except OSError as error:
                self._tell((error.strerror or str(error)).lower())
                pause, retry = retry, min(2 * retry, _LAST_RETRY)
            else:
                self._tell("")
                pause, retry = _PAUSE, _FIRST_RETRY
            with self._changed:
                self._busy_since = None
                self._changed.notify_all()
                if closing:
                    return
                self._changed.wait_for(lambda: self._closing, pause)

    def _write(self) -> None:
        """Write what waits. Raises OSError."""
        if self._file.wants_rewrite:
            self._rewrite()
        elif self._unsynced:
            self._unsynced = False
            self._file.sync()
        self._write_vitals()

    def _rewrite(self) -> None:
        with self._changed:
            entries = self._ledger.entries()
            self._file.fork()
        try:
            self._file.fill(map(encode, entries))
            with self._changed:
                self._unsynced = self._file.swap()
        except OSError:
            with self._changed:
                self._file.abandon()
            raise
        self._file.settle()

    def _write_vitals(self) -> None:
        with self._changed:
            vitals, self._vitals = self._vitals, None
        if vitals is not None:
            self._place.write(VITALS_NAME, to_json(vitals))

    def _tell(self, reason: str) -> None:
        before, self._trouble = self._trouble, reason
        if reason != before:
            self._on_trouble(f"{self._place.path}: {reason}" if reason else "", f"make room there; or {WAY_OUT}")
