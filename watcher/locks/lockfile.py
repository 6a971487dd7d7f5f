"""One lock file: what it says, and how to read it where agents may have put anything in its place.

Agents own the workspace and may be hostile or broken. A FIFO, device, socket, symlink, directory or giant
file named `agent.lock` never blocks a reader, and nothing it points at is ever read or shown.
"""

import errno
import os
import stat
import time
from dataclasses import dataclass
from datetime import datetime

from rules.model import LockRecord, ProcessFact
from watcher.events import Reading, Unreadable
from watcher.locks import gojson, gotime
from watcher.locks.errors import InvalidLockError

LOCK_NAME = "agent.lock"
RUNTIME_DIR = ".runtime"
SIZE_LIMIT = 64 * 1024

_INT64_BITS = 63
_INT64_DIGITS = 19
_UNKNOWN_UID = -1

# O_NONBLOCK: neither a FIFO nor another process's lease on the file makes open(2) wait.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# These say that this process is short of something, which is no fact about the lock.
_OUR_OWN_TROUBLE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})
_FILE_TYPES = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}


def parse(data: bytes) -> LockRecord:
    """Return what the bytes of a lock file say, by the rules of Go's encoding/json, whose programs write them.

    Keys match without regard to case, the last duplicate wins, unknown keys are ignored, `null` changes
    nothing. A wrong type is an error even where a later duplicate is right.

    Raises:
        InvalidLockError: Go refuses the bytes; `reason` is one short clause and holds none of them.
    """
    pid, acquired_at, session_id, hostname = 0, None, "", ""
    try:
        for key, value in gojson.members(data):
            if value == b"null":
                continue
            match gojson.field_name(key):
                case "pid":
                    pid = _pid(value)
                case "acquired_at":
                    acquired_at = _acquired_at(value)
                case "session_id":
                    session_id = _string(value, "session_id")
                case "hostname":
                    hostname = _string(value, "hostname")
                case _:
                    pass
    except ValueError as error:
        raise InvalidLockError(str(error)) from None
    return LockRecord(pid, acquired_at, session_id, hostname)


def encode(*, pid: int, acquired_ns: int, utc_offset: int, session_id: str = "", hostname: str = "") -> bytes:
    """Return the bytes that Go's `json.MarshalIndent` with two spaces writes for the same values.

    `acquired_ns` is in nanoseconds since the epoch, `utc_offset` in seconds east of Greenwich. Empty strings
    are left out. There is no newline at the end.
    """
    fields = {"pid": str(pid), "acquired_at": f'"{gotime.format_time(acquired_ns, utc_offset)}"'}
    if session_id:
        fields["session_id"] = gojson.quote(session_id)
    if hostname:
        fields["hostname"] = gojson.quote(hostname)
    lines = ",\n".join(f'  "{name}": {value}' for name, value in fields.items())
    return f"{{\n{lines}\n}}".encode()


def _pid(value: bytes) -> int:
    digits = value.removeprefix(b"-")
    if not digits.isdigit():
        raise ValueError("pid is not an integer")
    number = int(value) if len(digits) <= _INT64_DIGITS else 1 << _INT64_BITS
    if not -(1 << _INT64_BITS) <= number < 1 << _INT64_BITS:
        raise ValueError("pid does not fit 64 bits")
    return number


def _acquired_at(value: bytes) -> datetime | None:
    try:
        return gotime.parse_time(value[1:-1] if value.startswith(b'"') else b"")
    except ValueError:
        raise ValueError("acquired_at is not an RFC 3339 time") from None


def _string(value: bytes, name: str) -> str:
    if not value.startswith(b'"'):
        raise ValueError(f"{name} is not a string")
    return gojson.unquote(value)


