import errno
import itertools
import os
import shutil
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from watcher.records import Record
from watcher.sinks.file import FileSink
from watcher.sinks.line import Line, Origin
from watcher.sinks.pipeline import Journal
from watcher.sinks.render import Renderer

Make = Callable[..., Record]
Until = Callable[[Callable[[], object]], None]
Parsed = Callable[[Path], list[dict[str, Any]]]
OnTheWay = Callable[[Record], Line]


@pytest.fixture
def render(origin: Origin) -> Renderer:
    """The json format."""
    return Renderer("json", origin)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is to be."""
    directory = tmp_path / "logs"
    directory.mkdir()
    return directory / "lockwarden.log"


@pytest.fixture
def sink(path: Path, render: Renderer) -> Iterator[FileSink]:
    """A log file that is closed in the end."""
    made = FileSink(path, render)
    yield made
    made.close()


@pytest.fixture
def journal(path: Path, render: Renderer) -> Iterator[Journal]:
    """A journal with a log file."""
    opened = Journal([FileSink(path, render)])
    yield opened
    opened.close(5)


class HalfWrites:
    """Stands in for `os.write`: of the next write goes half, and then the disk is full until there is `room`."""

    def __init__(self) -> None:
        self.room = False
        self.begun = False
        self._write = os.write

    def __call__(self, fd: int, data: bytes) -> int:
        """Write half, then nothing."""
        if self.room:
            return self._write(fd, data)
        if self.begun:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.begun = True
        return self._write(fd, data[: len(data) // 2])


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> HalfWrites:
    """A disk that fills up in the middle of a line."""
    writes = HalfWrites()
    monkeypatch.setattr(os, "write", writes)
    return writes


def begin(sink: FileSink, line: Line, half: HalfWrites) -> None:
    """Leave half a line in the file, and make room."""
    with pytest.raises(OSError, match="No space left"):
        sink.write(line)
    half.room = True


def test_the_file_is_made_for_its_owner_and_group(sink: FileSink, path: Path) -> None:
    """Mode 0640, less what the umask takes."""
    before = os.umask(0)
    try:
        sink.open()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_lines_are_appended(sink: FileSink, path: Path, alert: Make, line: OnTheWay, parsed: Parsed) -> None:
    """What is in the file already stays."""
    path.write_text("{}\n")
    sink.write(line(alert()))
    assert [len(fields) > 0 for fields in parsed(path)] == [False, True]


def test_a_torn_line_of_an_earlier_run_is_ended_first(sink: FileSink, path: Path, alert: Make, line: OnTheWay) -> None:
    """Half a line that a killed watcher left behind does not take the first of the next run with it."""
    path.write_text('{"half":')
    sink.write(line(alert()))
    first, second = path.read_text().splitlines()
    assert first == '{"half":'
    assert second.startswith('{"timestamp"')


def test_renaming_it_loses_no_line(journal: Journal, path: Path, alert: Make, until: Until, parsed: Parsed) -> None:
    """20,000 alerts through 20 renames in full flow: each is in one of the files, whole, and in order."""
    record = alert()
    for turn in range(20):
        for _ in range(1000):
            journal.write(record)
        until(lambda: journal.waiting < 500)
        path.rename(path.with_suffix(f".{turn:02}"))
    journal.close(60)
    files = sorted(path.parent.iterdir(), key=lambda file: (file == path, file.name))
    seqs = [line["seq"] for file in files for line in parsed(file)]
    assert len(files) > 10
    assert seqs == list(range(1, 20_001))


def test_copytruncate_loses_no_more_than_it_must(journal: Journal, path: Path, alert: Make, until: Until) -> None:
    """Copied and truncated 20 times in full flow: only what came between copy and truncation is missing."""
    record = alert()
    whole: list[str] = []
    for _ in range(20):
        for _ in range(1000):
            journal.write(record)
        until(lambda: journal.waiting < 500)
        copy = path.read_text()
        os.truncate(path, 0)
        whole += [line for line in copy.splitlines(keepends=True) if line.endswith("\n")]
    journal.close(60)
    whole += path.read_text().splitlines(keepends=True)
    seqs = [int(line.partition('"seq":')[2].partition(",")[0]) for line in whole]
    gaps = sum(after != before + 1 for before, after in itertools.pairwise(seqs))
    assert all(line.startswith('{"timestamp"') and line.endswith("}\n") for line in whole)
    assert seqs == sorted(set(seqs))
    assert (seqs[0], seqs[-1]) == (1, 20_000)
    assert gaps <= 20
    assert journal.dropped == 0


def test_copytruncate_of_a_quiet_file_loses_nothing(
    sink: FileSink, path: Path, alert: Make, line: OnTheWay, parsed: Parsed
) -> None:
    """Where nothing is written meanwhile, all lines are in the copy and in the file, without a hole of NULs."""
    sink.write(line(alert()))
    copy = path.with_suffix(".1")
    shutil.copyfile(path, copy)
    os.truncate(path, 0)
    sink.write(line(alert()))
    assert len(parsed(copy)) == len(parsed(path)) == 1


def test_reopening_takes_up_the_file_that_is_there(
    sink: FileSink, path: Path, alert: Make, line: OnTheWay, parsed: Parsed
) -> None:
    """USR1: the next line is in the file of that name, also where the old one is still to be had."""
    sink.write(line(alert()))
    path.rename(path.with_suffix(".1"))
    sink.reopen()
    sink.write(line(alert()))
    assert len(parsed(path)) == len(parsed(path.with_suffix(".1"))) == 1


def test_a_deleted_file_is_made_anew(sink: FileSink, path: Path, alert: Make, line: OnTheWay, parsed: Parsed) -> None:
    """Lines do not go on into a file that has no name any more."""
    sink.write(line(alert()))
    path.unlink()
    sink.write(line(alert()))
    assert len(parsed(path)) == 1


def test_a_symbolic_link_is_refused(sink: FileSink, path: Path) -> None:
    """Whoever can write the directory must not choose what the watcher writes to."""
    victim = path.with_name("victim")
    victim.write_text("precious")
    path.symlink_to(victim)
    with pytest.raises(OSError, match="is a symbolic link"):
        sink.open()
    assert victim.read_text() == "precious"


def test_a_dangling_link_is_refused_too(sink: FileSink, path: Path) -> None:
    """Nor what it creates."""
    path.symlink_to(path.with_name("new"))
    with pytest.raises(OSError, match="is a symbolic link"):
        sink.open()
    assert not path.with_name("new").exists()


def test_a_link_that_is_planted_later_is_refused(
    journal: Journal, path: Path, alert: Make, until: Until, parsed: Parsed
) -> None:
    """In the place of the rotated file: nothing is written through it, and nothing lost when it is gone."""
    journal.write(alert())
    assert journal.flush(30)
    victim = path.with_name("victim")
    victim.write_text("")
    path.unlink()
    path.symlink_to(victim)
    journal.write(alert())
    until(lambda: journal.health()[str(path)])
    assert journal.health() == {str(path): "is a symbolic link"}
    path.unlink()
    journal.reopen()
    until(lambda: path.exists() and len(path.read_bytes().splitlines()) == 2)
    assert victim.read_text() == ""
    assert [line["event"] for line in parsed(path)] == ["alert.firing", "watcher.recovered"]


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["FIFO", "directory"])
def test_what_is_no_file_is_refused(make: Callable[[Path], None], sink: FileSink, path: Path) -> None:
    """Without hanging in it."""
    make(path)
    with pytest.raises(OSError, match=r"is not a regular file|Is a directory"):
        sink.open()


def test_a_hard_link_is_refused(sink: FileSink, path: Path) -> None:
    """A second name may be that of any file on the same disk."""
    victim = path.with_name("victim")
    victim.write_text("precious")
    path.hardlink_to(victim)
    with pytest.raises(OSError, match="hard link"):
        sink.open()
    assert victim.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize(("mode", "outcome"), [(0o1777, "refused"), (0o755, "taken")])
def test_another_users_file_is_refused_where_anybody_could_put_it(
    mode: int,
    outcome: str,
    sink: FileSink,
    path: Path,
) -> None:
    """In a directory like /tmp a file of a stranger is a trap; in one of the operator's it is a choice."""
    path.parent.chmod(mode)
    path.touch()
    os.chown(path, 12345, 12345)
    if outcome == "refused":
        with pytest.raises(OSError, match="belongs to another user"):
            sink.open()
    else:
        sink.open()


