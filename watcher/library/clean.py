"""Removing stale locks, and only those."""

import os
from dataclasses import dataclass
from typing import Self

from rules.identity import Host, process_state
from rules.model import Finding, Liveness, LockRecord, LockView, Verdict
from rules.policy import Policy
from rules.stale import stale
from watcher import parts
from watcher.locks.lockdir import flocked, remove_if_same
from watcher.locks.lockfile import LockFile
from watcher.settings import Settings
from watcher.sources.processes.watch import probe
from watcher.survey import Survey, survey, workspace_at

PATIENCE = 2.0
"""Seconds that one flock is waited for: whoever keeps it so long is about to change the lock."""


@dataclass(frozen=True, slots=True)
class StaleLock:
    """A lock that was judged stale.

    `worker` is its path relative to the workspace (`.` for the root), `directory` the absolute one; `file` is
    what was judged, `record` what it says, and `why` one clause on what makes it stale.
    """

    worker: str
    directory: str
    record: LockRecord
    why: str
    file: LockFile

    @classmethod
    def of(cls, view: LockView, file: LockFile) -> Self | None:
        """Make one of a lock that was judged; None where it is not stale."""
        if view.verdict is not Verdict.STALE or not isinstance(file.content, LockRecord):
            return None
        return cls(view.worker, view.directory, file.content, _why(view), file)


def clean_stale_locks(root: str | os.PathLike[str], settings: Settings | None = None) -> list[StaleLock]:
    """Remove every stale lock below `root`, and say which those were.

    Stale is a dead process with a session that is dead or that the lock does not name (the table in
    `rules.verdict`), whatever alerts are switched off; what is not known for certain stays. A lock that changed
    meanwhile or cannot be removed stays too, and is not in the answer.

    Raises:
        JobError: `root` is not a directory that can be listed.
    """
    settings = settings or Settings()
    host = parts.this_host(settings)
    removed = []
    for lock in stale_locks(survey(workspace_at(os.fspath(root)), settings)):
        try:
            if remove(lock, host):
                removed.append(lock)
        except OSError:
            continue
    return removed


def stale_locks(surveyed: Survey) -> list[StaleLock]:
    """Give the locks of a survey that may be removed, in the order of their paths."""
    found = (StaleLock.of(each.view, each.file) for each in surveyed.locks.values())
    return [lock for lock in found if lock is not None]


def remove(lock: StaleLock, host: Host) -> bool:
    """Remove a lock that was judged stale on `host`, ours; False where it no longer is what was judged.

    Under the writers' flock, its process is looked at once more, and the file must have the inode and the bytes
    that were judged.

    Raises:
        TimeoutError: another process kept the flock.
        OSError: it may not be removed.
    """
    try:
        with flocked(lock.directory, PATIENCE) as runtime:
            fact = probe(lock.record.pid) if lock.record.pid > 0 else None
            dead = process_state(lock.record, fact, host) is Liveness.DEAD
            return dead and remove_if_same(runtime, lock.file)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _why(view: LockView) -> str:
    """Say what makes a lock stale, also where its alerts are switched off."""
    return next((found.reason for found in stale(view, Policy()) if isinstance(found, Finding)), "")
