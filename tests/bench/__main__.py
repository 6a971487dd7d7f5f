"""`python -m tests.bench`: measure, print one table, keep it as JSON."""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench import growth, liveness, watching
from tests.bench.figures import Figure, as_table
from tests.bench.synthetic import Size

PARTS = ("watching", "growth", "liveness")
_USUAL = Size()


def main() -> None:
    """Measure what was asked for."""
    arguments = _arguments()
    home = Path(tempfile.mkdtemp(prefix="lw-"))
    try:
        figures = []
        for figure in _figures(arguments, home):
            sys.stderr.write(f"{figure.work}: {figure.ours} {figure.peer} {figure.ratio}\n")
            figures.append(figure)
    finally:
        shutil.rmtree(home)
    machine = f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    sys.stdout.write(f"{machine}\n\n{as_table(figures)}\n")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        kept = {"machine": machine, "figures": [figure.as_json() for figure in figures]}
        arguments.json.write_text(json.dumps(kept, indent=2) + "\n")


def _figures(arguments: argparse.Namespace, home: Path) -> Iterator[Figure]:
    size = Size(arguments.workers, arguments.sources, arguments.skipped, arguments.files)
    if "watching" in arguments.parts:
        yield from watching.figures(home, arguments.rounds, size)
    if "growth" in arguments.parts:
        yield from growth.figures(home, size)
    if "liveness" in arguments.parts:
        yield from liveness.figures(home, arguments.rounds, arguments.idle, arguments.locks)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"some of {', '.join(PARTS)}; all without any")
    parser.add_argument("--workers", type=int, default=_USUAL.workers, help="workers of the synthetic workspace")
    parser.add_argument("--sources", type=int, default=_USUAL.sources, help="source directories of each")
    parser.add_argument("--skipped", type=int, default=_USUAL.skipped, help="directories under skip names of each")
    parser.add_argument("--files", type=int, default=_USUAL.files, help="files in each directory")
    parser.add_argument("--rounds", type=int, default=200, help="how often each act is measured")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of idleness")
    parser.add_argument("--locks", type=int, default=10_000, help="locks to compare with 100")
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
