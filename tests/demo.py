"""A scratch workspace in which scripted agents come, work, die, lose their sessions and rob each other.

    python -m tests.demo

Runs `lockwarden watch` on it, so that each kind of alert is seen within half a minute. The agents are real
processes, in real tmux sessions (of a server of the demo's own) where tmux is there.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.actors import Agent, Tmux

_PAUSE = 1.6
"""Seconds between two acts, for who reads along."""


def main() -> int:
    """Play, with the watcher's log between the acts."""
    with ExitStack() as stage:
        home = Path(tempfile.mkdtemp(prefix="lockwarden-demo-"))
        stage.callback(shutil.rmtree, home)
        town = home / "town"
        town.mkdir()
        tmux = stage.enter_context(Tmux(home / "tmux")) if shutil.which("tmux") else None
        options = ["--no-state", "--tmux-socket", str(home / "tmux"), *sys.argv[1:]]
        watcher = subprocess.Popen([sys.executable, "-m", "watcher", "watch", str(town), *options])
        stage.callback(_end, watcher)
        for act in _acts(town, tmux, stage):
            time.sleep(_PAUSE)
            if watcher.poll() is not None:
                return watcher.returncode
            print(f"\n>>> {act}", flush=True)  # noqa: T201 - the narrator
        time.sleep(_PAUSE)
    return 0


def _acts(town: Path, tmux: Tmux | None, stage: ExitStack) -> Iterator[str]:
    """Yield what is about to happen, then make it happen."""
    yield "ada takes her lock, and works on"
    ada = stage.enter_context(Agent(town / "ada"))

    yield "ada dies: her lock is stale"
    ada.kill()

    yield "ada is back"
    stage.enter_context(Agent(town / "ada"))

    yield "bob overwrites the lock under her: two owners of one worker"
    bob = stage.enter_context(Agent(town / "ada", "--session", "bob"))

    yield "bob leaves"
    bob.kill()

    yield "somebody writes nonsense where a lock should be"
    nonsense = town / "eve" / ".runtime" / "agent.lock"
    nonsense.parent.mkdir(parents=True)
    nonsense.write_text("{")
    if tmux is not None:
        yield from _acts_in_tmux(town, tmux)

    yield "the nonsense is removed"
    nonsense.unlink()

    yield "a worktree goes, with its lock"
    shutil.rmtree(town / "ada")


def _acts_in_tmux(town: Path, tmux: Tmux) -> Iterator[str]:
    tmux.session("town")  # so that the server, and its numbers, go on when a session is killed
    pane = tmux.session("carl")

    yield f"carl's helper takes the lock in tmux pane {pane} and exits; the pane holds it"
    tmux.prime(pane, town / "carl")

    yield "another worker's lock names the same pane"
    tmux.prime(pane, town / "dora")

    yield "carl's session is killed, and both locks are stale"
    tmux("kill-session", "-t", "carl")

    pane = tmux.session("finn")

    yield "finn ignores the hang-up that is to come"
    tmux.prime(pane, town / "finn", "--ignore-hup", stay=600)

    yield "finn's session is killed, finn lives on: an orphan"
    tmux("kill-session", "-t", "finn")

    yield "finn is put to rest"
    os.kill(_pid_in(town / "finn"), signal.SIGKILL)


def _pid_in(worker: Path) -> int:
    return int(json.loads((worker / ".runtime" / "agent.lock").read_text())["pid"])


def _end(watcher: "subprocess.Popen[bytes]") -> None:
    if watcher.poll() is None:
        watcher.send_signal(signal.SIGTERM)
    watcher.wait()


if __name__ == "__main__":
    sys.exit(main())
