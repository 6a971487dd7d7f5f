"""One look at a workspace, by the same rules as the daemon's: for `scan`, `clean` and the library."""

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from rules.evaluate import evaluate
from rules.model import Finding, Liveness, LockRecord, LockView, Moment
from watcher import parts
from watcher.errors import JobError, one_line
from watcher.events import Reading, Rescanned, Unreadable
from watcher.locks.lockfile import LockFile, read_worker_lock
from watcher.paths import directory_of, worker_of
from watcher.settings import Settings
from watcher.sources.processes.environment import tmux_socket_of
from watcher.sources.processes.watch import probe
from watcher.sources.tmux.look import look
from watcher.sources.tmux.session_list import listed
from watcher.sources.workspace.crawl import crawl


@dataclass(frozen=True, slots=True)
class Surveyed:
    """One lock, the file as it was judged, and what is wrong with it."""

    view: LockView
    file: LockFile
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """One look at a workspace. `locks` are by worker, in the order of their paths; `seconds` is how long it took."""

    root: str
    locks: Mapping[str, Surveyed]
    directories: int
    skipped: int
    seconds: float

    @property
    def findings(self) -> Iterator[Finding]:
        """All that is wrong."""
        for surveyed in self.locks.values():
            yield from surveyed.findings


def workspace_at(path: str) -> str:
    """Give the absolute path of a workspace, links resolved once.

    Raises JobError where it is no directory that can be listed.
    """
    root = os.path.realpath(path) if path else ""  # a script's variable that is not set is no directory
    try:
        with os.scandir(root):
            return root
    except OSError as error:
        named, reason = one_line(path) or '""', (error.strerror or str(error)).lower()
        raise JobError(f"workspace: {named}: {reason}; name a directory that you may list") from None


def survey(root: str, settings: Settings, sessions: Collection[str] | None = None) -> Survey:
    """Look once at every lock below `root`, an absolute path; `sessions` is as for `views_of`.

    Raises JobError where the workspace cannot be listed.
    """
    began = time.monotonic()
    try:
        found = crawl(root, parts.pruning(settings))
    except OSError as error:
        raise JobError(f"workspace: {one_line(root)}: {(error.strerror or str(error)).lower()}") from None
    workers = sorted(worker_of(root, path) for path in found.locks)
    locks = judge(root, workers, settings, sessions)
    return Survey(root, locks, found.directories, found.skipped, time.monotonic() - began)


def judge(
    root: str, workers: Iterable[str], settings: Settings, sessions: Collection[str] | None = None
) -> dict[str, Surveyed]:
    """Judge the locks of some workers, each a path relative to `root`, as they are now."""
    files = {worker: file for worker in workers if (file := read_worker_lock(directory_of(root, worker))) is not None}
    here = parts.this_host(settings).is_here
    readings = {worker: probed(file.content, file.uid, here=here) for worker, file in files.items()}
    views = views_of(root, readings, settings, sessions)
    policy = settings.rules.policy()
    return {
        worker: Surveyed(view, files[worker], evaluate(worker, view, policy).findings) for worker, view in views.items()
    }


def views_of(
    root: str, readings: Mapping[str, Reading], settings: Settings, sessions: Collection[str] | None = None
) -> dict[str, LockView]:
    """Judge what was read of some workers, and by what tmux says where one of them names a session.

    `sessions` are those that there are, as a caller knows them: then tmux is not asked, nor believed.
    """
    registry = parts.detector(root, settings).registry
    if sessions is not None:
        readings = {worker: replace(reading, tmux_socket="") for worker, reading in readings.items()}
    registry.apply(Rescanned(readings, _now(), initial=True))
    naming = [
        each.uid for each in readings.values() if isinstance(each.content, LockRecord) and each.content.session_id
    ]
    if naming:
        uids, tmux = {os.getuid(), *naming}, parts.tmux_options(settings)
        answers = look(tmux, uids, _now) if sessions is None else listed(sessions, uids, _now())
        for answer in answers:
            registry.apply(answer)
    registry.collect()
    return {worker: view for worker in readings if (view := registry.view(worker)) is not None}


def probed(content: LockRecord | Unreadable, uid: int, *, here: Callable[[str], bool]) -> Reading:
    """Look at the process that a lock of user `uid` names, if it is one of this host's, as `here` says."""
    if not isinstance(content, LockRecord) or content.pid <= 0 or not here(content.hostname):
        return Reading(content, uid)
    fact = probe(content.pid)
    alive = content.session_id and fact.state is Liveness.ALIVE
    return Reading(content, uid, fact, tmux_socket_of(content.pid) if alive else "")


def _now() -> Moment:
    return Moment(time.time(), time.monotonic())
