"""What locks a workspace has, and what is wrong with them."""

import os
from collections.abc import Collection

import msgspec

from rules.model import Finding, LockRecord
from watcher import parts
from watcher.locks.lockfile import read_worker_lock
from watcher.paths import directory_of, worker_of
from watcher.settings import Settings
from watcher.sources.workspace.crawl import crawl
from watcher.survey import survey, workspace_at


def find_all_locks(root: str | os.PathLike[str], settings: Settings | None = None) -> dict[str, LockRecord]:
    """Give what every lock below `root` says, by the absolute path of its worker's directory, links resolved.

    What cannot be read as a lock is left out. Nobody is judged: neither a process nor tmux is asked.

    Raises:
        JobError: `root` is not a directory that can be listed.
    """
    top = workspace_at(os.fspath(root))
    workers = (
        directory_of(top, worker_of(top, path)) for path in crawl(top, parts.pruning(settings or Settings())).locks
    )
    found = ((worker, read_worker_lock(worker)) for worker in sorted(workers))
    return {worker: file.content for worker, file in found if file and isinstance(file.content, LockRecord)}


def detect_collisions(
    root: str | os.PathLike[str],
    active_sessions: Collection[str] | None = None,
    settings: Settings | None = None,
) -> list[Finding]:
    """Find all that one look can tell is wrong with the locks below `root`, as `lockwarden scan` does.

    That is every kind of finding: stale, orphan, invalid, and the collision of two workers that name one living
    pane. A takeover is seen by those who watch.

    `active_sessions` is the caller's own list of what lives, in place of asking tmux: session names, `$N` and
    `%N`, as locks name them. It is believed as it is: a session that it does not hold is dead (one with a
    descriptive id, like `rig/name`, unknown), and with an empty one all are.

    Raises:
        JobError: `root` is not a directory that can be listed.
    """
    settings = settings or Settings()
    if active_sessions is not None:
        settings = msgspec.structs.replace(settings, tmux=msgspec.structs.replace(settings.tmux, enabled=True))
    return list(survey(workspace_at(os.fspath(root)), settings, active_sessions).findings)