def test_a_directory_that_vanishes_is_waited_for(
    journal: Journal, path: Path, alert: Make, until: Until, parsed: Parsed
) -> None:
    """Alerts are kept until it is back, and come out in order."""
    journal.write(alert())
    assert journal.flush(30)
    away = path.parent.with_name("away")
    path.parent.rename(away)
    for _ in range(100):
        journal.write(alert())
    until(lambda: journal.health()[str(path)])
    assert journal.health() == {str(path): "no such file or directory"}
    path.parent.mkdir()
    journal.reopen()
    until(lambda: path.exists() and b"watcher.recovered" in path.read_bytes())
    assert len(parsed(away / path.name)) == 1
    assert [line["seq"] for line in parsed(path)] == list(range(2, 103))


def test_half_a_line_is_completed(sink: FileSink, path: Path, alert: Make, line: OnTheWay, half: HalfWrites) -> None:
    """When there is room again the rest follows, once, and nothing else in between."""
    begin(sink, one := line(alert()), half)
    sink.write(one)
    assert path.read_bytes() == sink._render(one)


def test_half_a_line_in_a_rotated_file_is_completed_there(
    sink: FileSink, path: Path, alert: Make, line: OnTheWay, half: HalfWrites
) -> None:
    """The half in the old file gets its other half there, and the new file begins with the next line."""
    begin(sink, one := line(alert()), half)
    old = path.rename(path.with_suffix(".1"))
    sink.write(one)
    sink.write(one)
    assert old.read_bytes() == path.read_bytes() == sink._render(one)


