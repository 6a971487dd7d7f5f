"""A process that follows a workspace by an observer and answers what it believes; and the handle to one.

It can be stopped and continued, put into namespaces of its own, and given limits, without any harm to the
process that tests it. It reads one JSON object a line and answers with one.
"""

import argparse
import dataclasses
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from watchdog.events import FileDeletedEvent, FileSystemEvent

from watcher.sources.workspace.observer import Health, Pruning, TreeScannedEvent, WorkspaceObserver

DEADLINE = 30.0
SKIP = frozenset({".git", "node_modules"})
_ROOT = Path(__file__).parents[2]


class Follower:
    """The handle: starts a follower of `root`, and asks it. `wrapper` is a command that runs it."""

    def __init__(self, root: Path, *options: str, wrapper: Sequence[str] = (), backend: str = "inotify") -> None:
        command = [*wrapper, sys.executable, "-m", "tests.stress.follower", str(root), "--backend", backend, *options]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.resume()
        self._process.communicate(timeout=DEADLINE)

    def ask(self, **question: object) -> dict[str, Any]:
        """One question, one answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        answer = self._process.stdout.readline()
        assert answer, f"the follower ended: {self._process.wait(DEADLINE)}"
        answered: dict[str, Any] = json.loads(answer)
        return answered

    def state(self) -> dict[str, Any]:
        """What it believes: `locks`, `scans`, `told`, `health`, `stats`, and the inodes that it watches."""
        return self.ask()

    def run(self, *command: str) -> int:
        """Run a command in its namespaces; gives the exit code."""
        return int(self.ask(run=command)["code"])

    def wait(self, fact: Callable[[dict[str, Any]], bool], deadline: float = DEADLINE) -> dict[str, Any]:
        """Ask until a fact holds; gives the state in which it does."""
        end = time.monotonic() + deadline
        while not fact(state := self.state()):
            assert time.monotonic() < end, f"waited in vain: {state}"
            time.sleep(0.02)
        return state

    def limit_files(self, number: int) -> None:
        """Let it open no file with a descriptor above `number`; 0 takes the limit away."""
        self.ask(files=number)

    def stats(self) -> dict[str, Any]:
        """The observer's numbers; opens no file there."""
        return self.ask(stats=True)

    def pause(self) -> None:
        """Stop it (SIGSTOP), and wait until it stands still."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)


class _Answers:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self._lock = threading.Lock()
        self._locks: set[str] = set()
        self._told: list[str] = []
        self._scans: list[str] = []
        self._health: list[list[str]] = []
        self.observer = WorkspaceObserver(
            Pruning(SKIP),
            backend=arguments.backend,
            rescan_interval=arguments.rescan_interval,
            poll_interval=arguments.poll_interval,
            on_event=self._on_event,
            on_health=self._on_health,
        )
        self.observer.watch(arguments.root)
        self.observer.start()

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        if "run" in question:
            return {"code": subprocess.run(question["run"], check=False, stdout=sys.stderr).returncode}
        if "files" in question:
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (question["files"] or most, most))
            return {}
        if "stats" in question:
            return dataclasses.asdict(self.observer.stats)
        with self._lock:
            return {
                "locks": sorted(self._locks),
                "told": self._told,
                "scans": self._scans,
                "health": self._health,
                "stats": dataclasses.asdict(self.observer.stats),
                "watched": watched_inodes(),
            }

    def _on_event(self, event: FileSystemEvent) -> None:
        with self._lock:
            path = os.fsdecode(event.src_path)
            if isinstance(event, TreeScannedEvent):
                self._scans.append(event.reason)
                self._locks = set(event.locks)
                return
            self._told.append(f"{event.event_type} {path}")
            del self._told[:-1000]
            if isinstance(event, FileDeletedEvent):
                self._locks.discard(path)
            else:
                self._locks.add(path)

    def _on_health(self, health: Health) -> None:
        with self._lock:
            self._health.append([health.component, health.condition.value, health.reason, health.hint])


def watched_inodes() -> list[int]:
    """The inode of every watch that this process holds, as the kernel tells it (proc_pid_fdinfo(5))."""
    found = []
    for entry in Path("/proc/self/fdinfo").iterdir():
        try:
            text = entry.read_text()
        except FileNotFoundError:  # the descriptor by which the directory was listed
            continue
        found += [int(number, 16) for number in re.findall(r"^inotify wd:\S+ ino:(\S+)", text, re.MULTILINE)]
    return sorted(found)


def main() -> None:
    """Answer until the questions end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--backend", default="inotify")
    parser.add_argument("--rescan-interval", type=float, default=3600.0)
    parser.add_argument("--poll-interval", type=float, default=0.1)
    answers = _Answers(parser.parse_args())
    for line in sys.stdin:
        print(json.dumps(answers.answer(json.loads(line))), flush=True)  # noqa: T201 - its answer
    answers.observer.stop()
    answers.observer.join()


if __name__ == "__main__":
    main()
