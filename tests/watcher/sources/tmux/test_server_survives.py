"""The users' servers outlive their being watched, whatever happens in them meanwhile.

Fifteen seconds of it; `LOCKWARDEN_STRESS=SECONDS` makes it longer.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from watcher.sources.tmux.server import TmuxOptions

if TYPE_CHECKING:
    from tests.watcher.sources.tmux.conftest import Recorder, TmuxServer

MakeServer = Callable[..., "TmuxServer"]
Recording = Callable[..., AbstractAsyncContextManager["Recorder"]]

SECONDS = float(os.environ.get("LOCKWARDEN_STRESS", "15"))


def hammer(server: "TmuxServer", second: str) -> None:
    """Make a session of two panes or windows; have all of it end in one moment, its agents first."""
    pids = [int(server.run("new-session", "-d", "-s", "a", "-P", "-F", "#{pane_pid}", "exec sleep 1000"))]
    pids.append(int(server.run(second, "-t", "a", "-P", "-F", "#{pane_pid}", "exec sleep 1000")))
    server.run("rename-session", "-t", "a", "b")
    for pid in reversed(pids):
        os.kill(pid, signal.SIGKILL)
    server.run("new-session", "-d", "-s", "c", ";", "new-window", "-t", "c", ";", "kill-session", "-t", "c")


@pytest.mark.timeout(SECONDS + 120)
def test_a_server_survives_being_watched(
    tmux_server: MakeServer, directory: Path, stranger: int, recording: Recording
) -> None:
    """Sessions begin, change and end at every moment at which a watcher begins or ends to look at their server.

    It is a stranger's, since what else looks at our own user's servers would be put to the test too.
    """
    chance = random.Random(0)  # noqa: S311 - no secret

    async def main(server: "TmuxServer") -> None:
        async with recording(TmuxOptions(sockets=(server.socket,), timeout=20), [stranger]):
            await asyncio.sleep(chance.random() * 0.05)

    async def rounds(server: "TmuxServer") -> None:
        hammering = asyncio.create_task(
            asyncio.to_thread(hammer, server, chance.choice(["split-window", "new-window"]))
        )
        while not hammering.done():
            await main(server)
        await hammering

    os.chown(directory, stranger, stranger)
    server = tmux_server("s", stranger)
    server.start("first")
    pid = server.pid
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        asyncio.run(rounds(server))
        assert server.pid == pid