@dataclass(frozen=True, slots=True)
class LockFile:
    """One look at one file named `agent.lock`.

    `uid` is its owner, -1 where not even that could be had. `data` are its bytes, empty where they were not
    read. `changed_ns` is the ctime in nanoseconds since the epoch.
    """

    content: LockRecord | Unreadable
    uid: int
    device: int
    inode: int
    changed_ns: int
    data: bytes

    def reading(self, process: ProcessFact | None = None) -> Reading:
        """Return this look as the registry takes it, with what a probe said about the recorded process."""
        return Reading(self.content, self.uid, process, file=(self.device, self.inode, self.changed_ns))

    def is_same(self, other: "LockFile") -> bool:
        """Tell whether both looks saw the very same lock: the same inode with the same bytes.

        Where the bytes were not read, the inode must not have changed in between.
        """
        if (self.device, self.inode, self.data) != (other.device, other.inode, other.data):
            return False
        return bool(self.data) or self.changed_ns == other.changed_ns


def open_runtime(worker: str | bytes | os.PathLike[str]) -> int:
    """Return a descriptor of the worker's `.runtime`, to name files relative to; the caller closes it.

    Raises:
        OSError: there is none, it may not be entered, or it is no directory (a symbolic link is not followed).
    """
    return os.open(f"{os.fsdecode(worker)}/{RUNTIME_DIR}", _DIRECTORY)


def read_worker_lock(worker: str | bytes | os.PathLike[str]) -> LockFile | None:
    """Read the lock of a worker directory; None where it has none.

    A `.runtime` that is a symbolic link is no lock directory, and is not followed even if it is put there
    between two steps of the reading.

    Raises:
        OSError: as `read_lock`.
    """
    try:
        directory = open_runtime(worker)
    except OSError as error:
        return _unopened(error, None)
    try:
        return read_lock(LOCK_NAME, dir_fd=directory)
    finally:
        os.close(directory)


def read_lock(path: str | bytes, *, dir_fd: int | None = None) -> LockFile | None:
    """Read the lock file at `path` (relative to `dir_fd` where given); None where there is none.

    Whatever an agent may have put there is an answer: what cannot be read as a lock has `Unreadable` content.

    Raises:
        OSError: this process has no descriptor or no memory left (EMFILE, ENFILE, ENOMEM).
    """
    status = None
    try:
        # Look first: to open a FIFO would wake its writer, and to open some devices does something.
        status = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            return _unreadable(_file_type(status), status)
        descriptor = os.open(path, _READ, dir_fd=dir_fd)
    except OSError as error:
        return _unopened(error, status)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return _unreadable(_file_type(status), status)
        return _judged(_read_limited(descriptor), status)
    except OSError as error:
        return _unopened(error, status)
    finally:
        os.close(descriptor)


def _read_limited(descriptor: int) -> bytes | None:
    """Return the bytes, None where they are more than the limit, however large the file is or grows meanwhile."""
    data = b""
    while more := os.read(descriptor, SIZE_LIMIT + 1 - len(data)):
        data += more
    return data if len(data) <= SIZE_LIMIT else None


def _judged(data: bytes | None, status: os.stat_result) -> LockFile:
    if data is None:
        return _unreadable(f"larger than {SIZE_LIMIT // 1024} KiB", status)
    try:
        content = parse(data)
    except InvalidLockError as error:
        return _unreadable(error.reason, status, data)
    return LockFile(content, status.st_uid, status.st_dev, status.st_ino, status.st_ctime_ns, data)


def _unreadable(reason: str, status: os.stat_result, data: bytes = b"") -> LockFile:
    age = max(0.0, time.time() - status.st_ctime)
    return LockFile(Unreadable(reason, age), status.st_uid, status.st_dev, status.st_ino, status.st_ctime_ns, data)


def _unopened(error: OSError, status: os.stat_result | None) -> LockFile | None:
    if error.errno in _ABSENT:
        return None
    if error.errno in _OUR_OWN_TROUBLE:
        raise error
    leased = error.errno == errno.EAGAIN
    reason = "another process holds a lease on it" if leased else os.strerror(error.errno or 0).lower()
    if status is not None:
        return _unreadable(reason, status)
    return LockFile(Unreadable(reason), _UNKNOWN_UID, 0, 0, 0, b"")


def _file_type(status: os.stat_result) -> str:
    return _FILE_TYPES.get(stat.S_IFMT(status.st_mode), "not a regular file")
