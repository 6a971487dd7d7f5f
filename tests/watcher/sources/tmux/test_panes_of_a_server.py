import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rules.model import Moment
from watcher.events import Pane, ServersSeen, Sessions, SessionsSeen, Unreachable
from watcher.sources.tmux.look import look
from watcher.sources.tmux.server import TmuxOptions, parse_panes

if TYPE_CHECKING:
    from tests.watcher.sources.tmux.conftest import TmuxServer

MakeServer = Callable[..., "TmuxServer"]
Clock = Callable[[], Moment]
Until = Callable[[Callable[[], object]], object]


def options_for(*servers: "TmuxServer", timeout: float = 20.0, binary: str = "tmux") -> TmuxOptions:
    """Ask only these servers."""
    return TmuxOptions(sockets=tuple(server.socket for server in servers), timeout=timeout, binary=binary)


def answers(options: TmuxOptions, clock: Clock) -> Mapping[str, Sessions | Unreachable]:
    """Look once, and return what each server answered."""
    seen = look(options, [os.geteuid()], clock)
    return {event.socket: event.answer for event in seen if isinstance(event, SessionsSeen)}


def panes(server: "TmuxServer", clock: Clock) -> tuple[Pane, ...]:
    """Return what a server that answers has."""
    answer = answers(options_for(server), clock)[server.socket]
    assert isinstance(answer, Sessions)
    return answer.panes


def script(path: Path, *lines: str) -> str:
    """Write a program."""
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return str(path)


def test_a_record_tells_all_about_a_pane() -> None:
    """Each line of the list is one pane, with its process, its session, and the run of the server."""
    text = b"%3:99:0:/dev/pts/4:$1:77:1700000000:we_i_rd: x\n%4:98:1::$2:77:1700000000:caf\xc3\xa9"
    assert parse_panes(text, "/of/{}".format) == Sessions(
        77,
        1_700_000_000.0,
        (Pane("%3", 99, False, "$1", "we_i_rd: x", "/of/99", "/dev/pts/4"), Pane("%4", 98, True, "$2", "café")),  # noqa: FBT003 - `dead`
    )


def test_a_newline_in_a_session_name_makes_no_pane() -> None:
    """Before tmux 3.2 a session name could hold a newline: the rest of it belongs to the name."""
    sessions = parse_panes(
        b"%3:99:0:/dev/pts/4:$1:77:1700000000:two\nlines\n%4:98:0:/dev/pts/5:$2:77:1700000000:next", str
    )
    assert sessions is not None
    assert [pane.name for pane in sessions.panes] == ["two\nlines", "next"]


@pytest.mark.parametrize("text", [b"", b"hello", b"%1:2:3:4"])
def test_what_is_no_list_is_not_taken_for_one(text: bytes) -> None:
    """A program that is not tmux proves nothing about sessions."""
    assert parse_panes(text, str) is None


def test_every_pane_of_every_session_is_listed(tmux_server: MakeServer, clock: Clock) -> None:
    """A look names each pane by `%N`, with its pid, its session by `$N` and by name, and when the server started."""
    server = tmux_server()
    first = server.start("one")
    second = server.start("two")
    third = server.run("split-window", "-d", "-t", second, "-P", "-F", "#{pane_id}", "exec sleep 1000")
    answer = answers(options_for(server), clock)[server.socket]
    assert isinstance(answer, Sessions)
    assert answer.server == server.pid
    assert answer.started_at == float(server.show("#{start_time}"))
    form = "#{pane_id} #{pane_pid} #{session_id} #{session_name}"
    assert {f"{p.pane} {p.pid} {p.session} {p.name}" for p in answer.panes} == {
        server.show(form, pane) for pane in (first, second, third)
    }
    assert not any(pane.dead for pane in answer.panes)


def test_odd_session_names_come_through(tmux_server: MakeServer, clock: Clock) -> None:
    """A session's name is what tmux itself calls it, whatever it was asked to be called."""
    server = tmux_server()
    for name in ("we:i.rd", "ü ber", "two\nlines", "tab\there", "##{pane_id}", "$(id)", "%0", "-dash", "a'b\"c"):
        server.run("new-session", "-d", "-s", name, "exec sleep 1000")
        server._pids.add(server.pid)
    called = {
        line.partition(" ")[0]: line.partition(" ")[2]
        for line in server.run("list-sessions", "-F", "#{session_id} #{session_name}").split("\n")
    }
    assert {pane.session: pane.name for pane in panes(server, clock)} == called
    assert len(called) == 9


def test_a_directory_name_forges_no_pane(tmux_server: MakeServer, directory: Path, clock: Clock, until: Until) -> None:
    """A path is printed by tmux as it is, newlines and all: what looks like a line of the list must not become one."""
    server = tmux_server()
    forged = f"%99:{os.getpid()}:0::$9:1:1:forged:end"
    hostile = directory / f"x\n{forged}\n:end\n"
    hostile.mkdir()
    pane = server.start("first", "-c", str(hostile), "exec sleep 1000")
    until(lambda: [found.path for found in panes(server, clock)] == [str(hostile)])  # its shell has to get there
    assert [found.pane for found in panes(server, clock)] == [pane]


