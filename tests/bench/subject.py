"""The watcher under measurement: a process, and when each of its lines was read."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.bench import peers
from tests.harness import environment

PATIENCE = 120.0


class Subject:
    """`lockwarden watch`, with the monotonic time at which each line came out of its stdout."""

    def __init__(self, root: Path, home: Path, *options: str) -> None:
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "watcher", "watch", str(root), *options],
            stdout=subprocess.PIPE,
            env=environment(home),
        )
        self.lines: list[tuple[float, dict[str, Any]]] = []
        self._read = 0
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._take, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        self.wait(lambda line: line["event"] == "watcher.started")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def wait(self, wanted: Callable[[dict[str, Any]], bool]) -> float:
        """Wait for the next line that is wanted; return when it was read."""
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while True:
                while self._read < len(self.lines):
                    at, line = self.lines[self._read]
                    self._read += 1
                    if wanted(line):
                        return at
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError("the line did not come")

    def event(self, event: str, **fields: object) -> float:
        """Wait for the next line of an event with these fields; return when it was read."""
        return self.wait(lambda line: line["event"] == event and all(line.get(k) == v for k, v in fields.items()))

    def cpu(self) -> float:
        """Seconds of processor time that it has used so far, without its children."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def memory(self) -> float:
        """Its resident memory, in MiB."""
        return peers.memory(self.process.pid)

    def _take(self) -> None:
        assert self.process.stdout is not None
        descriptor, rest = self.process.stdout.fileno(), b""
        while chunk := os.read(descriptor, 1 << 16):
            at = time.monotonic()
            *whole, rest = (rest + chunk).split(b"\n")
            with self._changed:
                self.lines.extend((at, json.loads(raw)) for raw in whole)
                self._changed.notify_all()
