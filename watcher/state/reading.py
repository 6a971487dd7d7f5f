"""Read a state file. What a kill or a power cut left half-written at its end never happened."""

import os
import time

import msgspec
from msgspec import Struct

from watcher.errors import one_line
from watcher.state.codec import from_json
from watcher.state.entries import VERSION, Entry, Run, decode
from watcher.state.ledger import Ledger
from watcher.state.place import Place

STATE_NAME = "state.jsonl"
MOST = 256 << 20
"""Bytes beyond which a state file is not read: hundreds of thousands of locks."""

_MOST_SET_ASIDE = 3
_ASIDE = ".bad"


class UnusableStateError(ValueError):
    """A state file that cannot be used. The text is one clause."""


class _Version(Struct):
    version: int = VERSION


_version = msgspec.json.Decoder(_Version)


def read_or_set_aside(place: Place, workspace: str, mono: float) -> tuple[Ledger, str]:
    """Read the state file of a place; one that cannot be used is renamed, and the text says why.

    `workspace` and `mono` are as for `read_state`.
    """
    try:
        descriptor = place.open_file(STATE_NAME, os.O_RDONLY)
    except FileNotFoundError:
        return Ledger(), ""
    except OSError as error:
        return Ledger(), _set_aside(place, _reason(error))
    try:
        return read_state(descriptor, workspace, mono), ""
    except (UnusableStateError, OSError) as error:
        return Ledger(), _set_aside(place, _reason(error))
    finally:
        os.close(descriptor)


def read_state(descriptor: int, workspace: str, mono: float) -> Ledger:
    """Add up the lines of a file, for a run that began at `mono` (monotonic seconds).

    `workspace` is free of symbolic links.

    Raises:
        UnusableStateError: it is broken, too large, another workspace's or another version's.
        OSError: it cannot be read.
    """
    if os.fstat(descriptor).st_size > MOST:
        raise UnusableStateError(f"it is larger than {MOST >> 20} MiB")
    ledger = Ledger()
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            entry = _read(line, number, mono)
            if isinstance(entry, Run):
                _check(entry, workspace)
            elif ledger.run is None:
                raise UnusableStateError("it does not begin as a state file does")
            ledger.apply(entry)
    return ledger


def _set_aside(place: Place, reason: str) -> str:
    """Rename a file that cannot be used, and forget the oldest of those before it."""
    aside = f"{STATE_NAME}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}{_ASIDE}"
    try:
        place.rename(STATE_NAME, aside)
        for old in [name for name in place.names() if name.endswith(_ASIDE)][:-_MOST_SET_ASIDE]:
            place.remove(old)
    except OSError as error:
        done = f"it cannot be set aside: {_reason(error)}"
    else:
        done = f"set aside as {aside}"
    return one_line(f"{place.path}/{STATE_NAME}: {reason}; {done}; what was firing before is not known")


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)


def _read(line: bytes, number: int, mono: float) -> Entry:
    try:
        return decode(line, mono)
    except ValueError as error:
        _check_version(_version_of(line))
        raise UnusableStateError(f"line {number}: {one_line(error)}") from error


def _version_of(line: bytes) -> int:
    try:
        return from_json(line, _version).version
    except ValueError:
        return VERSION


def _check(run: Run, workspace: str) -> None:
    _check_version(run.version)
    if run.workspace != workspace:
        raise UnusableStateError(f"it is of another workspace, {one_line(run.workspace)}")


def _check_version(version: int) -> None:
    if version != VERSION:
        raise UnusableStateError(f"it is of version {version}, and this lockwarden knows version {VERSION}")