def test_the_path_of_a_pane_is_where_its_foreground_process_is(
    tmux_server: MakeServer, directory: Path, clock: Clock, until: Until
) -> None:
    """A pane is in use where the agent in it works, not where its shell was started."""
    server = tmux_server()
    (directory / "worker").mkdir()
    agent = script(directory / "agent", f"cd {directory}/worker", f"touch {directory}/ready", "exec sleep 1000")
    server.start("first", "-c", str(directory), f"set -m; {agent}; true")
    until((directory / "ready").exists)
    assert [pane.path for pane in panes(server, clock)] == [str(directory / "worker")]


def test_a_pane_whose_program_has_ended_is_dead(tmux_server: MakeServer, clock: Clock, until: Until) -> None:
    """`remain-on-exit` keeps a pane on the screen, but nobody lives in it; respawned it is the same pane, alive."""
    server = tmux_server()
    server.start()
    server.run("set-option", "-g", "remain-on-exit", "on")
    pane = server.run("split-window", "-d", "-P", "-F", "#{pane_id}", "exec true")
    until(lambda: server.show("#{pane_dead}", pane) == "1")
    (dead,) = (found for found in panes(server, clock) if found.pane == pane)
    assert dead.dead
    server.run("respawn-pane", "-t", pane, "exec sleep 1000")
    (alive,) = (found for found in panes(server, clock) if found.pane == pane)
    assert not alive.dead
    assert alive.pid != dead.pid


def test_a_linked_window_is_listed_with_each_of_its_sessions(tmux_server: MakeServer, clock: Clock) -> None:
    """One pane in two sessions is alive under both, and goes on when one of them ends."""
    server = tmux_server()
    pane = server.start("one")
    server.start("two")
    server.run("link-window", "-s", "one:0", "-t", "two:9")
    assert {found.name for found in panes(server, clock) if found.pane == pane} == {"one", "two"}
    server.run("kill-session", "-t", "one")
    assert {found.name for found in panes(server, clock) if found.pane == pane} == {"two"}


def test_a_pane_that_moves_keeps_its_number(tmux_server: MakeServer, clock: Clock) -> None:
    """An agent that is moved to another session lives on, as the same pane of that session."""
    server = tmux_server()
    server.start("one")
    target = server.start("two")
    pane = server.run("split-window", "-d", "-t", "one:0", "-P", "-F", "#{pane_id}", "exec sleep 1000")
    server.run("join-pane", "-d", "-s", pane, "-t", target)
    assert [found.name for found in panes(server, clock) if found.pane == pane] == ["two"]


def test_a_server_without_sessions_answers_so(tmux_server: MakeServer, clock: Clock) -> None:
    """`no current target` is an answer: there is no session. It is not a failure."""
    server = tmux_server()
    server.start()
    server.run("set-option", "-g", "exit-empty", "off")
    server.run("kill-session", "-t", "first")
    assert answers(options_for(server), clock) == {server.socket: Sessions(server.pid, 0.0, ())}


def test_a_server_that_hangs_is_unreachable_and_keeps_nobody_waiting(tmux_server: MakeServer, clock: Clock) -> None:
    """A stopped server accepts and never answers; the other servers' answers come all the same."""
    hung, well = tmux_server("hung"), tmux_server("well")
    hung.start()
    well.start()
    os.kill(hung.pid, signal.SIGSTOP)
    seen = answers(options_for(hung, well, timeout=1.0), clock)
    assert seen[hung.socket] == Unreachable(f"the tmux server on {hung.socket} did not answer in 1 s")
    assert isinstance(seen[well.socket], Sessions)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("echo hello",), "did not answer: the client ended without a word"),
        (("echo broken >&2", "exit 1"), "did not answer: broken"),
        (("echo no current target >&2", "echo hello", "exit 1"), "did not answer: no current target"),
        (("printf 'hello\\n:end\\n'",), "gave an answer that is no list"),
        (("exec yes",), "answered with more than 8 MiB"),
    ],
)
def test_a_program_that_fails_proves_nothing(
    tmux_server: MakeServer, directory: Path, clock: Clock, lines: tuple[str, ...], reason: str
) -> None:
    """Only a whole list counts: what a failing, lying or endless tmux prints is no answer."""
    server = tmux_server()
    server.start()
    options = options_for(server, binary=script(directory / "broken", *lines))
    assert answers(options, clock) == {server.socket: Unreachable(f"the tmux server on {server.socket} {reason}")}


def test_without_a_tmux_program_a_server_cannot_be_asked(tmux_server: MakeServer, clock: Clock) -> None:
    """A server is there, and nobody can ask it: its sessions are not known to be gone."""
    server = tmux_server()
    server.start()
    answer = answers(options_for(server, binary="no-such-tmux"), clock)[server.socket]
    assert answer == Unreachable("tmux cannot be run: no program named no-such-tmux on PATH")


def test_without_a_tmux_program_and_without_servers_there_are_none(directory: Path, clock: Clock) -> None:
    """A machine without tmux says "none", and not that it does not know."""
    options = TmuxOptions(sockets=(str(directory / "s"),), binary="no-such-tmux")
    (seen,) = look(options, [os.geteuid()], clock)
    assert isinstance(seen, ServersSeen)
    assert seen.sockets == frozenset()


def test_switched_off_everything_is_unknown(clock: Clock) -> None:
    """`--no-tmux`: nothing is asked, and nothing is known."""
    seen = look(TmuxOptions(enabled=False), [1, 2], clock)
    assert [(event.uid, type(event.sockets)) for event in seen if isinstance(event, ServersSeen)] == [
        (1, Unreachable),
        (2, Unreachable),
    ]
