import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from watcher.records import Record
from watcher.sinks.file import FileSink
from watcher.sinks.line import Line, Origin
from watcher.sinks.pipeline import Journal
from watcher.sinks.render import Renderer
from watcher.sinks.stream import StreamSink

Make = Callable[..., Record]
Until = Callable[[Callable[[], object]], None]
Parsed = Callable[[Path], list[dict[str, Any]]]
Started = Callable[..., Journal]
LONG = "/".join(["d" * 200] * 30)


@dataclass(frozen=True)
class Log:
    """A log file, and the sink that writes it."""

    path: Path
    sink: FileSink

    def events(self) -> list[str]:
        """What has been written so far."""
        text = self.path.read_bytes() if self.path.exists() else b""
        return [json.loads(line)["event"] for line in text.splitlines(keepends=True) if line.endswith(b"\n")]


@pytest.fixture
def render(origin: Origin) -> Renderer:
    """The json format."""
    return Renderer("json", origin)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe: where to read and where to write."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


@pytest.fixture
def journal() -> Iterator[Started]:
    """Start journals, and close them in the end."""
    started: list[Journal] = []

    def start(*sinks: StreamSink | FileSink) -> Journal:
        started.append(Journal(sinks, patience=0.1))
        return started[-1]

    yield start
    for each in started:
        each.close(1)


@pytest.fixture
def log(tmp_path: Path, render: Renderer) -> Log:
    """A log file as the other sink."""
    return Log(tmp_path / "log", FileSink(tmp_path / "log", render))


def read_all(fd: int, size: int = 65536) -> list[dict[str, Any]]:
    """Read lines until the other end is closed; each must be whole."""
    data = b"".join(iter(lambda: os.read(fd, size), b""))
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def test_lines_come_out_of_the_pipe(pipe: tuple[int, int], render: Renderer, alert: Make, journal: Started) -> None:
    """What is written to the journal is read from stdout, a line a record."""
    source, target = pipe
    opened = journal(StreamSink(target, render))
    for _ in range(20):
        opened.write(alert())
    opened.close(30)
    os.close(target)
    assert [line["seq"] for line in read_all(source)] == list(range(1, 21))


def test_the_line_is_in_the_pipe_when_write_returns(
    pipe: tuple[int, int], render: Renderer, alert: Make, journal: Started
) -> None:
    """An idle pipe takes the line without any thread's turn, where the kernel can promise not to wait."""
    source, target = pipe
    try:
        os.pwritev(target, [b"?"], -1, os.RWF_NOWAIT)
    except (OSError, AttributeError):
        pytest.skip("the kernel has no RWF_NOWAIT for pipes")
    os.read(source, 1)
    opened = journal(StreamSink(target, render))
    opened.write(alert())
    os.set_blocking(source, False)
    assert os.read(source, 65536).endswith(b"}\n")


def test_the_descriptor_is_left_as_it_was(pipe: tuple[int, int], render: Renderer, alert: Make) -> None:
    """Other processes share stdout: its flags do not change, and it stays open when the sink is closed."""
    _, target = pipe
    before = fcntl.fcntl(target, fcntl.F_GETFL)
    opened = Journal([StreamSink(target, render)])
    opened.write(alert())
    assert fcntl.fcntl(target, fcntl.F_GETFL) == before
    opened.close(30)
    assert os.write(target, b"x") == 1


@pytest.mark.parametrize("size", [1000, 4096, 5003])
def test_no_line_is_torn_by_a_slow_reader(
    size: int, pipe: tuple[int, int], render: Renderer, alert: Make, journal: Started
) -> None:
    """A full pipe, a reader that takes odd pieces, lines longer than PIPE_BUF: each line is whole and in its place."""
    source, target = pipe
    fcntl.fcntl(target, fcntl.F_SETPIPE_SZ, 4096)
    opened = journal(StreamSink(target, render))
    for number in range(300):
        opened.write(alert(worker=LONG if number % 3 == 0 else "a"))

    def close() -> None:
        opened.close(60)
        os.close(target)

    closer = threading.Thread(target=close)
    closer.start()
    lines = read_all(source, size)
    closer.join()
    assert [line["seq"] for line in lines] == list(range(1, 301))
    assert [line["worker"] for line in lines[:4]] == [LONG, "a", "a", LONG]


