import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from watcher.events import Sessions
from watcher.sources.tmux import link as tmux_link
from watcher.sources.tmux.server import Question, Server, TmuxOptions
from watcher.sources.tmux.terminals import TerminalChanges, Terminals

if TYPE_CHECKING:
    from tests.watcher.sources.tmux.conftest import Recorder, TmuxServer

MakeServer = Callable[..., "TmuxServer"]
Recording = Callable[..., AbstractAsyncContextManager["Recorder"]]
Until = Callable[[Callable[[], object]], object]

DEADLINE = 30.0


@pytest.fixture
def server(tmux_server: MakeServer, directory: Path, stranger: int, monkeypatch: pytest.MonkeyPatch) -> "TmuxServer":
    """The server of a user who has no other terminal, watched without pidfds: only its own terminals tell of it."""
    os.chown(directory, stranger, stranger)
    monkeypatch.setattr("watcher.sources.tmux.panes.open_pidfd", lambda _pid: -1)
    made = tmux_server("s", stranger)
    made.start("first")
    return made


def only_by_terminals(server: "TmuxServer") -> TmuxOptions:
    """No slow look comes in time."""
    return TmuxOptions(sockets=(server.socket,), timeout=20, slow_look=1000)


@pytest.mark.parametrize(
    "ending",
    [
        ["kill-session", "-t", "other"],
        ["kill-window", "-t", "other"],
        ["kill-pane", "-t", "other"],
        ["run-shell", "kill -9 $(tmux -S #{socket_path} display-message -p -t other '##{pane_pid}')"],
    ],
)
def test_whatever_ends_a_pane_takes_its_terminal(
    server: "TmuxServer", stranger: int, recording: Recording, ending: list[str]
) -> None:
    """Also where the program in it ignores SIGHUP and lives on."""
    deaf = server.start("other", "trap '' HUP; exec sleep 1000")
    agent = int(server.show("#{pane_pid}", deaf))

    async def main() -> None:
        async with recording(only_by_terminals(server), [stranger]) as recorder:
            await asyncio.to_thread(server.run, *ending)
            await recorder.until(lambda: set(recorder.panes(server.socket).values()) == {"first"})

    try:
        asyncio.run(main())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(agent, signal.SIGKILL)


@pytest.mark.parametrize("how", [["split-window", "-d"], ["new-window", "-d"], ["new-session", "-d"]])
def test_a_new_pane_brings_a_new_terminal(
    server: "TmuxServer", stranger: int, recording: Recording, how: list[str]
) -> None:
    """In whatever place; and what it brought is told again when it goes."""

    async def main() -> None:
        async with recording(only_by_terminals(server), [stranger]) as recorder:
            await asyncio.to_thread(server.run, *how, "exec sleep 1000")
            await recorder.until(lambda: set(recorder.panes(server.socket)) == {"%0", "%1"})
            await asyncio.to_thread(server.run, "kill-pane", "-t", "%1")
            await recorder.until(lambda: set(recorder.panes(server.socket)) == {"%0"})

    asyncio.run(main())


def test_a_pane_that_outlives_its_program_loses_its_terminal(
    server: "TmuxServer", stranger: int, recording: Recording
) -> None:
    """With `remain-on-exit` it is dead; when it is respawned it has another, or the same number again."""
    server.run("set-option", "-g", "remain-on-exit", "on")
    pid = int(server.show("#{pane_pid}"))

    async def main() -> None:
        async with recording(only_by_terminals(server), [stranger]) as recorder:
            os.kill(pid, signal.SIGKILL)
            await recorder.until(lambda: not recorder.panes(server.socket))
            await asyncio.to_thread(server.run, "respawn-pane", "-t", "%0", "exec sleep 1000")
            await recorder.until(lambda: recorder.panes(server.socket))

    asyncio.run(main())


def test_a_session_that_leaves_its_panes_to_another_is_told(
    server: "TmuxServer", stranger: int, recording: Recording
) -> None:
    """In a session group no terminal goes with a session: such a server is asked every second."""
    server.run("new-session", "-d", "-t", "first", "-s", "twin")

    async def main() -> None:
        async with recording(only_by_terminals(server), [stranger]) as recorder:

            def names() -> set[str]:
                answer = recorder.answer(server.socket)
                return {pane.name for pane in answer.panes} if isinstance(answer, Sessions) else set()

            assert names() == {"first", "twin"}
            await asyncio.to_thread(server.run, "kill-session", "-t", "twin")
            await recorder.until(lambda: names() == {"first"})

    asyncio.run(main())


