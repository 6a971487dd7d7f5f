"""The watcher as an object in another program."""

import asyncio
import threading
from pathlib import Path

import pytest

from rules.alerts import Step
from rules.resolution import Resolution
from tests.actors import DEADLINE, Agent
from watcher import Watcher
from watcher.errors import JobError
from watcher.settings import Settings
from watcher.settings.tree import Tmux
from watcher.sinks.line import Line
from watcher.sinks.pipeline import Journal
from watcher.sinks.sink import SinkEnded

_NO_TMUX = Settings(tmux=Tmux(enabled=False))


def test_gives_each_step_of_each_alert(workspace: Path) -> None:
    """A program that iterates over the watcher gets the alert when the owner dies, and its end on release."""

    async def play() -> None:
        async with asyncio.timeout(DEADLINE), Watcher(workspace, _NO_TMUX) as watcher:
            with Agent(workspace / "ada", "--session", ""):
                while not watcher.locks():  # noqa: ASYNC110 - locks make no event of their own here
                    await asyncio.sleep(0)
            firing = await anext(watcher)
            assert (firing.step, firing.alert.finding.worker) == (Step.FIRING, "ada")
            assert [alert.finding.kind for alert in watcher.firing()] == ["stale"]
            (workspace / "ada" / ".runtime" / "agent.lock").unlink()
            assert (await anext(watcher)).resolution is Resolution.RELEASED
            assert watcher.locks() == []

    asyncio.run(play())


def test_ends_its_iteration_when_it_is_left(workspace: Path) -> None:
    """Whoever still iterates when the watcher is left comes to the end of the iteration."""

    async def play() -> list[object]:
        async with asyncio.timeout(DEADLINE):
            async with Watcher(workspace, _NO_TMUX) as watcher:
                reader = asyncio.create_task(_all(watcher))
            return await reader

    assert asyncio.run(play()) == []


async def _all(watcher: Watcher) -> list[object]:
    return [transition async for transition in watcher]


class _Leaver:
    """A reader that takes nothing until it is let go, and then is gone."""

    name = "leaver"

    def __init__(self) -> None:
        self.gate = threading.Event()

    def offer(self, _line: Line) -> bool:
        """Have the thread write."""
        return False

    def write(self, _line: Line) -> None:
        """Wait, and be gone."""
        self.gate.wait(DEADLINE)
        raise SinkEnded("broken pipe")

    def reopen(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def test_ends_when_its_last_reader_leaves_though_nothing_more_happens(workspace: Path) -> None:
    """That nobody takes the last line is found out after it was written; no event and no heartbeat is waited for."""
    sink = _Leaver()
    journal = Journal([sink])

    async def play() -> list[object]:
        async with asyncio.timeout(DEADLINE), Watcher(workspace, _NO_TMUX, journal=journal) as watcher:
            sink.gate.set()
            return await _all(watcher)

    assert asyncio.run(play()) == []
    journal.close()


def test_refuses_what_is_no_workspace(workspace: Path) -> None:
    """A workspace that is not there is an error on entering, with the way out."""

    async def play() -> None:
        async with Watcher(workspace / "nowhere"):
            pass

    with pytest.raises(JobError, match="name a directory that you may list"):
        asyncio.run(play())
