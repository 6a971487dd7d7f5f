import os
from pathlib import Path

import pytest

from rules.alerts import Step
from watcher.state import LogTail

ONE, TWO = "0123456789abcdef", "fedcba9876543210"


def line(event: str, episode: str) -> str:
    """Make a line of a log."""
    return f'{{"event":"{event}","episode":"{episode}"}}\n'


@pytest.mark.parametrize(
    "form",
    [
        '{{"event":"{event}","kind":"stale","episode":"{episode}"}}\n',
        "event={event} kind=stale episode={episode}\n",
        '{{"event":{{"action":"{event}"}},"lockwarden":{{"episode":"{episode}"}}}}\n',
    ],
    ids=["json", "logfmt", "ecs"],
)
def test_a_line_is_found_in_any_format(form: str, tmp_path: Path) -> None:
    """What counts is that one line has both the event and the episode."""
    path = tmp_path / "log"
    path.write_text(form.format(event="alert.firing", episode=ONE) + form.format(event="alert.resolved", episode=TWO))
    is_logged = LogTail(str(path))
    found = {(step, episode) for step in Step for episode in (ONE, TWO) if is_logged(step, episode)}
    assert found == {(Step.FIRING, ONE), (Step.RESOLVED, TWO)}


def test_half_a_line_is_no_line(tmp_path: Path) -> None:
    """What a kill cut off has not been said."""
    path = tmp_path / "log"
    path.write_text(line("alert.firing", ONE) + line("alert.resolved", ONE).rstrip("\n"))
    assert LogTail(str(path))(Step.FIRING, ONE)
    assert not LogTail(str(path))(Step.RESOLVED, ONE)


def test_only_the_end_is_read(tmp_path: Path) -> None:
    """A log of any size costs the same."""
    path = tmp_path / "log"
    path.write_text(line("alert.firing", ONE))
    with path.open("a") as stream:
        stream.write("\n" * (2 << 20) + line("alert.firing", TWO))
    assert not LogTail(str(path))(Step.FIRING, ONE)
    assert LogTail(str(path))(Step.FIRING, TWO)


def test_a_log_that_cannot_be_read(tmp_path: Path) -> None:
    """Absent, a link, a directory or a FIFO: nothing is known, and nobody waits."""
    (tmp_path / "log").write_text(line("alert.firing", ONE))
    (tmp_path / "link").symlink_to(tmp_path / "log")
    os.mkfifo(tmp_path / "fifo")
    for name in ("absent", "link", ".", "fifo"):
        assert not LogTail(str(tmp_path / name))(Step.FIRING, ONE)
