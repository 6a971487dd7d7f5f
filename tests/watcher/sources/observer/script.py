"""Runs a scenario: a little script of operations on a workspace, and of what its observer must tell.

# What it shows.
lock a/w            write the lock of worker a/w in place (paths are relative to the workspace)
watch               start the observer, and wait for its first scan
mv a ../out
-> deleted a/w      wait for this event of the worker's lock; in this order by inotify
inotify -> ...      the same, where only inotify promises it
not created a       no such event since the last `=`
= b c               wait until the known locks are exactly those of these workers; and so is the disk
"""

import codecs
import ctypes
import mmap
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.watcher.sources.observer.view import View, locks_on_disk, write_lock

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_libc = ctypes.CDLL(None, use_errno=True)


def exchange(one: Path, other: Path) -> None:
    """Let two paths change places in one step (renameat2(2))."""
    if _libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(one))


def rewrite_lock(worker: Path) -> None:
    """Write the lock under another name, and rename it."""
    draft = worker / ".runtime" / "agent.lock.tmp"
    draft.write_text("{}")
    draft.rename(worker / ".runtime" / "agent.lock")


def link_lock(worker: Path) -> None:
    """Make the lock as a second name of a file."""
    draft = worker / ".runtime" / "draft"
    draft.write_text("{}")
    (worker / ".runtime" / "agent.lock").hardlink_to(draft)


def link_nameless_lock(worker: Path) -> None:
    """Give a file that has no name yet that of the lock."""
    runtime = os.open(worker / ".runtime", os.O_PATH)
    file = os.open(worker / ".runtime", os.O_TMPFILE | os.O_WRONLY, 0o644)
    os.write(file, b"{}")
    # Only with a directory's descriptor does Python follow the link in /proc.
    os.link(f"/proc/self/fd/{file}", "agent.lock", dst_dir_fd=runtime, follow_symlinks=True)
    os.close(file)
    os.close(runtime)


def map_lock(worker: Path) -> None:
    """Write the lock through a memory map."""
    with (worker / ".runtime" / "agent.lock").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0:1] = b"["


def renew_lock(worker: Path) -> None:
    """Delete the lock and make it again at once."""
    lock = worker / ".runtime" / "agent.lock"
    lock.unlink()
    lock.write_text("{}")


_OPERATIONS: dict[str, Callable[..., object]] = {
    "again": renew_lock,
    "exchange": exchange,
    "fifo": os.mkfifo,
    "file": Path.touch,
    "link": link_lock,
    "linkat": link_nameless_lock,
    "lock": write_lock,
    "mmap": map_lock,
    "mv": Path.rename,
    "relock": rewrite_lock,
    "rm": lambda worker: (worker / ".runtime" / "agent.lock").unlink(),
    "rmdir": Path.rmdir,
    "rmtree": shutil.rmtree,
}


class Script:
    """Runs the lines of one scenario in the workspace `root`."""

    def __init__(self, root: Path, backend: str, watching: Callable[[], View]) -> None:
        self._root = root
        self._backend = backend
        self._watching = watching
        self._view: View | None = None
        self._since_settled = 0
        self._since_told: dict[str, int] = {}

    def run(self, text: str) -> None:
        """Run all lines; a fact that does not come about fails with the line that waits for it."""
        for line in text.splitlines():
            words = [_unescaped(word) for word in shlex.split(line, comments=True)]
            if words:
                self._step(words, line)

    def _step(self, words: list[str], line: str) -> None:
        match words:
            case ["watch"]:
                self._view = self._watching()
            case ["notified", "->", *event] if self._backend != "polling":
                self._expect(event, line)
            case ["notified", *_]:
                pass
            case ["->", *event]:
                self._expect(event, line)
            case ["not", *event]:
                told = self._seen.told[self._since_settled :]
                assert _event(*event) not in told, f"{line}: {told}"
            case ["=", *workers]:
                self._settle([worker for worker in workers if worker != "(none)"])
            case ["mkdir", *paths]:
                _make(self._root, paths)
            case ["symlink", target, path]:
                (self._root / path).symlink_to(target)
            case [operation, *paths]:
                _OPERATIONS[operation](*(self._root / path for path in paths))

    @property
    def _seen(self) -> View:
        assert self._view is not None, "the script does not watch yet"
        return self._view

    def _expect(self, event: list[str], line: str) -> None:
        # The order is that of what happened to each lock: a visit may see one lock sooner than another's event comes.
        view, expected, worker = self._seen, _event(*event), event[-1]
        since = self._since_told.get(worker, self._since_settled) if self._backend == "inotify" else self._since_settled
        view.wait(lambda: expected in view.told[since:], line)
        self._since_told[worker] = view.told.index(expected, since) + 1

    def _settle(self, workers: list[str]) -> None:
        self._seen.settle(*workers)
        assert {str(self._root / worker / ".runtime" / "agent.lock") for worker in workers} == locks_on_disk(self._root)
        self._since_settled = len(self._seen.told)
        self._since_told.clear()


def _make(root: Path, paths: list[str]) -> None:
    for path in paths:
        (root / path).mkdir(parents=True)


def _event(kind: str, worker: str) -> str:
    return f"{kind} {Path(worker, '.runtime', 'agent.lock')}"


def _unescaped(word: str) -> str:
    r"""Read `\n` and `\xff`; bytes that are not UTF-8 become what Python makes of them in a path."""
    return os.fsdecode(codecs.decode(word, "unicode_escape").encode("latin-1")) if "\\" in word else word