def test_a_socket_gets_whole_lines_too(render: Renderer, alert: Make, journal: Started) -> None:
    """Under systemd stdout is a socket, which may take half a line: the rest follows before the next."""
    source, target = socket.socketpair()
    with source:
        target.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        opened = journal(StreamSink(target.fileno(), render))
        for number in range(300):
            opened.write(alert(worker=LONG if number % 3 == 2 else "w" * 1500))

        def close() -> None:
            opened.close(60)
            target.close()

        closer = threading.Thread(target=close)
        closer.start()
        lines = read_all(source.fileno(), 777)
        closer.join()
    assert [line["seq"] for line in lines] == list(range(1, 301))


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="the system has no such writes")
def test_a_line_that_is_taken_in_part_is_finished_first(
    render: Renderer, alert: Make, journal: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that must not wait may take half a line: the thread writes the other half, then what follows."""

    def half(fd: int, buffers: list[bytes], _offset: int, _flags: int) -> int:
        return os.write(fd, buffers[0][: len(buffers[0]) // 2])

    source, target = socket.socketpair()
    with source:
        monkeypatch.setattr(os, "pwritev", half)
        opened = journal(StreamSink(target.fileno(), render))
        for _ in range(5):
            opened.write(alert())
        opened.close(30)
        target.close()
        assert [line["seq"] for line in read_all(source.fileno())] == list(range(1, 6))


def test_a_stopped_reader_stops_nothing_else(
    render: Renderer, alert: Make, journal: Started, until: Until, log: Log
) -> None:
    """While the reader of stdout is stopped, the file gets everything; when it goes on, so do the lines, in order."""
    piped = log.path.with_name("piped")
    with piped.open("wb") as copy:
        reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=copy)
    assert reader.stdin is not None
    with reader.stdin as stdin:
        reader.send_signal(signal.SIGSTOP)
        opened = journal(StreamSink(stdin.fileno(), render), log.sink)
        for _ in range(400):
            opened.write(alert())
        until(lambda: "watcher.degraded" in log.events())
        assert opened.health()["stdout"]
        assert not opened.health()[log.sink.name]
        reader.send_signal(signal.SIGCONT)
        until(lambda: "watcher.recovered" in log.events())
        opened.close(30)
    assert reader.wait(30) == 0
    lines = [json.loads(line) for line in piped.read_bytes().splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, 402))
    assert lines[-1]["event"] == "watcher.recovered"
    assert log.events().count("alert.firing") == 400
    assert log.events().count("watcher.degraded") == 1
    assert opened.dropped == 0


def test_a_closed_pipe_ends_stdout_and_nothing_else(
    pipe: tuple[int, int], render: Renderer, alert: Make, until: Until, log: Log
) -> None:
    """`lockwarden watch | head`: the sink says why it ended, the file goes on."""
    source, target = pipe
    opened = Journal([StreamSink(target, render), log.sink])
    os.close(source)
    opened.write(alert())
    until(lambda: opened.health()["stdout"])
    opened.write(alert())
    until(lambda: len(log.events()) == 3)
    assert opened.health() == {"stdout": "broken pipe", log.sink.name: ""}
    assert opened.alive
    assert sorted(log.events()) == ["alert.firing", "alert.firing", "watcher.degraded"]
    opened.close(30)


def test_a_full_device_is_trouble_and_no_end(render: Renderer, alert: Make, journal: Started, until: Until) -> None:
    """Stdout may be a file on a full disk: it is tried again."""
    with Path("/dev/full").open("wb") as full:
        opened = journal(StreamSink(full.fileno(), render))
        opened.write(alert())
        until(lambda: opened.health()["stdout"])
        assert opened.health() == {"stdout": "no space left on device"}
        assert opened.alive


def test_a_terminal_that_is_held_does_not_hold_us(
    render: Renderer, alert: Make, journal: Started, until: Until
) -> None:
    """A terminal that nobody reads fills up, and its thread hangs; the lines come when it is read."""
    master, slave = os.openpty()
    try:
        opened = journal(StreamSink(slave, render))

        def trouble() -> str:
            opened.write(alert())
            return opened.health()["stdout"]

        until(trouble)
        assert opened.health() == {"stdout": "it takes no lines"}
        seen = b""
        while not re.search(rb"watcher.recovered.*\n", seen):
            seen += os.read(master, 4096)
        lines = [json.loads(line) for line in seen.replace(b"\r\n", b"\n").splitlines()]
        assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    finally:
        os.close(master)
        os.close(slave)


def test_stdout_may_be_a_file(render: Renderer, alert: Make, tmp_path: Path, parsed: Parsed) -> None:
    """`lockwarden watch >> log`: lines go to its end."""
    path = tmp_path / "log"
    with path.open("ab") as file:
        opened = Journal([StreamSink(file.fileno(), render)])
        for _ in range(10):
            opened.write(alert())
        opened.close(30)
    assert [line["seq"] for line in parsed(path)] == list(range(1, 11))


def test_a_closed_stdout_is_refused_at_once(pipe: tuple[int, int], render: Renderer) -> None:
    """`lockwarden watch >&-` is an error when it starts, not a silent log."""
    _, target = pipe
    os.close(target)
    with pytest.raises(OSError, match="Bad file descriptor"):
        StreamSink(target, render)


def test_closing_leaves_no_thread_behind(
    pipe: tuple[int, int], render: Renderer, alert: Make, until: Until, line: Callable[[Record], Line]
) -> None:
    """A journal whose reader reads nothing closes in time, and its thread ends soon after."""
    _, target = pipe
    size = fcntl.fcntl(target, fcntl.F_SETPIPE_SZ, 4096)
    opened = Journal([StreamSink(target, render, name="unread")])
    for _ in range(size // len(render(line(alert()))) + 10):
        opened.write(alert())
    opened.close(0.1)
    until(lambda: not any(thread.name == "sink unread" for thread in threading.enumerate()))
    assert opened.dropped > 0
