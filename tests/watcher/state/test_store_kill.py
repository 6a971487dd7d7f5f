import json
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from watcher.state.report import look

FLAPPER = Path(__file__).with_name("flapper.py")
KILLS = 8


@pytest.mark.parametrize("how", ["at once", "later", "later, read back"])
def test_killed_at_any_moment(how: str, home: Path) -> None:
    """Over any number of kills the log stays true, and the state file whole.

    An alert fires once, then only as restored; it resolves in the same words each time, and at most once a run
    (where the log is read back: once); what fires at the end is what is wrong.
    """
    seed = random.randrange(1 << 32)  # noqa: S311 - no secret
    chance = random.Random(seed)  # noqa: S311 - as above
    state, world, log = home / "state", home / "world", home / "log"
    world.mkdir()
    for number in range(KILLS):
        command: list[str | Path] = [sys.executable, FLAPPER, state, world, log, f"{seed} {number}", "100000", how]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            time.sleep(0.2 * chance.random() ** 2)  # any moment will do: nothing is waited for
            process.kill()
            assert process.wait() == -9, process.stderr.read()
        assert look(str(state), str(world)).trouble == ""
    subprocess.run([sys.executable, FLAPPER, state, world, log, f"{seed}", "3", how], check=True, timeout=60)

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    wrong = {path.name for path in world.glob("w*") if not path.read_text().startswith("0 ")}
    if how.endswith("read back"):
        resolved = [line["episode"] for line in lines if line["event"] == "alert.resolved"]
        assert len(resolved) == len(set(resolved)), seed
    assert replayed(lines) == dict.fromkeys(wrong, 1), seed
    assert {alert.finding.worker for alert in look(str(state), str(world)).alerts} == wrong


def replayed(lines: list[dict[str, Any]]) -> dict[str, int]:
    """Hold each episode to its life, and count those that still fire by worker."""
    episodes = defaultdict[str, list[dict[str, Any]]](list)
    for line in lines:
        episodes[line["episode"]].append(line)
    firing = Counter[str]()
    for life in episodes.values():
        runs = [(line["run"], line["event"]) for line in life]
        assert len(runs) == len(set(runs)), life
        steps = [line["event"] for line in life]
        assert steps[0] == "alert.firing", life
        # What is over is said again only where both its lines were in doubt, and then it is over again.
        assert "alert.resolved" not in steps or steps[-1] == "alert.resolved", life
        assert all(line["restored"] for line in life[1:] if line["event"] == "alert.firing"), life
        assert len({line["ends_at"] for line in life if line["event"] == "alert.resolved"}) <= 1, life
        firing[life[0]["worker"]] += "alert.resolved" not in steps
    return {worker: count for worker, count in firing.items() if count}
