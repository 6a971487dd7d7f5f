"""A running watcher, with every line that it writes held against the schema."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jsonschema import Draft202012Validator

from tests.actors import DEADLINE, Tmux, wait_for
from watcher.schema import record_schema
from watcher.settings.keys import KEYS
from watcher.settings.toml import quote
from watcher.sinks.limit import LONGEST
from watcher.state.place import Place
from watcher.state.reading import STATE_NAME, read_state

Line = Mapping[str, Any]

UNPRIVILEGED = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")[: 3 * (os.geteuid() == 0)]
"""Runs a command so that file modes count for it, as they do not for root."""

PROBE = "zz-probe"
"""The worker whose lock `Watching.quiet` writes."""

_SCHEMA = record_schema()
_VALIDATORS = {
    definition["properties"]["event"]["const"]: Draft202012Validator({**definition, "$defs": _SCHEMA["$defs"]})
    for definition in _SCHEMA["$defs"].values()
    if "const" in definition.get("properties", {}).get("event", {})
}


def environment(home: Path) -> dict[str, str]:
    """Give an environment in which no setting, no state and no tmux of the person at the machine counts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LOCKWARDEN_", "TMUX", "XDG_"))}
    return kept | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }


def given(home: Path, settings: Mapping[str, object]) -> list[str]:
    """Give the options of a watcher with these settings; what has no option goes into a config file."""
    config = home / f"config-{time.monotonic_ns()}.toml"
    options = ["--config", str(config)]
    lines = []
    for path, value in settings.items():
        key = KEYS[path]
        if key.option is None:
            lines.append(f"{path} = {quote(value)}\n")
        elif key.switch:
            options.append(key.option.flag)
        else:
            for part in value if isinstance(value, list) else [value]:
                options += [key.option.flag, str(part)]
    config.write_text("".join(lines))
    return options


def parsed(raw: bytes) -> Line:
    """Read one line of the log as strictly as anybody may: ASCII, whole, short enough, and by the schema."""
    assert raw.endswith(b"\n"), raw
    assert raw.isascii(), raw
    assert raw[:-1].decode().isprintable(), raw
    assert len(raw) <= LONGEST, raw
    line: dict[str, Any] = json.loads(raw)
    _VALIDATORS[line["event"]].validate(line)
    return line


def told(lines: Iterable[Line]) -> list[str]:
    """Say briefly what lines say, heartbeats aside: the worker, the event, the verdict or the kind, and why."""
    return [" ".join(filter(None, _brief(line))) for line in lines if line["event"] != "watcher.heartbeat"]


def moment(line: Line, field: str = "timestamp") -> float:
    """Read a time of a line, in seconds since the epoch."""
    return datetime.fromisoformat(line[field]).timestamp()


def held_for(alert: Line) -> float:
    """Say how many seconds a finding had lasted when its alert was written."""
    return moment(alert) - moment(alert, "starts_at")


def _brief(line: Line) -> Iterator[str]:
    house, _, event = line["event"].partition(".")
    match house:
        case "watcher":
            yield from (line["event"], line.get("component", ""), line.get("reason", ""))
        case "alert":
            yield from (f"{line['worker']}:", event, line["kind"])
            yield line["reason"] if event == "resolved" else line.get("evidence", "")
        case _:
            yield from (f"{line['worker']}:", event, line.get("previous", ""), line["verdict"])


