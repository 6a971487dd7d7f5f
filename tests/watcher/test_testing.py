"""The fakes that are shipped for programs that embed the watcher."""

import ast
import asyncio
import os
import textwrap
from collections.abc import Coroutine
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from rules.alerts import Step, Transition
from rules.model import Evidence, Kind, Verdict
from rules.resolution import Resolution
from tests.actors import DEADLINE
from watcher import Lock, Watcher, detect_collisions, find_all_locks, testing
from watcher.settings import Settings
from watcher.settings.tree import Tmux
from watcher.sinks.pipeline import Journal
from watcher.testing import FakeWatcher, Recorder, dead_pid, write_lock


def test_the_example_holds() -> None:
    """What the documentation of the module shows is what happens."""
    assert testing.__doc__ is not None
    example = textwrap.dedent(testing.__doc__.split("::\n\n")[1].split("\n\n")[0])
    code = compile(example, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(code, CodeType)
    names: dict[str, object] = {"FakeWatcher": FakeWatcher}
    run = FunctionType(code, names)()
    assert isinstance(run, Coroutine)
    asyncio.run(asyncio.wait_for(run, DEADLINE))
    transition = names["transition"]
    assert isinstance(transition, Transition)
    assert (transition.step, transition.alert.finding.kind) == (Step.FIRING, Kind.STALE)


def test_a_day_of_one_worker() -> None:
    """Each thing that can be had happen leads to what the real watcher would say of it."""

    async def play() -> None:
        async with asyncio.timeout(DEADLINE), FakeWatcher() as watcher:
            watcher.tmux("%5 $1 ada")
            watcher.write("ada", 10, "ada")
            watcher.end(10)
            assert [view.verdict for view in watcher.locks()] == [Verdict.HELD_BY_SESSION]

            watcher.write("ada", 11)
            assert (await anext(watcher)).alert.finding.evidence is Evidence.TAKEOVER
            watcher.remove("ada")
            watcher.pass_time(1.0)
            assert (await anext(watcher)).resolution is Resolution.RELEASED
            assert not watcher.locks()
            assert not watcher.firing()

            watcher.garble("bob")
            assert watcher.firing() == []
            watcher.pass_time(1.5)
            assert (await anext(watcher)).alert.finding.kind == Kind.INVALID
            watcher.write("bob", 12, "%5")
            assert (await anext(watcher)).resolution is Resolution.READABLE

            watcher.tmux()
            watcher.pass_time(1.0)
            assert [alert.finding.kind for alert in watcher.firing()] == [Kind.ORPHAN]

    asyncio.run(play())


def test_iteration_waits_for_what_is_posted_and_ends_with_the_block() -> None:
    """As with the real watcher, a reader in a task of its own sees each transition, and then the end."""

    async def play() -> list[str]:
        async with asyncio.timeout(DEADLINE):
            async with FakeWatcher() as watcher:
                reader = asyncio.create_task(read(watcher))
                await asyncio.sleep(0)
                watcher.write("ada", 10)
                watcher.end(10)
            return await reader

    async def read(watcher: FakeWatcher) -> list[str]:
        return [transition.alert.finding.worker async for transition in watcher]

    assert asyncio.run(play()) == ["ada"]


def test_settings_count() -> None:
    """Where tmux is switched off nobody answers for a session."""
    watcher = FakeWatcher(Settings(tmux=Tmux(enabled=False)))
    watcher.tmux()
    watcher.write("ada", 10, "%5")
    watcher.end(10)
    assert [view.verdict for view in watcher.locks()] == [Verdict.UNVERIFIABLE]


def test_it_can_do_all_that_the_real_one_can() -> None:
    """A program that is given the one in place of the other finds every public name."""
    assert {name for name in vars(Watcher) if not name.startswith("_")} <= {*dir(FakeWatcher)}
    assert hasattr(FakeWatcher(), "dropped")


def test_locks_of_every_kind_on_disk(workspace: Path) -> None:
    """A scene for `scan`, `clean` and the library: nobody's, ours, an orphan's, with the sessions that there are."""
    gone = dead_pid()
    assert write_lock(workspace / "stale", gone, "%1") == workspace / "stale" / ".runtime" / "agent.lock"
    write_lock(workspace / "held", os.getpid(), "%2")
    write_lock(workspace / "orphan", os.getpid(), "gone")
    write_lock(workspace / "session", gone, "%3", ago=3600.0)
    found = detect_collisions(workspace, ["%2", "%3"])
    assert sorted((finding.worker, finding.kind) for finding in found) == [("orphan", "orphan"), ("stale", "stale")]
    record = find_all_locks(workspace)[str(workspace / "session")]
    assert (record.pid, record.session_id, record.hostname) == (gone, "%3", "")
    assert Lock(workspace / "held", settings=Settings(tmux=Tmux(enabled=False))).status() == "locked (by us)"


def test_a_recorder_keeps_what_a_watcher_says(workspace: Path) -> None:
    """The sink can be waited for, and has every record in its order."""
    recorder = Recorder()
    journal = Journal([recorder])
    write_lock(workspace / "ada", dead_pid())

    async def play() -> None:
        settings = Settings(tmux=Tmux(enabled=False))
        async with asyncio.timeout(DEADLINE), Watcher(workspace, settings, journal=journal) as watcher:
            await anext(watcher)

    asyncio.run(play())
    assert recorder.wait("alert.firing").event == "alert.firing"
    events = ["watcher.started", "lock.acquired", "alert.firing", "watcher.stopped"]
    recorder.wait(events[-1])
    assert [record.event for record in recorder.records] == events
    with pytest.raises(TimeoutError, match=r"no alert\.repeated came; these did: watcher\.started, lock\.acquired"):
        recorder.wait("alert.repeated", timeout=0.01)
    journal.close()
