import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from rules.model import PaneRef
from watcher.events import Sessions, Unreachable
from watcher.sources.tmux.server import TmuxOptions
from watcher.sources.tmux.servers import Census, ServerSearch
from watcher.sources.tmux.watch import Health

if TYPE_CHECKING:
    from tests.watcher.sources.tmux.conftest import Recorder, TmuxServer

MakeServer = Callable[..., "TmuxServer"]
Recording = Callable[..., AbstractAsyncContextManager["Recorder"]]

OURS = os.geteuid()


def options_for(*servers: "TmuxServer", timeout: float = 20.0, slow_look: float = 1000.0) -> TmuxOptions:
    """Ask only these, and so seldom of our own accord that a test sees what comes of events."""
    return TmuxOptions(sockets=tuple(server.socket for server in servers), timeout=timeout, slow_look=slow_look)


def test_the_first_look_is_complete_when_start_returns(tmux_server: MakeServer, recording: Recording) -> None:
    """The first verdicts are passed after `start`: by then every server has answered."""
    servers = [tmux_server(name) for name in "abc"]
    for server in servers:
        server.start()

    async def main() -> None:
        async with recording(options_for(*servers)) as recorder:
            assert recorder.sockets(OURS) == frozenset(server.socket for server in servers)
            assert all(len(recorder.panes(server.socket)) == 1 for server in servers)

    asyncio.run(main())


def test_sessions_that_come_and_go_are_told(tmux_server: MakeServer, recording: Recording) -> None:
    """Each change is told without being asked for, and no slow look is waited for."""
    server = tmux_server()
    first = server.start("first")

    async def main() -> None:
        async with recording(options_for(server)) as recorder:
            second = await asyncio.to_thread(server.start, "second")
            await recorder.until(lambda: recorder.panes(server.socket) == {first: "first", second: "second"})
            await asyncio.to_thread(server.run, "kill-session", "-t", "second")
            await recorder.until(lambda: recorder.panes(server.socket) == {first: "first"})

    asyncio.run(main())


def test_a_session_that_is_renamed_is_told_by_the_slow_look(tmux_server: MakeServer, recording: Recording) -> None:
    """No terminal comes or goes with it."""
    server = tmux_server()
    pane = server.start("first")

    async def main() -> None:
        async with recording(options_for(server, slow_look=0.2)) as recorder:
            await asyncio.to_thread(server.run, "rename-session", "-t", "first", "second")
            await recorder.until(lambda: recorder.panes(server.socket) == {pane: "second"})

    asyncio.run(main())


def test_a_session_that_ends_by_itself_is_told(tmux_server: MakeServer, recording: Recording) -> None:
    """An agent that ends takes its session with it."""
    server = tmux_server()
    server.start("first")
    pane = server.start("second", "exec sleep 1000")
    agent = int(server.show("#{pane_pid}", pane))

    async def main() -> None:
        async with recording(options_for(server)) as recorder:
            os.kill(agent, signal.SIGKILL)
            await recorder.until(lambda: pane not in recorder.panes(server.socket))

    asyncio.run(main())


def test_a_pane_that_is_killed_where_nobody_looks_is_told(tmux_server: MakeServer, recording: Recording) -> None:
    """It is not the active one of its window, and its session stays."""
    server = tmux_server()
    first = server.start("first")
    other = server.start("other")
    pane = server.run("split-window", "-d", "-t", other, "-P", "-F", "#{pane_id}", "exec sleep 1000")
    server.run("select-pane", "-t", other)

    async def main() -> None:
        async with recording(options_for(server)) as recorder:
            recorder.watch.watch_panes([PaneRef(server.socket, server.pid, pane)])
            await asyncio.to_thread(server.run, "kill-pane", "-t", pane)
            await recorder.until(lambda: set(recorder.panes(server.socket)) == {first, other})

    asyncio.run(main())


def test_a_pane_that_is_respawned_goes_on_to_be_watched(tmux_server: MakeServer, recording: Recording) -> None:
    """It keeps its number, its process is another; the end of that one is told too."""
    server = tmux_server()
    server.start("first")
    pane = server.run("split-window", "-d", "-P", "-F", "#{pane_id}", "exec sleep 1000")

    async def main() -> None:
        async with recording(options_for(server)) as recorder:
            before = pid_of(recorder, server, pane)
            recorder.watch.watch_panes([PaneRef(server.socket, server.pid, pane)])
            await asyncio.to_thread(server.run, "respawn-pane", "-k", "-t", pane, "exec sleep 1000")
            await recorder.until(lambda: pid_of(recorder, server, pane) not in (0, before))
            await asyncio.to_thread(server.run, "kill-pane", "-t", pane)
            await recorder.until(lambda: pane not in recorder.panes(server.socket))

    asyncio.run(main())