class Watching:
    """`lockwarden watch` on a workspace, with every line of its stdout kept and held against the schema.

    `under` is a command that runs it with other rights, such as `UNPRIVILEGED`.
    """

    def __init__(
        self,
        root: Path,
        home: Path,
        *options: str,
        env: Mapping[str, str] | None = None,
        under: Sequence[str] = (),
    ) -> None:
        self.lines: list[Line] = []
        self._read = 0
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self._ended = False
        self._root, self._state = root, home / "state" / "lockwarden"
        self._first = not (home / "state").exists()
        self.process = subprocess.Popen(
            [*under, sys.executable, "-m", "watcher", "watch", str(root), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(home) | dict(env or {}),
        )
        self._reader = threading.Thread(target=self._take, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        try:
            self.wait("watcher.started")
        except BaseException:
            self.process.kill()
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self._end()
        if kind is None:
            _hold_together(self.lines, first=self._first)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; return the exit code."""
        self.process.send_signal(number)
        return self._end()

    def note(self) -> None:
        """Wait until it has noted that its lines about alerts are out: killed before, they would be said again."""
        wait_for(lambda: not _is_in_doubt(self._state, self._root), "the watcher to note that its lines are out")

    def wait(self, event: str, **fields: object) -> Line:
        """Wait for the next line of an event with these fields, and pass over the lines before it."""
        wanted = {"event": event, **fields}
        return self.find(lambda line: wanted.items() <= line.items(), wanted)

    def alerts(self) -> list[Line]:
        """Give all lines about alerts so far."""
        return [line for line in self.lines if line["event"].startswith("alert.")]

    def quiet(self, workspace: Path) -> list[Line]:
        """Give the lines since the last wait, up to now: known by a lock of our own, written and seen after them."""
        lock = workspace / PROBE / ".runtime" / "agent.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        taken = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
        begun = self._read
        lock.with_name("probe").write_text(json.dumps({"pid": os.getpid(), "acquired_at": taken}))
        lock.with_name("probe").rename(lock)
        self.find(lambda line: line.get("worker") == PROBE and line.get("acquired_at") == taken, "line on the probe")
        lines = self.lines[begun : self._read]
        return [line for line in lines if line.get("worker") != PROBE]

    def find(self, wanted: Callable[[Line], bool], what: object) -> Line:
        """Wait for the next line that is `wanted`, and pass over the lines before it."""
        deadline = time.monotonic() + DEADLINE
        with self._changed:
            while True:
                while self._read < len(self.lines):
                    line = self.lines[self._read]
                    self._read += 1
                    if wanted(line):
                        return line
                if self._ended or not self._changed.wait(deadline - time.monotonic()):
                    came = "\n".join(f"{line['event']} {line['message']}" for line in self.lines)
                    ending = f"\nexit code {self.process.poll()}"
                    raise AssertionError(f"no {what} came; these did:\n{came}{ending}") from self._failure

    def _take(self) -> None:
        assert self.process.stdout is not None
        try:
            for raw in self.process.stdout:
                line = parsed(raw)
                with self._changed:
                    self.lines.append(line)
                    self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 - told by whoever waits, and at the end
            self._failure = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _end(self) -> int:
        code = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        if self.process.stderr.closed:
            return code
        complaint = self.process.stderr.read().decode()
        self.process.stdout.close()
        self.process.stderr.close()
        assert "Traceback" not in complaint, complaint
        if self._failure is not None:
            raise self._failure
        return code


def lines_of(
    command: Sequence[str | Path], home: Path, count: int, *, env: Mapping[str, str] | None = None
) -> list[bytes]:
    """Run a watcher that writes in any format; end it when it has written `count` lines, and give all that it wrote."""
    words = [sys.executable, "-m", "watcher", *command]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment(home) | dict(env or {})) as process:
        assert process.stdout is not None
        late = threading.Timer(DEADLINE, process.kill)
        late.start()
        lines = [process.stdout.readline() for _ in range(count)]
        process.terminate()
        lines += process.stdout.readlines()
        late.cancel()
    return lines


def _is_in_doubt(state: Path, root: Path) -> bool:
    """Say whether the state file tells of lines about alerts that may not be out."""
    place = Place.open(str(state), str(root))
    try:
        descriptor = place.open_file(STATE_NAME, os.O_RDONLY)
        try:
            return read_state(descriptor, os.path.realpath(root), time.monotonic()).is_in_doubt
        finally:
            os.close(descriptor)
    finally:
        place.close()


def _hold_together(lines: list[Line], *, first: bool) -> None:
    """Hold what is true of every log: it begins and ends as it must, none is missing, no end before a beginning.

    Only in the `first` run on a workspace every alert has begun in it.
    """
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1)), "a line is missing"
    assert len({line["id"] for line in lines}) == len(lines), "two lines have one id"
    assert (lines[0]["event"], lines[-1]["event"]) == ("watcher.started", "watcher.stopped")
    firing: dict[str, bool] = {}
    for line in lines:
        match line["event"]:
            case "alert.firing":
                assert not firing.get(line["fingerprint"]), line
                firing[line["fingerprint"]] = True
            case "alert.updated" | "alert.repeated":
                assert firing.get(line["fingerprint"], not first), line
            case "alert.resolved":
                assert firing.get(line["fingerprint"], not first), line
                firing[line["fingerprint"]] = False
            case _:
                pass


@contextlib.contextmanager
def watching_tmux(
    root: Path, home: Path, *options: str, sessions: Iterable[str] = ()
) -> Iterator[tuple[Watching, Tmux, list[str]]]:
    """Run a watcher and a tmux server of their own, the one asking the other only.

    Gives the panes of `sessions` too, which are there before the watcher is.
    """
    with Tmux(home / "s") as tmux:
        tmux.session("first")
        panes = [tmux.session(name) for name in sessions]
        with Watching(root, home, "--tmux-socket", str(tmux.path), *options) as watching:
            yield watching, tmux, panes
