"""Where the state lies: one directory a workspace, ours alone, inside the state directory."""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from watcher.errors import JobError

_MODE = 0o700
_FILE_MODE = 0o600
_READABLE_PART = 40
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_BOOT_ID = "/proc/sys/kernel/random/boot_id"

WAY_OUT = "name another place with --state-dir, or keep none with --no-state"


def state_directory(configured: str, environ: Mapping[str, str]) -> str:
    """Give the absolute path of the state directory; it need not exist.

    `configured` (the setting `state.dir`), else `$STATE_DIRECTORY` as systemd sets it (the first, where it names
    several), else `$XDG_STATE_HOME/lockwarden`, else `~/.local/state/lockwarden`. A relative `$XDG_STATE_HOME`
    counts as not set (XDG Base Directory Specification).

    Raises:
        JobError: there is no home directory.
    """
    if configured:
        return os.path.abspath(configured)  # noqa: PTH100 - paths are strings throughout
    if given := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return os.path.abspath(given)  # noqa: PTH100 - as above
    home = environ.get("XDG_STATE_HOME", "")
    if not home.startswith("/"):
        try:
            home = str(Path(environ.get("HOME", "") or Path.home()) / ".local" / "state")
        except RuntimeError as error:
            raise JobError(f"state: there is no home directory: {WAY_OUT}") from error
    return os.path.abspath(f"{home}/lockwarden")  # noqa: PTH100 - as above


def workspace_key(workspace: str) -> str:
    """Name a workspace's directory: something to read, and a hash of the path free of symbolic links."""
    path = os.path.realpath(workspace)
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", os.path.basename(path)).strip("-.")  # noqa: PTH119 - as above
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return f"{readable[:_READABLE_PART] or 'workspace'}-{digest}"


def boot_id() -> str:
    """Tell one boot of one machine from all others; empty where the system does not say (see random(4))."""
    try:
        return Path(_BOOT_ID).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


class Place:
    """One workspace's directory, held open: names in it are never followed out of it."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def create(cls, directory: str, workspace: str) -> "Place":
        """Open the directory of a workspace, and make it (0700) where it is not there.

        Raises:
            JobError: it cannot be made or opened, or it is not ours.
        """
        path = f"{directory}/{workspace_key(workspace)}"
        try:
            with suppress(FileExistsError):
                os.makedirs(path, _MODE)  # noqa: PTH103 - as above
            place = cls.open(directory, workspace)
            place.check_owner()
        except OSError as error:
            raise JobError(f"state: cannot use {path}: {_reason(error)}: {WAY_OUT}") from error
        return place

    @classmethod
    def open(cls, directory: str, workspace: str) -> "Place":
        """Open the directory of a workspace as it is. Raises OSError."""
        path = f"{directory}/{workspace_key(workspace)}"
        return cls(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))

    def check_owner(self) -> None:
        """Refuse a directory that somebody else could have planted. Raises OSError."""
        found = os.fstat(self._descriptor)
        if found.st_uid != os.geteuid():
            raise PermissionError(0, "it belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.fchmod(self._descriptor, _MODE)

    def open_file(self, name: str, flags: int) -> int:
        """Open a regular file in here (0600 where it is created); a link is not followed. Raises OSError."""
        descriptor = os.open(name, flags | _SAFE, _FILE_MODE, dir_fd=self._descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(0, "it is not a regular file")
        return descriptor

    def create_file(self, name: str) -> int:
        """Make a file anew, open for appending, in the place of whatever was there. Raises OSError."""
        self.remove(name)
        return self.open_file(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL)

    def write(self, name: str, data: bytes) -> None:
        """Put a small file in a name's place in one step, for others to read; not made durable. Raises OSError."""
        descriptor = self.create_file(f"{name}.tmp")
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
        self.rename(f"{name}.tmp", name)

    def rename(self, old: str, new: str) -> None:
        """Rename a file in here. Raises OSError."""
        os.rename(old, new, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def remove(self, name: str) -> None:
        """Remove a file in here, or none. Raises OSError."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    def names(self) -> list[str]:
        """List what is in here. Raises OSError."""
        return sorted(os.listdir(self._descriptor))  # noqa: PTH208 - of the open directory, whatever its path names now

    def sync(self) -> None:
        """Make names durable. Raises OSError."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Let go of the directory."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
