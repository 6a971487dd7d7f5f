"""A small watcher to be killed: it makes trouble for itself, and writes what it sees to a log by the store's protocol.

    flapper.py STATE WORLD LOG SEED STEPS HOW

WORLD is a directory; a worker is in trouble while its file is there. The file says which lock it is about, and
which one it was about before. After STEPS changes it ends. HOW: its lines are written "at once", "later" by a
thread, or "later, read back".
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from queue import Queue
from threading import Thread

from rules.alerts import AlertBook, Scope, Step, Transition
from rules.evaluate import Ruling
from rules.model import Claim, Finding, LockRecord, Moment, Severity
from watcher.state import LogTail, StateStore, StoredWorker

WORKERS = [f"w{number}" for number in range(6)]
REST = 0.002


class Log:
    """Writes lines at once, or when its thread comes to it."""

    def __init__(self, path: str, *, lazy: bool) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._waiting: Queue[bytes] = Queue()
        self._lazy = lazy
        if lazy:
            Thread(target=self._run, daemon=True).start()

    def write(self, transition: Transition) -> None:
        """Take a line."""
        alert = transition.alert
        line = {
            "run": os.getpid(),
            "event": f"alert.{transition.step}",
            "worker": alert.finding.worker,
            "episode": alert.episode,
            "restored": alert.restored,
            "ends_at": alert.ends_at,
        }
        data = json.dumps(line).encode() + b"\n"
        if self._lazy:
            self._waiting.put(data)
        else:
            os.write(self._fd, data)

    def drained(self, timeout: float) -> bool:
        """Wait until all is written."""
        deadline = time.monotonic() + timeout
        while self._waiting.unfinished_tasks:
            if time.monotonic() >= deadline:
                return False
            time.sleep(REST / 4)
        return True

    def _run(self) -> None:
        while True:
            data = self._waiting.get()
            time.sleep(REST)
            os.write(self._fd, data)
            self._waiting.task_done()


class Watcher:
    """Joins an alert book, a store and a log, as the daemon does."""

    def __init__(self, state: str, world: Path, log: Log, is_logged: Callable[[Step, str], bool]) -> None:
        self._world = world
        self._log = log
        self._store = StateStore(state, str(world), drained=log.drained, is_logged=is_logged)
        self._book = AlertBook(Scope("host", str(world)))

    def start(self) -> None:
        """Take over what the run before knew; it may be one change behind the world, and no more."""
        loaded = self._store.load()
        assert not loaded.trouble, loaded.trouble
        for worker in loaded.workers:
            known = worker.claim.record.pid if worker.claim is not None else 0
            now, before = self._read(worker.worker)
            assert known in {now, before}, (worker.worker, known, now, before)
        self._book.restore(loaded.alerts)
        self._conclude(WORKERS, initial=True)

    def flap(self, worker: str, number: int) -> None:
        """Change the world, and see it."""
        now, _ = self._read(worker)
        new = 0 if now else number
        temporary = self._world / "temporary"
        temporary.write_text(f"{new} {now}")
        temporary.replace(self._world / worker)
        self._conclude([worker])

    def close(self) -> None:
        """End in order."""
        assert self._log.drained(60)
        self._store.close(60)

    def _read(self, worker: str) -> tuple[int, int]:
        """Give the lock that a worker is in trouble about, 0 for none, and the one before."""
        try:
            now, before = (self._world / worker).read_text().split()
        except FileNotFoundError:
            return 0, 0
        return int(now), int(before)

    def _conclude(self, workers: Iterable[str], *, initial: bool = False) -> None:
        moment = Moment(time.time(), time.monotonic())
        claims = {worker: self._claim(worker, moment) for worker in workers}
        rulings = [Ruling(worker, None, _findings(worker, claim)) for worker, claim in claims.items()]
        for transition in self._store.intend(self._book.update(rulings, moment, initial=initial)):
            self._log.write(transition)
        self._store.keep([StoredWorker(worker, claim) for worker, claim in claims.items()])

    def _claim(self, worker: str, moment: Moment) -> Claim | None:
        number, _ = self._read(worker)
        return Claim(LockRecord(number), moment) if number else None


def _findings(worker: str, claim: Claim | None) -> tuple[Finding, ...]:
    if claim is None:
        return ()
    return (Finding("stale", worker, Severity.WARNING, "gone", "clean", (worker,), replace(claim, settled=True)),)


def main(arguments: list[str]) -> None:
    """Flap until killed."""
    state, world, log, seed, steps, how = arguments
    chance = random.Random(seed)  # noqa: S311 - no secret
    watcher = Watcher(
        state,
        Path(world),
        Log(log, lazy=how.startswith("later")),
        LogTail(log) if how.endswith("read back") else lambda _step, _episode: False,
    )
    print("starting", flush=True)  # noqa: T201 - from here on it is worth a kill
    watcher.start()
    for step in range(int(steps)):
        watcher.flap(chance.choice(WORKERS), os.getpid() * 100_000 + step + 1)
        time.sleep(chance.random() * 2 * REST)
    watcher.close()


if __name__ == "__main__":
    main(sys.argv[1:])
