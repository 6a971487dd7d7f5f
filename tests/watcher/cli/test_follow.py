import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.cli.follow import LONGEST, Lines, follow, read

Act = Callable[[], object]


class Enough(Exception):  # noqa: N818 - an end, not an error
    """Nothing more happens to the file."""


class Followed:
    """What was read of a file that is followed, while one thing after the other happened to it."""

    def __init__(self, path: Path, *acts: Act) -> None:
        self.lines: list[str] = []
        self.told: list[str] = []
        script = iter(acts)

        def pause() -> None:
            act = next(script, None)
            if act is None:
                raise Enough
            act()

        with suppress(Enough):
            for lines in follow(str(path), pause, self.told.append):
                self.lines += lines


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give the name of a log that is not there yet."""
    return tmp_path / "log"


def add(path: Path, text: str) -> Act:
    """Append to what is there under a name then."""

    def act() -> None:
        with path.open("a") as file:
            file.write(text)

    return act


def nothing() -> None:
    """Let time pass."""


def test_what_is_added_is_read(log: Path) -> None:
    """First what is there, then what comes, each line once."""
    log.write_text("one\ntwo\n")
    assert Followed(log, nothing, add(log, "three\n"), nothing, add(log, "four\nfive\n")).lines == [
        "one", "two", "three", "four", "five",
    ]  # fmt: skip


def test_half_a_line_is_waited_for(log: Path) -> None:
    """A line is given when it has ended, however many writes it takes."""
    log.write_text("on")
    assert Followed(log, add(log, "e"), nothing).lines == []
    assert Followed(log, add(log, "\ntw"), nothing, add(log, "o\n")).lines == ["one", "two"]


def test_a_file_that_was_renamed_is_read_to_its_end(log: Path) -> None:
    """Whoever has it open may write to it until he has opened the new one: no line is lost on the way."""
    log.write_text("one\n")
    old = log.with_name("log.1")
    rotation = lambda: log.rename(old), add(old, "two\n"), log.touch, add(old, "three\n"), add(log, "four\n")
    assert Followed(log, *rotation).lines == ["one", "two", "three", "four"]


def test_what_is_written_just_before_the_new_file_is_read_before_it(log: Path) -> None:
    """The last line of the old file and the first of the new one may come within one pause."""
    log.write_text("one\n")
    old = log.with_name("log.1")

    def rotate() -> None:
        log.rename(old)
        add(old, "two\n")()
        log.write_text("three\n")

    assert Followed(log, rotate, add(log, "four\n")).lines == ["one", "two", "three", "four"]


def test_half_a_line_of_a_file_that_was_renamed(log: Path) -> None:
    """No second half can come once its writer is elsewhere: it is given as it is."""
    log.write_text("one\ntw")

    def rotate() -> None:
        log.rename(log.with_name("log.1"))
        log.write_text("three\n")

    assert Followed(log, rotate, nothing).lines == ["one", "tw", "three"]


@pytest.mark.parametrize("after", ["new\n", "newer one\n", "new and longer than before\n"])
def test_a_file_that_was_truncated_is_read_anew(log: Path, after: str) -> None:
    """Be it shorter, just as long, or longer than before when it is looked at again."""
    log.write_text("the first\n")

    def copytruncate() -> None:
        os.truncate(log, 0)
        add(log, after)()

    assert Followed(log, copytruncate, add(log, "last\n")).lines == ["the first", after.strip(), "last"]
    log.write_text("the first\n")
    assert Followed(log, lambda: os.truncate(log, 0), add(log, after)).lines == ["the first", after.strip()]


def test_a_hole_is_no_line(log: Path) -> None:
    """A writer that does not append goes on where it was: what lies before that reads as NULs, and is passed over."""
    log.write_text(f"{'x' * 100_000}\n")

    def go_on() -> None:
        os.truncate(log, 0)
        with log.open("r+") as file:
            file.seek(100_001)
            file.write("two\n")

    assert Followed(log, go_on).lines[1:] == ["two"]


def test_a_file_that_is_not_there_is_waited_for(log: Path) -> None:
    """It is said once that it is not there, and again when it goes."""
    followed = Followed(log, nothing, nothing, add(log, "one\n"), nothing, log.unlink, nothing, add(log, "two\n"))
    assert followed.lines == ["one", "two"]
    assert followed.told == ["no such file or directory"] * 2


def test_what_takes_the_name_of_the_file(log: Path) -> None:
    """A FIFO or a directory is not read, and hangs nobody; the file is read on."""
    log.write_text("one\n")
    old = log.with_name("log.1")

    def plant() -> None:
        log.rename(old)
        log.mkdir()

    followed = Followed(log, plant, nothing, add(old, "two\n"), log.rmdir, add(log, "three\n"))
    assert followed.lines == ["one", "two", "three"]
    assert followed.told[0] == "is not a regular file"


def test_no_file_is_left_open(log: Path) -> None:
    """However often it is rotated."""
    log.write_text("one\n")
    before = len(list(Path("/proc/self/fd").iterdir()))

    def rotate() -> None:
        log.rename(log.with_name("log.1"))
        log.write_text("another\n")

    assert Followed(log, *[rotate] * 20).lines == ["one", *["another"] * 20]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@given(st.lists(st.sampled_from(["line", "half", "rename", "copytruncate", "nothing"]), max_size=40))
def test_each_line_is_read_once(what: list[str]) -> None:
    """Whatever is written, renamed and truncated, so long as one look comes between two rotations."""
    with TemporaryDirectory() as directory:
        writer = Writer(Path(directory, "log"))
        followed = Followed(writer.path, *(getattr(writer, each) for each in what), writer.line, writer.close)
    assert followed.lines == writer.written


class Writer:
    """Writes numbered lines as the watcher's own file sink does: where it was, until it has seen the rename."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", buffering=1)
        self._half = ""
        self._was_truncated = False
        self.written: list[str] = []

    def nothing(self) -> None:
        """Let time pass."""

    def half(self) -> None:
        """Begin a line, or go on with it."""
        self._write("half a line ")
        self._half += "half a line "

    def line(self) -> None:
        """End a line, in the file where it was begun."""
        number = f"line {len(self.written)}"
        self._write(f"{number}\n")
        self.written.append(self._half + number)
        self._half = ""

    def rename(self) -> None:
        """Rotate, where the last rotation has been seen."""
        if self.path.exists():
            self.path.rename(self.path.with_suffix(".1"))

    def copytruncate(self) -> None:
        """Truncate, between two lines."""
        if not self._half and self.path.exists():
            os.truncate(self.path, 0)

    def close(self) -> None:
        """End."""
        self._file.close()

    def _write(self, text: str) -> None:
        if not self._half and not self.path.exists():
            self._file.close()
            self._file = self.path.open("a", buffering=1)
        self._file.write(text)
        self._file.flush()


