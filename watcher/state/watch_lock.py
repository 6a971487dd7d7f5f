"""One watcher a workspace: the lock file, and who holds it."""

import fcntl
import os
import time
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from rules.model import Liveness
from watcher.errors import JobError
from watcher.state.codec import from_json, to_json
from watcher.state.documents import Wall
from watcher.state.place import WAY_OUT, Place

LOCK_NAME = "lock"

_TRIES = 25
_PAUSE = 0.02
_MOST = 65_536


class Running(Struct, frozen=True, kw_only=True):
    """A watcher: who it is. `since` is in seconds since the epoch, `backend` what was asked for."""

    pid: Annotated[int, Meta(ge=1)]
    since: Wall
    version: str
    backend: str
    workspace: str = ""


_decoder = msgspec.json.Decoder(Running)


def take(place: Place, about: Running) -> int:
    """Take the lock for as long as the returned descriptor is open, and sign it.

    `status` holds it, shared, for a moment when it looks: so a lock that is taken is tried again for half a
    second. Blocks meanwhile.

    Raises:
        JobError: another watcher has it, or the file cannot be used.
    """
    try:
        descriptor = place.open_file(LOCK_NAME, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise JobError(f"state: cannot use {place.path}/{LOCK_NAME}: {reason}: {WAY_OUT}") from error
    try:
        _lock(descriptor, about)
        _sign(descriptor, about)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def look(place: Place) -> tuple[Liveness, Running | None]:
    """Say whether a watcher has the lock, and who signed it last. Raises OSError.

    The lock is taken, shared, for the blink of an eye: two that look do not disturb each other, and a watcher
    that starts just then tries again.
    """
    try:
        descriptor = place.open_file(LOCK_NAME, os.O_RDONLY)
    except FileNotFoundError:
        return Liveness.DEAD, None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Liveness.ALIVE, _holder(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return Liveness.DEAD, _holder(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, about: Running) -> None:
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return
    holder = _holder(descriptor)
    named = f"process {holder.pid}" if holder is not None else "another process"
    raise JobError(
        f"workspace {about.workspace}: already watched by {named}: end that one first, or run with --no-state"
    )


def _sign(descriptor: int, about: Running) -> None:
    # A full disk costs the signature, not the lock.
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, to_json(about), 0)
    except OSError:
        return


def _holder(descriptor: int) -> Running | None:
    try:
        return from_json(os.pread(descriptor, _MOST, 0), _decoder)
    except (OSError, ValueError):
        return None
