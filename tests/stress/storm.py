"""Locks written while two processes make and delete files in watched directories as fast as they can.

python -m tests.stress.storm --locks 100
"""

import argparse
import multiprocessing
import random
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path

from tests.stress.follower import Follower
from tests.watcher.sources.observer.script import rewrite_lock

_DIRECTORIES = 20


def run(root: Path, locks: int) -> str:
    """Do it in the workspace `root`; gives a line about it.

    Raises:
        AssertionError: a lock was not told.
    """
    for number in range(locks):
        (root / f"w{number}" / ".runtime").mkdir(parents=True)
    for number in range(_DIRECTORIES):
        (root / f"busy{number}").mkdir()
    context = multiprocessing.get_context("spawn")
    enough = context.Event()
    storms = [context.Process(target=_storm, args=(root, number, enough)) for number in range(2)]
    with Follower(root) as follower:
        follower.wait(lambda state: bool(state["scans"]))
        for storm in storms:
            storm.start()
        try:
            began = time.monotonic()
            follower.wait(lambda state: state["stats"]["events"] > 0)
            for number in range(locks):
                rewrite_lock(root / f"w{number}")
                time.sleep(random.uniform(0.0, 0.02))  # noqa: S311 - no secret
        finally:
            enough.set()
            for storm in storms:
                storm.join()
        state = follower.wait(lambda state: len(state["locks"]) == locks)
    told = {event for event in state["told"] if event.startswith("created ")}
    assert len(told) == locks, f"{len(told)} of {locks} were told as created"
    stats = state["stats"]
    rate = stats["events"] / (time.monotonic() - began)
    return f"{len(told)} of {locks} told during {rate:,.0f} events/s, {stats['overflows']} overflows"


def _storm(root: Path, number: int, enough: Event) -> None:
    count = 0
    while not enough.is_set():
        for _ in range(100):
            file = root / f"busy{count % _DIRECTORIES}" / f"{number}-{count}"
            file.touch()
            file.unlink()
            count += 1


def main() -> None:
    """Do it in a temporary directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--locks", type=int, default=100)
    locks = parser.parse_args().locks
    with tempfile.TemporaryDirectory(prefix="lockwarden-storm-") as top:
        print(run(Path(top).resolve(), locks))  # noqa: T201 - this is a command


if __name__ == "__main__":
    main()
