"""How the work grows with the workspace: directories to arm, and locks beside the one that something happens to."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.subject import Subject
from tests.bench.synthetic import Size, build

_FEW = 50
_STEPS = (1, 4, 16)
_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")


@dataclass(frozen=True, slots=True)
class _Armed:
    directories: int
    seconds: float
    memory: float
    watches: int


def figures(home: Path, size: Size) -> Iterator[Figure]:
    """Arm 50 workers, four times as many, and sixteen times, in workspaces without anything to skip."""
    bare = replace(size, skipped=0, files=0)
    before: _Armed | None = None
    for step in _STEPS:
        armed = _armed(home, replace(bare, workers=min(_FEW, size.workers) * step))
        if armed.watches < armed.directories:
            limit = _LIMIT.read_text().strip()
            yield Figure(f"arming {armed.directories:,} directories", f"the kernel gives {limit} watches (sysctl)")
        elif before is not None:
            ratio = armed.seconds / before.seconds
            yield Figure(
                f"arming {armed.directories:,} directories, against {before.directories:,}",
                f"{armed.seconds:.2f} s, {before.seconds:.2f} s: {ratio:.1f} times",
                "4.4 times",
            )
            each = 2**20 * (armed.memory - before.memory) / (armed.directories - before.directories)
            yield Figure("memory that each of them takes", f"{each:.0f} bytes", "250 bytes")
        before = armed


def _armed(home: Path, size: Size) -> _Armed:
    town = home / f"grown{size.workers}"
    town.mkdir()
    directories = build(town, size)
    seconds, memory, watches = [], 0.0, 0
    for _ in range(3):
        with Subject(town, home, "--no-tmux", "--no-state", "--alerts-only") as subject:
            seconds.append(subject.lines[0][0] - subject.began)
            memory, watches = subject.memory(), subject.lines[0][1]["watches"]
    shutil.rmtree(town)
    return _Armed(directories, min(seconds), memory, watches)
