"""A watcher killed at random moments, again and again, amid random activity on locks: its log must stay true.

    python -m tests.stress.crash --kills 200 --seed 7

All runs write to one log file and to stdout, each of which is replayed as `tests.replay` holds it. Now and then, and at
the end, all is quiet: then what fires by the logs is what `lockwarden scan` finds, and what `lockwarden status` says.
"""

import argparse
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.actors import DEADLINE, Tmux, wait_for
from tests.harness import Watching, environment
from tests.replay import Replay, Runs
from tests.stress.turmoil import Turmoil

CONFIG = """\
[observe]
rescan = "1h"  # what events and a restart do not tell, nothing else shall heal
[tmux]
sockets = ["{home}/s"]
[heartbeat]
interval = "300ms"
[rules.stale]
repeat = "700ms"
[rules.orphan]
hold = "100ms"
[rules.invalid]
grace = "100ms"
"""

EARLY = 0.7
"""Seconds after the start of its process within which a watcher is killed in one of four runs."""

LATE = 0.7
"""Seconds after its first line within which it is killed in the others."""

GREETING = 0.3
"""Seconds after `watcher.started` in which a control client may still introduce itself."""

BETWEEN_CHECKS = 20


class Crashes:
    """A town below `home` in turmoil, and one watcher after another in it."""

    def __init__(self, home: Path, turmoil: Turmoil, chance: random.Random) -> None:
        self._home = home
        self._town = home / "town"
        self._config = ("--config", str(home / "config.toml"))
        self._runs = Runs(self._town, home, *self._config, "--log-file", str(home / "log"))
        self.stdout = self._runs.replay
        self.file = Replay()
        self._turmoil = turmoil
        self._chance = chance
        (home / "log").touch()
        self._log_read = 0

    def kill(self) -> None:
        """Start a watcher and kill it at a random moment; then let some things happen that nobody watches."""
        early, moment = self._chance.random() < 0.25, self._chance.random()
        with self._runs.start() as watching:
            killer = threading.Timer(moment * (EARLY if early else LATE), watching.process.kill)
            if early:
                killer.start()
            began, armed_at = time.monotonic(), float("inf")
            while watching.process.poll() is None:
                now = time.monotonic()
                assert now < began + DEADLINE, "it neither begins nor ends"
                if watching.lines and armed_at > now:
                    armed_at = now
                    if not early:
                        killer.start()
                self._turmoil.is_calm = now > armed_at + GREETING
                self._turmoil.act()
            assert watching.stop(signal.SIGKILL) == -signal.SIGKILL
        self._read()
        self._turmoil.is_calm = True
        for _ in range(self._chance.choice((0, 0, 1, 5))):
            self._turmoil.act()

    def check(self) -> None:
        """Let the town come to rest under a watcher, and hold what fires to what is wrong; then end it in order."""
        with self._runs.start() as watching:
            watching.wait("watcher.started")
            self._turmoil.is_calm = False
            for _ in range(self._chance.choice((0, 5))):
                self._turmoil.act()
            self._turmoil.is_calm = True
            self._turmoil.settle()
            watching.quiet(self._town)
            self._hold_to_what_is_wrong(watching)
        self._read()
        self.file.hold_together()
        self.stdout.hold_together()
        assert self.stdout.firing.keys() == self.file.firing.keys()

    def _hold_to_what_is_wrong(self, watching: Watching) -> None:
        scanned = self._ask("scan")["locks"]
        verdicts = {lock["worker"]: lock["verdict"] for lock in scanned}
        found = {(lock["worker"], each["kind"]) for lock in scanned for each in lock["findings"]}

        def differ() -> set[tuple[str, str]]:
            self._read()
            fires = {(line["worker"], line["kind"]) for line in self.file.firing.values()}
            # Collisions rest on history, and what nobody can judge now stays as it was.
            return {
                (worker, kind)
                for worker, kind in fires ^ found
                if kind != "collision" and verdicts.get(worker) != "unverifiable"
            }

        with contextlib.suppress(AssertionError):
            wait_for(lambda: not differ(), "the log to say that what is wrong fires, and nothing else")
        watching.quiet(self._town)
        assert not (wrong := differ()), (wrong, scanned, watching.lines)
        # Who took a lock and is gone is known to who saw him only.
        known = {
            worker: verdict.replace("held_by_agent", "unverifiable") for worker, verdict in self.file.locks.items()
        }
        assert known == verdicts, (known, verdicts)
        assert {alert["episode"] for alert in self._ask("status")["firing"]} == self.file.firing.keys()
        wait_for(lambda: not self._ask("status")["degraded"], "all parts to be well")

    def _read(self) -> None:
        """Read on in the log file, as far as its lines are whole."""
        with (self._home / "log").open("rb") as log:
            log.seek(self._log_read)
            lines, newline, _ = log.read().rpartition(b"\n")
        self._log_read += len(lines + newline)
        self.file.read((lines + newline).splitlines(keepends=True))

    def _ask(self, command: str) -> Any:  # noqa: ANN401 - as it is in JSON
        words = [sys.executable, "-m", "watcher", command, str(self._town), "--json", *self._config]
        done = subprocess.run(words, capture_output=True, check=False, env=environment(self._home), timeout=DEADLINE)
        assert done.returncode in {0, 1}, done.stderr
        return json.loads(done.stdout)


def run(home: Path, kills: int, seed: int) -> str:
    """Do it below the directory `home`, which must have a short name; gives a line about it.

    Raises:
        AssertionError: a log or the state says what is not so.
    """
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    began = time.monotonic()
    (home / "town").mkdir()
    (home / "config.toml").write_text(CONFIG.format(home=home))
    with Tmux(home / "s") as tmux, Turmoil(home / "town", tmux, chance) as turmoil:
        crashes = Crashes(home, turmoil, chance)
        for number in range(1, kills + 1):
            crashes.kill()
            if number % BETWEEN_CHECKS == 0 or number == kills:
                crashes.check()
    file = crashes.file
    return (
        f"seed {seed}: {kills} kills in {time.monotonic() - began:.0f} s amid {turmoil.done.total()} acts:"
        f" {file.runs} runs wrote {file.lines} lines on {len(file.episodes)} episodes, {file.reborn} of them for the"
        f" first time by a later run, {file.doubled} with their end twice; {len(file.firing)} fire in the end"
    )


def main() -> None:
    """Do it in a temporary directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="to repeat a run")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}", flush=True)  # noqa: T201 - this is a command
    with tempfile.TemporaryDirectory(prefix="lw-") as home:
        print(run(Path(home).resolve(), arguments.kills, seed))  # noqa: T201 - as above


if __name__ == "__main__":
    main()
