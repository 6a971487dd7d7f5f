"""A workspace of a size: workers with sources, and with directories under skip names that nobody should enter."""

import os
from dataclasses import dataclass
from pathlib import Path

_SKIPPED = (".git", "node_modules", "target")
_FAN_OUT = 10


@dataclass(frozen=True, slots=True)
class Size:
    """Workers; directories of each with sources, and under skip names; files in each of those."""

    workers: int = 200
    sources: int = 300
    skipped: int = 600
    files: int = 6


def build(root: Path, size: Size) -> int:
    """Make a workspace; returns the number of directories, `root` included."""
    count = 1
    for number in range(size.workers):
        worker = root / f"worker{number:04}"
        (worker / ".runtime").mkdir(parents=True)
        (worker / ".runtime" / "agent.lock").write_text(f'{{"pid": {os.getpid()}}}')
        count += 2 + _tree(worker / "src", size.sources, size.files)
        for name in _SKIPPED if size.skipped else ():
            count += _tree(worker / name, size.skipped // len(_SKIPPED), size.files)
    return count


def _tree(top: Path, directories: int, files: int) -> int:
    """Make `directories` directories, `top` included, ten in each."""
    made = [str(top)]
    for number in range(1, directories):
        made.append(f"{made[(number - 1) // _FAN_OUT]}/d{number}")
    for path in made:
        os.mkdir(path)  # noqa: PTH102 - a Path for each of 200,000 would take as long as the rest
        for number in range(files):
            os.close(os.open(f"{path}/f{number}.txt", os.O_CREAT | os.O_WRONLY, 0o644))
    return len(made)
