"""The workspace: looking at it once, arming, and from the write of a lock to its line, in peace and in storms."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.bench import peers
from tests.bench.figures import Figure, spread
from tests.bench.subject import Subject
from tests.bench.synthetic import build
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


def figures(home: Path, rounds: int, *, workers: int, sources: int, skipped: int, files: int) -> Iterator[Figure]:
    """Measure on a synthetic workspace of `workers` workers (see `tests.bench.synthetic`)."""
    town = home / "big"
    town.mkdir()
    count = build(town, workers=workers, sources=sources, skipped=skipped, files=files)
    yield Figure("the synthetic workspace", f"{count:,} directories, {files} files in each")
    yield from _scan(town, home)
    yield from _arming(town, home)
    with Subject(town, home, "--no-tmux", "--no-state") as subject:
        yield Figure("resident memory of `watch` when armed", f"{subject.memory():.1f} MiB", "45 MB")
        yield Figure("end of the write of a lock -> line", spread(_writes(subject, town, rounds, "calm")), "0.8 / 5 ms")
        for where, below, goal in _STORMS:
            with Storm(town, below) as storm:
                cpu = subject.cpu()
                taken = _writes(subject, town, _LOCKS, below)
            spent = 100_000 * (subject.cpu() - cpu) / (2 * storm.files)
            yield Figure(
                f"the same while two processes create and delete files {where}",
                f"{len(taken)} of {_LOCKS}, {spread(taken)}; {storm.files / storm.seconds:,.0f} files a second",
                goal,
            )
            yield Figure(f"processor time for 100,000 events {where}", f"{spent:.2f} s", "0.5 s")
    yield from _growth(home, sources)


def _lockwarden(home: Path, *words: str) -> float:
    began = time.monotonic()
    command = [sys.executable, "-m", "watcher", *words]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env=environment(home))
    return time.monotonic() - began


def _scan(town: Path, home: Path) -> Iterator[Figure]:
    peers.find(town)  # so that each finds the cache warm
    mine = min(_lockwarden(home, "scan", str(town), "--no-tmux") for _ in range(3))
    walk, find = (min(peer(town) for _ in range(3)) for peer in (peers.walk, peers.find))
    yield Figure(
        "`scan`, against a Python walk that stands in for the original",
        f"{mine:.2f} s, {walk:.2f} s: {mine / walk:.2f}",
        "0.35",
    )
    yield Figure("`scan`, against find with the same pruning", f"{mine:.2f} s, {find:.2f} s: {mine / find:.2f}", "0.8")
    yield Figure(
        "`--version`, whole process", f"{1000 * min(_lockwarden(home, '--version') for _ in range(5)):.0f} ms", "120 ms"
    )


def _arming(town: Path, home: Path) -> Iterator[Figure]:
    mine = min(_armed(town, home) for _ in range(3))
    yield Figure("`watch` from exec to watcher.started", f"{mine:.2f} s")
    goals = {"stock watchdog": "0.3", "watchfiles": "0.25"}
    for name, peer in peers.armed(town).items():
        measured = f"{peer.seconds:.2f} s, {peer.memory:.0f} MiB: {mine / peer.seconds:.2f}"
        yield Figure(f"the same, against {name} watching", measured, goals.get(name, ""))


def _armed(town: Path, home: Path) -> float:
    with Subject(town, home, "--no-tmux", "--no-state", "--alerts-only") as subject:
        return subject.lines[0][0] - subject.began


def _writes(subject: Subject, town: Path, rounds: int, prefix: str = "w") -> list[float]:
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


def _growth(home: Path, sources: int) -> Iterator[Figure]:
    """Arm a quarter of the workers, then all, in workspaces without anything to skip."""
    seconds, memory, counts = [], [], []
    for workers in (50, 200):
        town = home / f"grown{workers}"
        town.mkdir()
        counts.append(build(town, workers=workers, sources=sources, skipped=0, files=0))
        with Subject(town, home, "--no-tmux", "--no-state", "--alerts-only") as subject:
            seconds.append(subject.lines[0][0] - subject.began)
            memory.append(subject.memory())
    each = 2**20 * (memory[1] - memory[0]) / (counts[1] - counts[0])
    yield Figure(
        f"arming {counts[1]:,} directories, against {counts[0]:,}",
        f"{seconds[1]:.2f} s, {seconds[0]:.2f} s: {seconds[1] / seconds[0]:.1f} times",
        "4.4 times",
    )
    yield Figure("memory that a directory takes", f"{each:.0f} bytes", "250 bytes")