def test_the_terminals_of_others_are_no_hint(server: "TmuxServer", stranger: int, recording: Recording) -> None:
    """Somebody else logs in and out: the server is not asked."""

    async def main() -> None:
        async with recording(only_by_terminals(server), [stranger]) as recorder:
            seen: list[TerminalChanges] = []
            watch = Terminals(asyncio.get_running_loop(), seen.append)
            recorder.forget()
            ours = open_and_close()
            while ours not in {path for changes in seen for path in changes.gone}:  # noqa: ASYNC110 - its own news
                await asyncio.sleep(0.01)
            watch.close()
            assert not recorder.events
            await asyncio.to_thread(server.run, "new-session", "-d", "exec sleep 1000")
            await recorder.until(lambda: len(recorder.panes(server.socket)) == 2)

    asyncio.run(main())


def test_a_storm_of_terminals_makes_few_questions(
    server: "TmuxServer", stranger: int, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its user opens terminals outside tmux, again and again: each question in vain makes the next one wait longer."""
    put: list[Server] = []

    class Counted(Question):
        def __init__(self, options: TmuxOptions, server: Server) -> None:
            put.append(server)
            super().__init__(options, server)

    monkeypatch.setattr(tmux_link, "Question", Counted)

    async def main() -> None:
        async with recording(only_by_terminals(server), [stranger]) as recorder:
            (link,) = recorder.watch._links.values()
            put.clear()
            for _ in range(300):
                link.terminals_changed(TerminalChanges(frozenset({"/dev/pts/9999"}), frozenset({stranger})))
                await asyncio.sleep(0.005)
            assert 0 < len(put) < 20
            await asyncio.to_thread(server.run, "new-session", "-d", "exec sleep 1000")
            await recorder.until(lambda: len(recorder.panes(server.socket)) == 2)

    asyncio.run(main())


def test_a_terminal_that_goes_while_a_question_is_in_flight_makes_one_more(
    server: "TmuxServer", stranger: int, recording: Recording
) -> None:
    """The answer that is on its way may be the first to name it, and be older than its end."""

    async def main() -> None:
        async with recording(only_by_terminals(server), [stranger]) as recorder:
            (link,) = recorder.watch._links.values()
            terminal = await asyncio.to_thread(server.show, "#{pane_tty}", "%0")
            link._terminals = frozenset()
            recorder.forget()
            link.ask()
            link.terminals_changed(TerminalChanges(frozenset({terminal})))
            await recorder.until(lambda: len(recorder.answers(server.socket)) == 2)

    asyncio.run(main())


def test_events_that_were_lost_have_everything_asked(server: "TmuxServer", stranger: int, recording: Recording) -> None:
    """The kernel's queue was full: anything may have changed."""

    async def main() -> None:
        async with recording(only_by_terminals(server), [stranger]) as recorder:
            recorder.forget()
            recorder.watch._terminals_changed(TerminalChanges(lost=True))
            await recorder.until(lambda: recorder.answers(server.socket))

    asyncio.run(main())


def test_the_terminals_of_a_container_are_not_ours(until: Until) -> None:
    """It has numbers of its own: ours say nothing about them."""
    unshare = shutil.which("unshare")
    own = "mount -t devpts -o newinstance none /dev/pts && exec sleep 1000"
    if unshare is None or subprocess.run([unshare, "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs mount namespaces")

    async def main(ours: int, elsewhere: int, contained: int) -> None:
        terminals = Terminals(asyncio.get_running_loop(), lambda _changes: None)
        assert terminals.tell_of(ours)
        assert terminals.tell_of(elsewhere)
        assert not terminals.tell_of(contained)
        assert not terminals.tell_of(0)
        assert not terminals.tell_of(2**22 + 1)
        terminals.close()

    with contextlib.ExitStack() as stack:
        pids = [os.getpid()]
        for command in ("exec sleep 1000", own):
            process = stack.enter_context(subprocess.Popen([unshare, "--mount", "sh", "-c", command]))
            stack.callback(process.kill)
            until(lambda pid=process.pid: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")  # type: ignore[misc]
            pids.append(process.pid)
        asyncio.run(main(*pids))


def test_without_inotify_no_terminals_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every instance that the user may have is taken: then nobody's are, and nothing is left open."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("watcher.sources.tmux.terminals.INotify", refuse)

    async def main() -> None:
        terminals = Terminals(asyncio.get_running_loop(), lambda _changes: None)
        assert not terminals.tell_of(os.getpid())
        terminals.close()

    asyncio.run(main())


def open_and_close() -> str:
    """Have a terminal come and go; return which."""
    master, slave = os.openpty()
    path = os.ttyname(slave)
    os.close(slave)
    os.close(master)
    return path