@given(st.lists(st.binary(max_size=20)))
def test_lines_end_at_newlines_only(pieces: list[bytes]) -> None:
    """However the bytes come; other breaks of lines are text, and what is not UTF-8 is spelled out."""
    lines = Lines()
    found = [line for piece in pieces for line in lines.feed(piece)] + lines.rest()
    whole = b"".join(pieces).split(b"\n")
    expected = [line.lstrip(b"\0").decode("utf-8", "backslashreplace") for line in whole]
    assert found == expected[:-1] + [line for line in expected[-1:] if line]


def test_a_long_line_is_cut(tmp_path: Path) -> None:
    """Of a line that does not end, no more is kept than its limit, and that it was cut is shown."""
    path = tmp_path / "log"
    path.write_bytes(b"one\n" + b"x" * (LONGEST + 1) + b"\n" + b"y" * LONGEST + b"\n" + b"z" * 10 * LONGEST)
    with path.open("rb") as file:
        lines = [line for batch in read(file.fileno()) for line in batch]
    assert lines == ["one", "x" * LONGEST + "\u2026", "y" * LONGEST, "z" * LONGEST + "\u2026"]


def test_a_line_without_end_takes_no_memory() -> None:
    """Gigabytes without a newline may come from anywhere."""
    lines = Lines()
    for _ in range(100):
        assert lines.feed(b"x" * LONGEST) == []
    assert len(lines._half) == LONGEST
