"""The workspace: looking at it once, arming, and from the write of a lock to its line, in peace and in storms."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.bench import peers
from tests.bench.figures import Figure, against, spread
from tests.bench.subject import Subject
from tests.bench.synthetic import Size, build
from tests.harness import environment

_STORM = """
import os, sys, time
directory, until = sys.argv[1], time.monotonic() + float(sys.argv[2])
os.makedirs(directory, exist_ok=True)
count = 0
while time.monotonic() < until:
    for number in range(100):
        path = f"{directory}/{number}"
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os.unlink(path)
        count += 1
print(count)
"""
_STORMY = 5.0
_LOCKS = 100
_STORMS = (
    ("in watched directories", "src", "100 of 100, p99 25 ms"),
    ("inside skip names", "node_modules", "as when idle"),
)
_ARMING = "`watch` from exec to `watcher.started`"
_GOALS = {"stock watchdog": "0.3", "watchfiles": "0.25"}
_TELL_PATHS = ("stock watchdog", "watchfiles", "inotifywait")
_WRITTEN = "end of the write of a lock -> line"
_PATIENCE = 2.0


def figures(home: Path, rounds: int, size: Size) -> Iterator[Figure]:
    """Measure on a synthetic workspace."""
    town = home / "big"
    town.mkdir()
    directories = build(town, size)
    yield Figure("the synthetic workspace", f"{directories:,} directories, {size.files} files in each")
    yield from _scan(town, home)
    yield from _arming(town, home, directories)
    yield from _lines(town, home, rounds)


def _lockwarden(home: Path, *words: str) -> float:
    began = time.monotonic()
    command = [sys.executable, "-m", "watcher", *words]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env=environment(home))
    return time.monotonic() - began


def _scan(town: Path, home: Path) -> Iterator[Figure]:
    peers.find(town)  # so that each finds the cache warm
    mine = min(_lockwarden(home, "scan", str(town), "--no-tmux") for _ in range(3))
    walk, find = (min(peer(town) for _ in range(3)) for peer in (peers.walk, peers.find))
    yield against("`scan`", mine, "a Python walk in place of the original", walk, goal="0.35")
    yield against("`scan`", mine, "find, pruned likewise", find, goal="0.8")
    version = min(_lockwarden(home, "--version") for _ in range(5))
    yield Figure("`--version`, whole process", f"{1000 * version:.0f} ms", "120 ms")


def _arming(town: Path, home: Path, directories: int) -> Iterator[Figure]:
    mine = min(_armed(town, home) for _ in range(3))
    for peer in peers.PEERS:
        if not peer.installed:
            continue
        try:
            with peers.armed(peer, town, directories) as theirs:
                more, goal = f", {theirs.memory:.0f} MiB", _GOALS.get(peer.name, "")
                yield against(_ARMING, mine, peer.name, theirs.seconds, more=more, goal=goal)
        except TimeoutError as error:
            yield Figure(_ARMING, f"{mine:.2f} s", peer=str(error))


def _armed(town: Path, home: Path) -> float:
    with Subject(town, home, "--no-tmux", "--no-state", "--alerts-only") as subject:
        return subject.lines[0][0] - subject.began


def _lines(town: Path, home: Path, rounds: int) -> Iterator[Figure]:
    """From a write to its line, in peace and in storms."""
    with Subject(town, home, "--no-tmux", "--no-state") as subject:
        yield Figure("resident memory of `watch` when armed", f"{subject.memory():.1f} MiB", "45 MB")
        yield Figure(_WRITTEN, spread(_writes(subject, town, rounds, "calm")), "0.8 / 5 ms")
        storms = []
        for where, below, goal in _STORMS:
            with Storm(town, below) as storm:
                cpu = subject.cpu()
                taken = _writes(subject, town, _LOCKS, below)
            spent = 100_000 * (subject.cpu() - cpu) / (2 * storm.files)
            work = f"the same while two processes create and delete files {where}"
            said = f"{len(taken)} of {_LOCKS}, {spread(taken)}; {storm.files / storm.seconds:,.0f} files a second"
            storms.append(Figure(work, said, goal))
            storms.append(Figure(f"processor time for 100,000 events {where}", f"{spent:.2f} s", "0.5 s"))
    yield from storms[:1]
    yield from _peers_in_a_storm(town, storms[0])
    yield from storms[1:]


def _peers_in_a_storm(town: Path, ours: Figure) -> Iterator[Figure]:
    """Have each peer that tells paths watch the workspace; the directories of the locks are there before it begins."""
    for number, peer in enumerate(peer for peer in peers.PEERS if peer.installed and peer.name in _TELL_PATHS):
        workers = [town / f"peer{number}-{turn}" for turn in range(_LOCKS)]
        for worker in workers:
            (worker / ".runtime").mkdir(parents=True)
        with peers.armed(peer, town, 0) as theirs, Storm(town, "src") as storm:
            taken = [each for worker in workers if (each := _seen(theirs, worker)) is not None]
        said = f"{len(taken)} of {_LOCKS}" + (f", {spread(taken)}" if taken else "")
        rate = f"{storm.files / storm.seconds:,.0f} files a second"
        yield Figure(ours.work, ours.ours, peer=f"{peer.name}: {said}; {rate}")


def _seen(peer: peers.Armed, worker: Path) -> float | None:
    lock = worker / ".runtime" / "agent.lock"
    lock.write_text(f'{{"pid": {os.getpid()}}}')
    at = time.monotonic()
    told = peer.wait(str(lock), _PATIENCE)
    return None if told is None else max(told - at, 0.0)


def _writes(subject: Subject, town: Path, rounds: int, prefix: str) -> list[float]:
    taken = []
    for turn in range(rounds):
        worker = town / f"{prefix}-{turn}"
        (worker / ".runtime").mkdir(parents=True)
        text = f'{{"pid": {os.getpid()}}}'
        (worker / ".runtime" / "agent.lock").write_text(text)
        at = time.monotonic()
        taken.append(subject.event("lock.acquired", worker=worker.name) - at)
    return taken


class Storm:
    """Two processes that create and delete files as fast as they can; `files` is how many, once it is over."""

    def __init__(self, town: Path, below: str) -> None:
        workers = sorted(town.glob("worker*"))[:2]
        commands = ([sys.executable, "-c", _STORM, str(w / below / "storm"), str(_STORMY)] for w in workers)
        self._processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
        self.seconds = _STORMY
        self.files = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.files = sum(int(process.communicate()[0]) for process in self._processes)
