import asyncio
import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from watcher.sources.tmux.server import TmuxOptions

if TYPE_CHECKING:
    from tests.watcher.sources.tmux.conftest import Recorder, TmuxServer

MakeServer = Callable[..., "TmuxServer"]
Recording = Callable[..., AbstractAsyncContextManager["Recorder"]]
Until = Callable[[Callable[[], object]], object]


def sockets_of(pid: int) -> list[str]:
    """The sockets that a process has: where it listens, and a connection for each client."""
    links: list[str] = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            links.append(str(link.readlink()))
    return [link for link in links if link.startswith("socket:")]


def fingerprint(server: "TmuxServer") -> dict[str, str]:
    """All of a tmux that its user could see change."""
    windows = "#{session_id}:#{window_id}:#{window_linked_sessions}:#{pane_id}:#{pane_pid}:#{window_layout}"
    return {
        "clients": server.run("list-clients"),
        "hooks": server.run("show-hooks", "-g"),
        "options": server.run("show-options", "-g"),
        "server options": server.run("show-options", "-s"),
        "window options": server.run("show-options", "-gw"),
        "environment": server.run("show-environment", "-g"),
        "sessions": server.run("list-sessions", "-F", "#{session_id}:#{session_attached}:#{session_last_attached}"),
        "panes": server.run("list-panes", "-a", "-F", windows),
        "buffers": server.run("list-buffers"),
        "keys": server.run("list-keys"),
        "connections": f"{len(sockets_of(server.pid))}",
    }


def test_the_users_tmux_is_not_touched(
    tmux_server: MakeServer, directory: Path, stranger: int, recording: Recording, until: Until
) -> None:
    """No connection, client, option, hook, window or attached session of theirs: before, while and after."""
    os.chown(directory, stranger, stranger)
    server = tmux_server("s", stranger)
    server.start("first")
    server.start("second")
    server.run("set-hook", "-g", "session-created", "display-message hello")
    server.run("set-option", "-g", "destroy-unattached", "off")
    before = fingerprint(server)
    others = set(psutil.Process().children())  # another test's may still be about

    async def main() -> None:
        async with recording(TmuxOptions(sockets=(server.socket,), timeout=20), [stranger]) as recorder:
            await asyncio.to_thread(until, lambda: fingerprint(server) == before)
            await asyncio.to_thread(until, lambda: not set(psutil.Process().children()) - others)
            recorder.watch.ask()
            await recorder.until(lambda: len(recorder.panes(server.socket)) == 2)

    asyncio.run(main())
    until(lambda: fingerprint(server) == before)


def test_a_server_ends_with_its_last_session_though_it_is_watched(
    tmux_server: MakeServer, recording: Recording
) -> None:
    """Nothing of ours keeps a server alive."""
    server = tmux_server()
    server.start("first")
    pid = server.pid

    async def main() -> None:
        async with recording(TmuxOptions(sockets=(server.socket,), timeout=20)) as recorder:
            await asyncio.to_thread(server.run, "kill-session", "-t", "first")
            await recorder.until(lambda: recorder.sockets(os.geteuid()) == frozenset())

    asyncio.run(main())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