def test_half_a_line_in_a_deleted_file_is_written_anew(
    sink: FileSink, path: Path, alert: Make, line: OnTheWay, half: HalfWrites
) -> None:
    """An operator who makes room by deleting the log does not delete the line that waits."""
    begin(sink, one := line(alert()), half)
    path.unlink()
    sink.write(one)
    assert path.read_bytes() == sink._render(one)


def test_half_a_line_that_was_truncated_away_is_written_anew(
    sink: FileSink, path: Path, alert: Make, line: OnTheWay, half: HalfWrites
) -> None:
    """The second half alone would be no line."""
    begin(sink, one := line(alert()), half)
    os.truncate(path, 0)
    sink.write(one)
    assert path.read_bytes() == sink._render(one)


FULL_DISK = """
    import subprocess, sys, time
    from pathlib import Path
    from watcher import records
    from watcher.sinks.file import FileSink
    from watcher.sinks.line import Origin
    from watcher.sinks.pipeline import Journal
    from watcher.sinks.render import Renderer
    from watcher.sinks.stream import StreamSink

    disk = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=True)
    (disk / "ballast").write_bytes(bytes(40_000))
    path = disk / "log"
    origin = Origin("box", "/srv/town")
    journal = Journal([FileSink(path, Renderer("json", origin)), StreamSink(1, Renderer("json", origin))])
    # Any record that is never dropped would do; this one is short to write.
    for number in range(90):
        journal.write(records.WatcherReloaded(changed=f"{number:3} " + "x" * 200))

    def until(fact):
        deadline = time.monotonic() + 30
        while not fact():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    until(lambda: journal.health()[str(path)])
    assert journal.health() == {str(path): "no space left on device", "stdout": ""}
    (disk / "ballast").unlink()
    until(lambda: b"watcher.recovered" in path.read_bytes())
    journal.close(30)
    sys.stderr.buffer.write(path.read_bytes())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode != 0,
    reason="no mount namespaces here",
)
def test_a_full_disk_delays_lines_and_loses_none(tmp_path: Path, parsed: Parsed) -> None:
    """On a tmpfs that fills up: stdout goes on, and when there is room the file has every line, whole and in order."""
    job = subprocess.run(
        ["unshare", "-Urm", sys.executable, "-c", textwrap.dedent(FULL_DISK), tmp_path],
        capture_output=True,
        check=False,
        timeout=90,
    )
    (tmp_path / "file").write_bytes(job.stderr)
    (tmp_path / "stdout").write_bytes(job.stdout)
    assert job.returncode == 0, job.stderr
    in_file, in_stdout = parsed(tmp_path / "file"), parsed(tmp_path / "stdout")
    assert [line["seq"] for line in in_file] == list(range(1, 92))
    assert in_file[-1]["event"] == "watcher.recovered"
    assert sorted({line["event"] for line in in_stdout}) == [
        "watcher.degraded",
        "watcher.recovered",
        "watcher.reloaded",
    ]
    assert len([line for line in in_stdout if line["event"] == "watcher.reloaded"]) == 90