def test_a_pane_that_remains_after_its_program_is_told_dead(tmux_server: MakeServer, recording: Recording) -> None:
    """With `remain-on-exit` no session ends and no pane goes; it only dies."""
    server = tmux_server()
    server.start("first")
    server.run("set-option", "-g", "remain-on-exit", "on")
    pane = server.run("split-window", "-d", "-P", "-F", "#{pane_id}", "exec sleep 1000")

    async def main() -> None:
        async with recording(options_for(server)) as recorder:
            recorder.watch.watch_panes([PaneRef(server.socket, server.pid, pane)])
            os.kill(pid_of(recorder, server, pane), signal.SIGKILL)
            await recorder.until(lambda: pane not in recorder.panes(server.socket))
            answer = recorder.answer(server.socket)
            assert isinstance(answer, Sessions)
            assert [found.dead for found in answer.panes if found.pane == pane] == [True]

    asyncio.run(main())


def test_without_pidfds_a_pane_is_looked_at_again_and_again(
    tmux_server: MakeServer, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor left, or none of that kind in this system: a killed pane is found a little later."""
    server = tmux_server()
    server.start("first")
    pane = server.run("split-window", "-d", "-P", "-F", "#{pane_id}", "exec sleep 1000")
    monkeypatch.setattr("watcher.sources.tmux.panes.open_pidfd", lambda _pid: -1)

    async def main() -> None:
        async with recording(options_for(server)) as recorder:
            recorder.watch.watch_panes([PaneRef(server.socket, server.pid, pane)])
            await asyncio.to_thread(server.run, "kill-pane", "-t", pane)
            await recorder.until(lambda: pane not in recorder.panes(server.socket))

    asyncio.run(main())


def test_a_pane_that_nobody_wants_any_more_is_let_go(tmux_server: MakeServer, recording: Recording) -> None:
    """The lock that named it is gone: its pidfd is closed."""
    server = tmux_server()
    pane = server.start("first")

    async def main() -> None:
        async with recording(options_for(server)) as recorder:
            descriptors = psutil.Process().num_fds()
            refs = [PaneRef(server.socket, server.pid, pane)]
            recorder.watch.watch_panes(refs)
            assert psutil.Process().num_fds() == descriptors + 1
            recorder.watch.drop_panes(refs)
            assert psutil.Process().num_fds() == descriptors

    asyncio.run(main())


def test_a_server_that_ends_is_told_and_its_successor_too(tmux_server: MakeServer, recording: Recording) -> None:
    """The same socket, another run: the numbers begin again, and the answer says which run it is of."""
    server = tmux_server()
    server.start("first")

    async def main() -> None:
        async with recording(options_for(server)) as recorder:
            before = recorder.answer(server.socket)
            await asyncio.to_thread(server.run, "kill-server")
            await recorder.until(lambda: recorder.sockets(OURS) == frozenset())
            recorder.forget()
            await asyncio.to_thread(server.start, "first")
            await recorder.until(lambda: recorder.panes(server.socket))
            after = recorder.answer(server.socket)
            assert isinstance(before, Sessions)
            assert isinstance(after, Sessions)
            assert after.server == server.pid != before.server
            assert after.panes[0].pane == before.panes[0].pane == "%0"
            assert not recorder.health

    asyncio.run(main())


def test_a_server_that_is_killed_is_told(tmux_server: MakeServer, recording: Recording) -> None:
    """It leaves its socket behind, on which nobody listens."""
    server = tmux_server()
    server.start("first")

    async def main() -> None:
        async with recording(options_for(server)) as recorder:
            os.kill(server.pid, signal.SIGKILL)
            await recorder.until(lambda: recorder.sockets(OURS) == frozenset())

    asyncio.run(main())


def test_the_first_server_of_a_user_is_found(tmux_server: MakeServer, stranger: int, recording: Recording) -> None:
    """Not even the socket directory is there at first; its coming is seen, and then the socket in it."""
    directory = Path(f"/tmp/tmux-{stranger}")
    server = tmux_server(directory / "default", stranger)

    async def main() -> None:
        async with recording(TmuxOptions(timeout=20, slow_look=1000), [stranger]) as recorder:
            assert recorder.sockets(stranger) == frozenset()
            await asyncio.to_thread(directory.mkdir, mode=0o700)
            os.chown(directory, stranger, stranger)
            await asyncio.to_thread(server.start)
            await recorder.until(lambda: recorder.panes(server.socket))
            second = tmux_server(directory / "second", stranger)
            await asyncio.to_thread(second.start)
            await recorder.until(lambda: recorder.panes(second.socket))

    asyncio.run(main())


def test_a_server_elsewhere_is_found_by_the_slow_look(
    tmux_server: MakeServer, directory: Path, stranger: int, recording: Recording
) -> None:
    """No directory tells of a socket that may be anywhere; the process table does, when it is looked at."""
    os.chown(directory, stranger, stranger)
    server = tmux_server("s", stranger)

    async def main() -> None:
        async with recording(TmuxOptions(timeout=20, slow_look=0.2), [stranger]) as recorder:
            await asyncio.to_thread(server.start)
            await recorder.until(lambda: recorder.panes(server.socket))

    asyncio.run(main())


def test_users_can_be_added(tmux_server: MakeServer, directory: Path, stranger: int, recording: Recording) -> None:
    """A lock of another owner was seen: that owner's servers are looked for too, once."""
    os.chown(directory, stranger, stranger)
    server = tmux_server("s", stranger)
    server.start()

    async def main() -> None:
        async with recording(TmuxOptions(timeout=20, slow_look=1000), [stranger + 1]) as recorder:
            assert recorder.sockets(stranger) is None
            recorder.watch.add_uid(stranger)
            await recorder.until(lambda: recorder.panes(server.socket))
            assert recorder.sockets(stranger) == frozenset({server.socket})
            recorder.forget()
            recorder.watch.add_uid(stranger)
            recorder.watch.ask()
            await recorder.until(lambda: recorder.sockets(stranger))

    asyncio.run(main())


def test_ask_has_everything_asked_afresh(tmux_server: MakeServer, recording: Recording) -> None:
    """What is said after a question was asked after it: which servers there are, and what each of them has."""
    server = tmux_server()
    server.start("first")

    async def main() -> None:
        async with recording(options_for(server)) as recorder:
            recorder.forget()
            before = time.monotonic()
            recorder.watch.ask()
            await recorder.until(lambda: recorder.sockets(OURS) is not None and recorder.answer(server.socket))
            await recorder.until(lambda: all_asked_after(recorder, before))

    asyncio.run(main())


def test_a_hint_while_a_question_is_in_flight_makes_one_more(
    tmux_server: MakeServer, directory: Path, recording: Recording, until: Callable[[Callable[[], object]], object]
) -> None:
    """The answer that is on its way may be older than the change."""
    server = tmux_server()
    server.start("first")
    binary = directory / "slow"
    held = (
        f"if [ -e {directory}/hold ]; then touch {directory}/held; until [ -e {directory}/go ]; do sleep 0.01; done; fi"
    )
    binary.write_text(f'#!/bin/sh\nanswer=$(tmux "$@")\n{held}\necho "$answer"')
    binary.chmod(0o755)
    options = TmuxOptions(sockets=(server.socket,), timeout=20, slow_look=1000, binary=str(binary))

    async def main() -> None:
        async with recording(options) as recorder:
            (directory / "hold").touch()
            recorder.watch.ask()
            await asyncio.to_thread(until, (directory / "held").exists)
            await asyncio.to_thread(server.start, "second")
            (directory / "go").touch()
            await recorder.until(lambda: len(recorder.panes(server.socket)) == 2)

    asyncio.run(main())


def test_a_refusal_is_not_believed_at_once(tmux_server: MakeServer, directory: Path, recording: Recording) -> None:
    """A server that is about to end refuses too: it is asked once more before anything is said."""
    server = tmux_server()
    server.start("first")
    binary = directory / "moody"
    moody = f'if [ -e {directory}/moody.once ]; then exec tmux "$@"; fi; touch {directory}/moody.once; exit 1'
    binary.write_text(f"#!/bin/sh\n{moody}\n")
    binary.chmod(0o755)
    options = TmuxOptions(sockets=(server.socket,), timeout=20, slow_look=1000, binary=str(binary))

    async def main() -> None:
        async with recording(options) as recorder:
            assert recorder.panes(server.socket)
            assert not any(isinstance(answer, Unreachable) for answer in recorder.answers(server.socket))
            assert not recorder.health

    asyncio.run(main())


def test_idle_it_starts_no_process(
    tmux_server: MakeServer, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking which servers there are, and finding the same, runs no tmux, and nothing is said."""
    server = tmux_server()
    server.start("first")
    looks: list[object] = []
    started: list[object] = []
    census = ServerSearch.census

    def look(self: ServerSearch, uids: Iterable[int]) -> dict[int, Census]:
        looks.append(uids)
        return census(self, uids)

    def refuse(*args: object, **_options: object) -> None:
        started.append(args)
        raise OSError("nothing is to be started")

    monkeypatch.setattr(ServerSearch, "census", look)

    async def main() -> None:
        async with recording(options_for(server)) as recorder:
            recorder.watch._terminals.close()  # those of other tests
            recorder.forget()
            looks.clear()
            with monkeypatch.context() as spying:
                spying.setattr(subprocess, "Popen", refuse)
                while len(looks) < 10:
                    recorder.watch._survey.want()
                    await asyncio.sleep(0.01)
            assert not started
            assert not recorder.events

    asyncio.run(main())


def test_many_hints_make_few_questions(tmux_server: MakeServer, recording: Recording) -> None:
    """One question in flight a server: hints that come meanwhile are one more, together."""
    server = tmux_server()
    server.start("first")

    async def main() -> None:
        async with recording(options_for(server)) as recorder:
            await asyncio.to_thread(server.start, "second")
            await recorder.until(lambda: len(recorder.panes(server.socket)) == 2)
            recorder.forget()
            for _ in range(1000):
                recorder.watch.ask()
            await asyncio.to_thread(server.run, "kill-session", "-t", "second")
            await recorder.until(lambda: len(recorder.panes(server.socket)) == 1)
            assert len(recorder.events) < 20

    asyncio.run(main())


def test_a_server_that_hangs_is_unknown_until_it_answers(tmux_server: MakeServer, recording: Recording) -> None:
    """It is told once that it hangs and once that it is back; other servers do not suffer, and nothing is made up."""
    hung, well = tmux_server("hung"), tmux_server("well")
    hung.start("first")
    well.start("first")
    pid = hung.pid

    async def main() -> None:
        async with recording(options_for(hung, well, timeout=0.5)) as recorder:
            before = recorder.answer(hung.socket)
            os.kill(pid, signal.SIGSTOP)
            recorder.watch.ask()
            await asyncio.to_thread(well.start, "second")
            await recorder.until(lambda: len(recorder.panes(well.socket)) == 2)
            reason = f"the tmux server on {hung.socket} did not answer in 0.5 s"
            await recorder.until(lambda: recorder.answer(hung.socket) == Unreachable(reason))
            recorder.forget()
            await recorder.until(lambda: recorder.answer(hung.socket) == Unreachable(reason))
            assert not recorder.health
            os.kill(pid, signal.SIGCONT)
            await recorder.until(lambda: recorder.answer(hung.socket) == before)
            assert [(change.state, change.subject) for change in recorder.health] == [(Health.RECOVERED, hung.socket)]
            assert recorder.sockets(OURS) in (None, frozenset({hung.socket, well.socket}))

    asyncio.run(main())


def test_a_server_that_hangs_from_the_start_holds_nobody_up(tmux_server: MakeServer, recording: Recording) -> None:
    """`start` returns when its time is over, and says that it did not answer."""
    hung = tmux_server()
    hung.start("first")
    os.kill(hung.pid, signal.SIGSTOP)

    async def main() -> None:
        async with recording(options_for(hung, timeout=0.5)) as recorder:
            assert isinstance(recorder.answer(hung.socket), Unreachable)
            assert [change.state for change in recorder.health] == [Health.DEGRADED]

    asyncio.run(main())


def test_a_socket_that_is_deleted_makes_its_server_unknown(tmux_server: MakeServer, recording: Recording) -> None:
    """The sessions are there still, and nobody can ask: neither the list of servers nor the last answer stands."""
    server = tmux_server()
    server.start("first")
    pid = server.pid

    async def main() -> None:
        async with recording(options_for(server)) as recorder:
            await asyncio.to_thread(Path(server.socket).unlink)
            await recorder.until(lambda: isinstance(recorder.sockets(OURS), Unreachable))
            await recorder.until(lambda: isinstance(recorder.answer(server.socket), Unreachable))
            assert [change.state for change in recorder.health] == [Health.DEGRADED]
            os.kill(pid, signal.SIGTERM)
            recorder.watch.ask()
            await recorder.until(lambda: recorder.sockets(OURS) == frozenset())
            await recorder.until(lambda: recorder.health[-1].state is Health.RECOVERED)

    asyncio.run(main())


def test_beside_a_server_that_cannot_be_asked_the_others_are(tmux_server: MakeServer, recording: Recording) -> None:
    """What one server has is known for certain, whatever becomes of another; and when that ends, it is told."""
    well, lost = tmux_server("well"), tmux_server("lost")
    well.start("first")
    lost.start("first")

    async def main() -> None:
        async with recording(options_for(well, lost)) as recorder:
            await asyncio.to_thread(Path(lost.socket).unlink)
            await recorder.until(lambda: isinstance(recorder.sockets(OURS), Unreachable))
            assert recorder.reachable(OURS) == {well.socket}
            await asyncio.to_thread(well.start, "second")
            await recorder.until(lambda: len(recorder.panes(well.socket)) == 2)
            await asyncio.to_thread(well.run, "kill-server")
            await recorder.until(lambda: recorder.reachable(OURS) == frozenset())
            await recorder.until(lambda: isinstance(recorder.answer(well.socket), Unreachable))
            assert isinstance(recorder.sockets(OURS), Unreachable)

    asyncio.run(main())


def test_a_server_whose_terminals_are_not_seen_is_asked_every_second(
    tmux_server: MakeServer, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in a container, or there is no inotify: that is said once, and changes are told all the same."""
    server = tmux_server()
    server.start("first")
    monkeypatch.setattr("watcher.sources.tmux.terminals._devpts_of", str)  # each process has another

    async def main() -> None:
        async with recording(options_for(server)) as recorder:
            await asyncio.to_thread(server.start, "second")
            await recorder.until(lambda: len(recorder.panes(server.socket)) == 2)
            assert [(change.state, change.subject) for change in recorder.health] == [
                (Health.DEGRADED, f"{server.socket} (unseen)")
            ]

    asyncio.run(main())


def test_switched_off_nothing_is_known(recording: Recording) -> None:
    """`--no-tmux`: no server is looked for, and that says nothing about sessions. It is no trouble either."""

    async def main() -> None:
        async with recording(TmuxOptions(enabled=False), [OURS]) as recorder:
            recorder.watch.add_uid(OURS + 1)
            recorder.watch.ask()
            assert isinstance(recorder.sockets(OURS), Unreachable)
            assert isinstance(recorder.sockets(OURS + 1), Unreachable)
            assert len(recorder.events) == 2
            assert not recorder.health

    asyncio.run(main())


def test_close_leaves_nothing_behind(tmux_server: MakeServer, recording: Recording) -> None:
    """No client, no descriptor, no timer: also where a server hangs, and a question is open."""
    server, hung = tmux_server("s"), tmux_server("hung")
    server.start("first")
    hung.start("first")
    os.kill(hung.pid, signal.SIGSTOP)
    us = psutil.Process()
    children, descriptors = set(us.children()), us.num_fds()

    async def main() -> int:
        async with recording(options_for(server, hung, timeout=0.5)) as recorder:
            recorder.watch.ask()
            assert set(us.children()) > children
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1
    assert set(us.children()) == children
    assert us.num_fds() == descriptors


def pid_of(recorder: "Recorder", server: "TmuxServer", pane: str) -> int:
    """Return the process of a pane, 0 where it is not there or dead."""
    answer = recorder.answer(server.socket)
    assert isinstance(answer, Sessions)
    return next((found.pid for found in answer.panes if found.pane == pane and not found.dead), 0)


def all_asked_after(recorder: "Recorder", moment: float) -> bool:
    """Whether the newest word of each kind answers a question that was put after a moment."""
    newest = {type(event): event for event in recorder.events}
    return len(newest) > 1 and all(getattr(event, "asked", 0.0) > moment for event in newest.values())
