"""A long run of random operations under an observer: in the end it must know exactly what is on the disk.

    python -m tests.stress.observer --operations 100000 --seed 7

Two processes make, rename, exchange and remove directories and locks in one workspace and beside it, also to
and from skip names, while the observer's process is stopped and continued. When they are done, the locks that
it knows must be those of a plain walk, and its watches be on exactly the directories outside skip names.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.stress.follower import SKIP, Follower
from tests.watcher.sources.observer.script import exchange, link_lock, rewrite_lock
from tests.watcher.sources.observer.view import locks_on_disk, write_lock

_NAMES = ("a", "b", "c", "d", ".git", "node_modules", ".runtime")
_WEIGHTS = (6, 6, 6, 6, 1, 1, 1)
_SETTLE = 60.0


class Mischief:
    """Random operations on the workspace `root` and the directory `outside`, from a seed."""

    def __init__(self, root: Path, outside: Path, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._root = root
        self._outside = outside
        self._operations = [
            self._make,
            self._make_with_lock,
            self._make_with_lock,
            self._write_lock,
            self._rewrite_lock,
            self._link_lock,
            self._delete_lock,
            self._rename,
            self._rename,
            self._exchange,
            self._remove,
            self._replace_by_link,
            self._make_and_rename_parent,
            self._flood,
        ]

    def run(self, operations: int) -> Counter[str]:
        """Do so many; counts those that came about, by name."""
        done: Counter[str] = Counter()
        for _ in range(operations):
            operation = self._random.choice(self._operations)
            # The other process may have been faster.
            with contextlib.suppress(OSError, shutil.Error):
                operation()
                done[operation.__name__.strip("_")] += 1
        return done

    def _path(self) -> Path:
        top = self._outside if self._random.random() < 0.1 else self._root
        return top.joinpath(*self._random.choices(_NAMES, _WEIGHTS, k=self._random.randint(1, 4)))

    def _make(self) -> None:
        self._path().mkdir(parents=True)

    def _make_with_lock(self) -> None:
        write_lock(self._path())

    def _make_and_rename_parent(self) -> None:
        parent = self._path()
        write_lock(parent / "x" / "y")
        parent.rename(self._path())

    def _flood(self) -> None:
        """Make so many events that a stopped watcher loses some."""
        for number in range(100):
            path = self._root / f"file{number}-{os.getpid()}"
            path.touch()
            path.unlink()

    def _write_lock(self) -> None:
        (self._path() / ".runtime" / "agent.lock").write_text("{}")

    def _rewrite_lock(self) -> None:
        rewrite_lock(self._path())

    def _link_lock(self) -> None:
        link_lock(self._path())

    def _delete_lock(self) -> None:
        (self._path() / ".runtime" / "agent.lock").unlink()

    def _rename(self) -> None:
        self._path().rename(self._path())

    def _exchange(self) -> None:
        exchange(self._path(), self._path())

    def _remove(self) -> None:
        shutil.rmtree(self._path())

    def _replace_by_link(self) -> None:
        path, elsewhere = self._path(), self._path()
        path.rename(self._path())
        path.symlink_to(elsewhere)


def directories_on_disk(root: Path) -> list[int]:
    """The inode of every directory below `root` that is outside skip names, and its own."""
    found = [root.stat().st_ino]
    for path, directories, _ in os.walk(root):
        directories[:] = [name for name in directories if name not in SKIP]
        found += [
            status.st_ino
            for name in directories
            if not (Path(path) / name).is_symlink()
            for status in [(Path(path) / name).stat()]
        ]
    return sorted(found)


def _mischief(root: Path, outside: Path, seed: int, operations: int) -> None:
    Mischief(root, outside, seed).run(operations)


def run(top: Path, operations: int, seed: int) -> str:
    """Do the run below `top`; gives a line about it.

    Raises:
        AssertionError: what the observer knows is not what is on the disk.
    """
    root, outside = top / "ws", top / "outside"
    root.mkdir()
    outside.mkdir()
    pauses = random.Random(seed)  # noqa: S311 - as above
    context = multiprocessing.get_context("spawn")
    began = time.monotonic()
    with Follower(root) as follower:
        follower.wait(lambda state: bool(state["scans"]))
        workers = [
            context.Process(target=_mischief, args=(root, outside, seed * 2 + number, operations // 2))
            for number in range(2)
        ]
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers):
            time.sleep(pauses.uniform(0.0, 0.5))
            follower.pause()
            time.sleep(pauses.choice((0.0, 0.01, 0.1, 0.5, 1.0)))
            follower.resume()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        locks, directories = sorted(locks_on_disk(root)), directories_on_disk(root)
        state = follower.wait(
            lambda state: state["locks"] == locks and state["watched"] == directories, deadline=_SETTLE
        )
    stats = state["stats"]
    return (
        f"seed {seed}: {operations} operations in {time.monotonic() - began:.1f} s, {stats['events']} events,"
        f" {stats['overflows']} overflows, {stats['rescans']} rescans, in the end {len(locks)} locks in"
        f" {len(directories)} directories: as on the disk"
    )


def main() -> None:
    """Do the run in a temporary directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=None, help="to repeat a run")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}", flush=True)  # noqa: T201 - this is a command
    with tempfile.TemporaryDirectory(prefix="lockwarden-stress-") as top:
        print(run(Path(top).resolve(), arguments.operations, seed))  # noqa: T201 - as above


if __name__ == "__main__":
    main()
