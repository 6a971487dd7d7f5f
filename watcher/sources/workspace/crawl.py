"""One pruned look at a directory, and the walk of a whole tree that is made of such looks."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from watcher.sources.workspace.mounts import read_mounts

RUNTIME_DIR = ".runtime"
LOCK_NAME = "agent.lock"

_SEP = os.sep

GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""What the kernel says of a path that leads to nothing, or no longer to a directory."""

ABSENT = 0
"""The signature of a lock that is not there."""

LONGEST_PATH = 16_384
"""Directories whose path has more characters than this are not entered: nobody works there, and a chain of
directories without an end must not hold up the walk."""

_CHUNK = 4_000 // 4
"""Characters of a path that surely fit into PATH_MAX bytes."""

_DIRECTORY = os.O_RDONLY
for _flag in ("O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC"):
    _DIRECTORY |= getattr(os, _flag, 0)  # Windows has none of them, and needs none


@dataclass(frozen=True, slots=True)
class Pruning:
    """Which directories are looked into: the one predicate of the walk and the observer.

    A directory with one of `skip_names` is never entered, at any depth. `max_depth` is how many levels
    below the root a worker may lie (0: only the root itself is one); None is any number. The root itself
    is exempt from both.
    """

    skip_names: frozenset[str] = frozenset()
    max_depth: int | None = None

    def enters(self, name: str, depth: int) -> bool:
        """Say whether a directory of this name, `depth` levels below the root, is looked into."""
        if name in self.skip_names:
            return False
        if self.max_depth is None or depth <= self.max_depth:
            return True
        return name == RUNTIME_DIR and depth == self.max_depth + 1

    def reaches(self, worker: str) -> bool:
        """Say whether the lock of a worker, a path relative to the root, is one that the walk would come to."""
        directories = (*worker.split(_SEP), RUNTIME_DIR) if worker != os.curdir else (RUNTIME_DIR,)
        return all(self.enters(name, depth) for depth, name in enumerate(directories, start=1))


@dataclass(frozen=True, slots=True)
class Crawl:
    """What one walk found: the absolute paths of all locks, and counts of directories.

    `directories` were looked into, `skipped` were pruned, `unreadable` could not be looked into.
    """

    locks: tuple[str, ...]
    directories: int
    skipped: int
    unreadable: int


def crawl(root: str | os.PathLike[str], pruning: Pruning) -> Crawl:
    """Walk `root` once and find every `<worker>/.runtime/agent.lock`, whatever type of file that is.

    Symbolic links to directories are not followed, one at `root` is. What vanishes meanwhile is left out.

    Raises:
        OSError: `root` cannot be listed.
    """
    leafy = read_mounts().leafy
    top = os.path.realpath(root)
    locks: list[str] = []
    directories = skipped = unreadable = 0
    waiting = [(top, 0)]
    while waiting:
        path, depth = waiting.pop()
        try:
            names, _ = subdirectories(path, leafy)
            locked = depth > 0 and path.endswith(_SEP + RUNTIME_DIR) and lock_signature(path) != ABSENT
        except OSError as error:
            if path == top:
                raise
            unreadable += error.errno not in GONE
            continue
        directories += 1
        depth += 1
        prefix = path.rstrip(_SEP) + _SEP
        for name in names:
            if pruning.enters(name, depth):
                waiting.append((prefix + name, depth))
            else:
                skipped += 1
        if locked:
            locks.append(prefix + LOCK_NAME)
    return Crawl(tuple(locks), directories, skipped, unreadable)


def subdirectories(path: str, leafy: frozenset[int]) -> tuple[list[str], int]:
    """The names of the directories in directory `path`, and the device it is on.

    On the devices in `leafy` a directory with two links has no subdirectories: that saves listing it.

    Raises:
        OSError: not a directory (one that was replaced by a symbolic link is none), or not readable.
    """
    try:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", path)
        if status.st_nlink == 2 and status.st_dev in leafy:  # noqa: PLR2004 - its name and its own "."
            return [], status.st_dev
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)], status.st_dev
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
    with reached(path) as descriptor, os.scandir(descriptor) as entries:
        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        return names, os.fstat(descriptor).st_dev


def lock_signature(runtime: str) -> int:
    """A number that tells the lock in directory `runtime` from an earlier one, and from its earlier states.

    It stands for inode, size and times, without keeping them; `ABSENT` where there is no lock.

    Raises:
        OSError: it cannot be told whether there is one.
    """
    try:
        try:
            status = os.lstat(runtime + _SEP + LOCK_NAME)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            with reached(runtime) as descriptor:
                status = os.stat(LOCK_NAME, dir_fd=descriptor, follow_symlinks=False)
    except OSError as error:
        if error.errno in GONE:
            return ABSENT
        raise
    return hash((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)) or 1


@contextmanager
def reached(path: str) -> Iterator[int]:
    """A descriptor of directory `path`, which may be longer than the kernel takes in one piece.

    Raises:
        OSError: it is no directory, or too long even so (`LONGEST_PATH`).
    """
    if len(path) > LONGEST_PATH:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path[:64] + "...")
    descriptor = os.open(_SEP, _DIRECTORY)
    try:
        for chunk in _chunks(path):
            deeper = os.open(chunk, _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = deeper
        yield descriptor
    finally:
        os.close(descriptor)


def _chunks(path: str) -> Iterator[str]:
    chunk = ""
    for name in path.strip(_SEP).split(_SEP):
        if len(chunk) + len(name) >= _CHUNK:
            yield chunk
            chunk = name
        else:
            chunk = chunk + _SEP + name if chunk else name
    yield chunk
