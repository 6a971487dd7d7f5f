"""The watcher as an object in another program."""

import asyncio
from pathlib import Path

import pytest

from rules.alerts import Step
from rules.resolution import Resolution
from tests.actors import DEADLINE, Agent
from watcher import Watcher
from watcher.errors import JobError
from watcher.settings import Settings
from watcher.settings.tree import Tmux

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


def test_refuses_what_is_no_workspace(workspace: Path) -> None:
    """A workspace that is not there is an error on entering, with the way out."""

    async def play() -> None:
        async with Watcher(workspace / "nowhere"):
            pass

    with pytest.raises(JobError, match="name a directory that you may list"):
        asyncio.run(play())
