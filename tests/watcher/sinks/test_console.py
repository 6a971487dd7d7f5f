import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rules.model import Severity
from rules.resolution import Resolution
from watcher import records
from watcher.records import AlertFiring, AlertResolved, Record
from watcher.sinks.console import Console, wants_colour
from watcher.sinks.line import Line, Origin

Show = Callable[[Record], str]
Alert = Callable[..., AlertFiring]


@pytest.fixture
def show(line: Callable[[Record], Line], origin: Origin) -> Show:
    """Render a record without colour."""
    console = Console(colour=False)
    return lambda record: console(line(record).fields(origin))


@pytest.fixture
def terminal() -> Iterator[int]:
    """A descriptor that is a terminal."""
    with ExitStack() as stack:
        for fd in (fds := os.openpty()):
            stack.callback(os.close, fd)
        yield fds[1]


def test_an_alert_is_one_line_for_a_person(show: Show, alert: Alert) -> None:
    """When, how loud, what, whose, why, and what to do about it."""
    assert re.fullmatch(
        r"Apr  1 \d\d:\d\d:01  warning   firing     rig/polecats/ada"
        r"  lock is stale: process 4242 is gone and pane %5 does not exist"
        r"  -> lockwarden clean /srv/town/rig/polecats/ada",
        show(alert()),
    )


def test_the_columns_stand_under_each_other(show: Show, alert: Alert) -> None:
    """Once the longest worker was seen, each sentence begins in the same column."""
    show(alert(worker="a/much/longer/worker"))
    lines = [show(alert(worker=worker)) for worker in ("a", "a/much/longer/worker", "b/c")]
    lines.append(show(records.WatcherStopped(reason="SIGTERM", uptime_s=1)))
    assert len({re.search("lock is|stopped after", line).start() for line in lines if line}) == 1  # type: ignore[union-attr] # it is there


def test_one_very_long_worker_does_not_push_all_others_away(show: Show, alert: Alert) -> None:
    """The column grows to 40 characters and no further."""
    show(alert(worker="w" * 300))
    assert show(alert(worker="a")).index("lock is") < 90


def test_nothing_in_a_record_reaches_the_terminal(show: Show, alert: Alert) -> None:
    """Escape sequences, carriage returns and bidirectional controls are spelled out."""
    shown = show(alert(worker="a\x1b[2J\r\n\u202e", reason="\x9b31m\x07"))
    assert shown.isprintable()
    assert "a\\x1b[2J\\r\\n\\u202e" in shown
    assert "\\x9b31m\\x07" in shown


def test_a_resolved_alert_asks_for_nothing(show: Show, alert: Alert) -> None:
    """What is over has no hint."""
    firing = alert()
    fields = {name: getattr(firing, name) for name in firing.__struct_fields__ if name not in {"initial", "restored"}}
    resolved = AlertResolved(**fields | {"reason": Resolution.RELEASED, "ends_at": records.utc(0)})
    assert show(resolved).endswith("lock is no longer stale: the lock was released")


@pytest.mark.parametrize(
    ("severity", "colour"),
    [(Severity.WARNING, "\x1b[33m"), (Severity.ERROR, "\x1b[31m"), (Severity.CRITICAL, "\x1b[1;31m")],
)
def test_the_colour_follows_the_severity(
    severity: Severity, colour: str, alert: Alert, line: Callable[[Record], Line], origin: Origin
) -> None:
    """The word of the level and the event have the severity's colour, and what comes after has not."""
    shown = Console(colour=True)(line(alert(severity=severity)).fields(origin))
    assert f"{colour}{severity.value:8}\x1b[0m" in shown
    assert f"{colour}firing   \x1b[0m" in shown
    assert shown.endswith("\x1b[0m")


def test_without_colour_there_is_no_escape(show: Show, alert: Alert) -> None:
    """A file or a pipe gets plain text."""
    assert "\x1b" not in show(alert(severity=Severity.CRITICAL))


def test_fields_from_elsewhere_do_not_break_it() -> None:
    """A person's `tail` reads files in which anything may stand."""
    console = Console(colour=True)
    assert console({}) is not None
    assert "yesterday" in console({"timestamp": "yesterday", "level": "loud", "event": "x", "message": "y"})
    assert "0001" in console({"timestamp": "0001-01-01T00:00:00.000000Z"}) or console({"timestamp": "0001-01-01"})


def test_a_terminal_gets_colour(terminal: int) -> None:
    """By default where it can show it."""
    assert wants_colour(terminal, {"TERM": "xterm"})


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"NO_COLOR": "yes", "TERM": "xterm"}, {"TERM": "dumb"}])
def test_who_wants_no_colour_gets_none(environ: dict[str, str], terminal: int) -> None:
    """NO_COLOR with any value, and a terminal that says that it cannot."""
    assert not wants_colour(terminal, environ)


def test_an_empty_no_color_is_none(terminal: int) -> None:
    """no-color.org: present and not an empty string."""
    assert wants_colour(terminal, {"NO_COLOR": "", "TERM": "xterm"})


def test_a_pipe_gets_no_colour() -> None:
    """What is no terminal is read by programs."""
    with Path(os.devnull).open() as null:
        assert not wants_colour(null.fileno(), {"TERM": "xterm"})
