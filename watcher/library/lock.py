"""The lock of one worker, for those who hold it, want it, or want it gone."""

import errno
import os
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from rules.model import Liveness, LockRecord, Verdict
from watcher import parts
from watcher.library.clean import StaleLock, remove
from watcher.library.standing import OURS, UNLOCKED, Owner, Standing, stand
from watcher.locks.errors import InvalidLockError, LockedError, NotLockedError
from watcher.locks.lockdir import flocked, remove_if_same, write_lock
from watcher.locks.lockfile import LOCK_NAME, LockFile, encode, parse, read_lock, read_worker_lock
from watcher.paths import lock_path_of
from watcher.settings import Settings
from watcher.sources.processes.watch import probe

PATIENCE = 10.0
"""Seconds that the flock is waited for: longer than a holder needs who waits for tmux."""

_LOOKS = 5
"""Looks at a lock that is rewritten, by a writer that takes no flock, each time while it is being judged."""


class Lock:
    """The identity lock of a worker directory, seen by one owner.

    The owner is the process `pid`, where None this one (after a fork, the child), and `session_id`, the tmux
    session name, `$N` or pane `%N` by which it can be reached, as $TMUX_PANE has it; empty for none. A lock is
    ours where it names our process, our pane, or our session unless two living processes share that.

    `settings` say which tmux servers are asked, and by which names this host goes; None is the defaults, and no
    config file. As a context manager it is acquired for the block. Methods may block for `PATIENCE` while another
    holds the flock, and for two seconds while tmux hangs: not for an event loop. Not shared between threads.
    """

    def __init__(
        self,
        worker_dir: str | os.PathLike[str],
        *,
        settings: Settings | None = None,
        pid: int | None = None,
        session_id: str = "",
    ) -> None:
        self.worker = os.path.abspath(worker_dir)  # noqa: PTH100 - resolve() would follow links
        self.path = lock_path_of(self.worker)
        self.session_id = session_id
        self.settings = settings or Settings()
        self._pid = pid
        self._taken: LockRecord | None = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.release()
            return
        with suppress(Exception):  # what the block raised matters more
            self.release()

    @property
    def owner(self) -> Owner:
        """Who we are."""
        return Owner(os.getpid() if self._pid is None else self._pid, self.session_id)

    def acquire(self, session_id: str | None = None) -> LockRecord:
        """Take the lock, or take it anew where it is ours; `session_id` is remembered as ours. Give what it says.

        A lock that is there is replaced only where it is ours, stale, or unreadable for longer than the grace.

        Raises:
            LockedError: somebody else holds it, or may do so.
            ProcessLookupError: there is no such process as the owner.
            TimeoutError: another process kept the flock.
            OSError: the directory cannot be written.
        """
        if session_id is not None:
            self.session_id = session_id
        owner = self.owner
        if probe(owner.pid).state is Liveness.DEAD:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), str(owner.pid))
        with flocked(self.worker, PATIENCE, create=True) as runtime:
            for _ in range(_LOOKS):
                file = read_lock(LOCK_NAME, dir_fd=runtime)
                if file is not None and not self._is_as_taken(file):
                    standing = self._stand(file)
                    if not standing.may_be_replaced:
                        raise self._locked(standing)
                    now = read_lock(LOCK_NAME, dir_fd=runtime)
                    if now is None or not now.is_same(file):
                        continue
                data = encode(
                    pid=owner.pid,
                    acquired_ns=time.time_ns(),
                    utc_offset=time.localtime().tm_gmtoff,
                    session_id=owner.session_id,
                    hostname=parts.this_host(self.settings).name,
                )
                write_lock(runtime, data)
                self._taken = parse(data)
                return self._taken
        raise self._restless()

    def release(self) -> bool:
        """Remove the lock if it is ours; False where there was none.

        Raises:
            LockedError: it is another's, also where that one is gone.
            InvalidLockError: it cannot be read, so nobody knows whose it is.
            TimeoutError: another process kept the flock.
            OSError: the directory cannot be written.
        """
        try:
            with flocked(self.worker, PATIENCE) as runtime:
                for _ in range(_LOOKS):
                    file = read_lock(LOCK_NAME, dir_fd=runtime)
                    if file is None:
                        return False
                    if not self._is_as_taken(file) and not (standing := self._stand(file)).ours:
                        raise self._refused(standing)
                    if remove_if_same(runtime, file):
                        self._taken = None
                        return True
        except (FileNotFoundError, NotADirectoryError):
            return False
        raise self._restless()

    def force_release(self) -> bool:
        """Remove the lock, whoever holds it; False where there was none.

        Raises:
            TimeoutError: another process kept the flock.
            OSError: the directory cannot be written, or the lock is itself a directory.
        """
        try:
            with flocked(self.worker, PATIENCE) as runtime:
                os.unlink(LOCK_NAME, dir_fd=runtime)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def read(self) -> LockRecord:
        """Give what the lock says; nobody is judged.

        Raises:
            NotLockedError: there is none.
            InvalidLockError: it cannot be read as a lock.
        """
        file = read_worker_lock(self.worker)
        if file is None:
            raise NotLockedError("there is no lock", path=self.path)
        if not isinstance(file.content, LockRecord):
            raise InvalidLockError(file.content.reason, path=self.path)
        return file.content

    def check(self) -> None:
        """Do nothing where nobody else holds the lock; a stale one is removed on the way, if it can be.

        Raises:
            LockedError: another holds it, or may do so.
            InvalidLockError: it has been unreadable for longer than the grace.
        """
        for _ in range(_LOOKS):
            file = read_worker_lock(self.worker)
            if file is None or self._is_as_taken(file):
                return
            standing = self._stand(file)
            if standing.ours:
                return
            stale = StaleLock.of(standing.view, file)
            if stale is None:
                raise self._refused(standing)
            try:
                if remove(stale, parts.this_host(self.settings)):
                    return
            except OSError:
                return
        raise self._restless()

    def status(self) -> str:
        """Say in a few words who holds the lock: `unlocked`, `locked (by us)`, `locked by PID 42 (session: x)`, ...

        On one line, and safe to print.
        """
        file = read_worker_lock(self.worker)
        if file is None:
            return UNLOCKED
        return OURS if self._is_as_taken(file) else self._stand(file).text

    def is_stale(self) -> bool:
        """Say whether there is a lock whose owner is known to be gone."""
        file = read_worker_lock(self.worker)
        return file is not None and self._stand(file).view.verdict is Verdict.STALE

    def _stand(self, file: LockFile) -> Standing:
        return stand(self.worker, file, self.owner, self.settings)

    def _is_as_taken(self, file: LockFile) -> bool:
        """Say whether it is the very claim that we made; a forked child made none."""
        return self._taken is not None and file.content == self._taken and self._taken.pid == self.owner.pid

    def _refused(self, standing: Standing) -> LockedError | InvalidLockError:
        if standing.view.verdict is Verdict.INVALID:
            return InvalidLockError(standing.view.unreadable, path=self.path, verdict=standing.view.verdict)
        return self._locked(standing)

    def _locked(self, standing: Standing) -> LockedError:
        record = standing.file.content if isinstance(standing.file.content, LockRecord) else None
        return LockedError(standing.text, path=self.path, record=record, verdict=standing.view.verdict)

    def _restless(self) -> LockedError:
        return LockedError("rewritten again and again while it was judged", path=self.path)
