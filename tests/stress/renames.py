"""Rounds of `mkdir -p x/y/.runtime`, a lock in it, and at once a rename of x: it must be told under its last path.

python -m tests.stress.renames --rounds 3000
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from tests.watcher.sources.observer.view import View, write_lock

_AT_ONCE = 50
"""Rounds before the directories are removed again."""


def run(root: Path, rounds: int) -> int:
    """Do the rounds in the workspace `root`; gives how many locks were not told under their last path."""
    view = View(root).start()
    missed = 0
    try:
        for start in range(0, rounds, _AT_ONCE):
            expected = set()
            for number in range(start, min(start + _AT_ONCE, rounds)):
                old, new = root / f"x{number}", root / f"z{number}"
                lock = write_lock(old / "y").relative_to(old)
                old.rename(new)
                expected.add(str(new / lock))
            view.sync()
            missed += len(expected ^ view.locks)
            for path in root.iterdir():
                shutil.rmtree(path)
        view.settle()
    finally:
        view.stop()
    return missed


def main() -> None:
    """Do it in a temporary directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3000)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="lockwarden-renames-") as top:
        print(f"{run(Path(top).resolve(), rounds)} of {rounds} missed")  # noqa: T201 - this is a command


if __name__ == "__main__":
    main()
