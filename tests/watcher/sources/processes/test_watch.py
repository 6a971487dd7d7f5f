import asyncio
import os
import select
import signal
from collections.abc import Callable

import pytest

from rules.model import Liveness
from tests.watcher.sources.processes.world import (
    Processes,
    descriptors,
    kill,
    kill_child,
    line_of,
    needs_linux,
    nobody_announces,
    run_script,
    watching,
)
from watcher.sources.processes.exits import ExitNotifier, best_notifier
from watcher.sources.processes.pidfd import PidfdNotifier
from watcher.sources.processes.watch import probe

pytestmark = [needs_linux, pytest.mark.usefixtures("polled_often")]

either = pytest.mark.parametrize("notifier", [best_notifier, nobody_announces])
Notifier = Callable[[], ExitNotifier | None]

RECYCLED = """
import asyncio, json, subprocess, sys, time
from rules.model import Moment
from watcher.sources.processes.exits import best_notifier
from watcher.sources.processes.watch import ProcessWatch

def start(last):
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(last))
    return subprocess.Popen(["sleep", "1000"])

async def main(polled, how):
    said = []
    watch = ProcessWatch(
        asyncio.get_running_loop(),
        lambda event: said.append([event.fact.state, event.fact.identity == one]),
        lambda *_: None,
        lambda: Moment(time.time(), time.monotonic()),
        notifier=(lambda: None) if polled else best_notifier,
    )
    child = start(499)
    one = watch.watch(500, with_agent=False).identity
    child.kill()
    child.wait()
    child = start(499)
    assert child.pid == 500
    if how == "asked":
        fact = watch.watch(500, with_agent=False)
        said.append([fact.state, fact.identity == one])
    while not said:
        await asyncio.sleep(0.01)
    if how == "asked":
        child.kill()
        while len(said) < 3:
            await asyncio.sleep(0.01)
    print(json.dumps([said, sorted(watch.pids)]))
    watch.close()
    child.kill()
    child.wait()

asyncio.run(main(sys.argv[1] == "polled", sys.argv[2]))
"""


@either
def test_the_end_of_a_process_is_posted(processes: Processes, notifier: Notifier) -> None:
    """After kill -9, reaped or not, one event says that the process which bore the pid is DEAD, and no more."""

    async def scenario() -> None:
        pid = processes.start().pid
        async with watching(notifier) as here:
            fact = here.watch.watch(pid, with_agent=False)
            assert fact.state is Liveness.ALIVE
            kill(pid)
            await here.until(lambda: here.events)
            (event,) = here.events
            assert (event.pid, event.fact.state) == (pid, Liveness.DEAD)
            assert event.fact.identity == fact.identity is not None
            assert not here.watch.pids

    asyncio.run(scenario())


@either
def test_the_end_of_anothers_child_is_posted(processes: Processes, notifier: Notifier) -> None:
    """A process whose parent is not us, and does not reap it, is no different."""

    async def scenario() -> None:
        parent = processes.start("sh", "-c", "sleep 1000 & echo $!; exec sleep 1000")
        pid = int(line_of(parent))
        async with watching(notifier) as here:
            here.watch.watch(pid, with_agent=False)
            kill(pid)
            await here.until(lambda: here.dead() == [pid])

    asyncio.run(scenario())


@either
def test_the_dead_are_not_watched(processes: Processes, notifier: Notifier) -> None:
    """A pid without a process, and a zombie, are DEAD at once; nothing is posted or kept."""

    async def scenario() -> None:
        async with watching(notifier) as here:
            for pid in (processes.dead(), processes.zombie(), 0, 2**31):
                assert here.watch.watch(pid, with_agent=False).state is Liveness.DEAD
            assert not here.watch.pids
            assert not here.events

    asyncio.run(scenario())


def test_watching_twice_is_watching_once(processes: Processes) -> None:
    """A pid under watch takes one descriptor however often it is asked for, and ends once."""

    async def scenario() -> None:
        pid = processes.start().pid
        async with watching() as here:
            before = descriptors()
            facts = [here.watch.watch(pid, with_agent=False) for _ in range(3)]
            assert facts[0] == facts[1] == facts[2]
            assert facts[0].identity == probe(pid).identity
            assert descriptors() == before + 1
            kill(pid)
            await here.until(lambda: here.events)
            assert here.dead() == [pid]
            assert descriptors() == before

    asyncio.run(scenario())


@either
def test_what_is_forgotten_is_not_told(processes: Processes, notifier: Notifier) -> None:
    """After `forget` the end of a process is nobody's news, and its descriptor is free."""

    async def scenario() -> None:
        forgotten, watched = processes.start().pid, processes.start().pid
        async with watching(notifier) as here:
            before = descriptors()
            here.watch.watch(forgotten, with_agent=False)
            here.watch.forget(forgotten)
            here.watch.forget(forgotten)
            assert descriptors() == before
            here.watch.watch(watched, with_agent=False)
            kill_child(forgotten)
            kill(watched)
            await here.until(lambda: here.events)
            assert here.dead() == [watched]

    asyncio.run(scenario())


def test_many_end_at_once(processes: Processes) -> None:
    """When a whole group is killed, each of its processes is told once."""

    async def scenario() -> None:
        count = 300
        group, pids = processes.many(count)
        async with watching() as here:
            for pid in pids:
                here.watch.watch(pid, with_agent=False)
            os.killpg(group, signal.SIGKILL)
            await here.until(lambda: len(here.events) >= count)
            assert sorted(here.dead()) == sorted(pids)

    asyncio.run(scenario())


def test_an_end_is_announced_once(processes: Processes) -> None:
    """A pidfd stays readable for ever; the loop is not woken by it again."""

    async def scenario() -> None:
        pid = processes.start().pid
        async with watching() as here:
            here.watch.watch(pid, with_agent=False)
            kill(pid)
            await here.until(lambda: here.events)
            assert here.watch._notifier is not None
            readable, _, _ = select.select([here.watch._notifier], [], [], 0)
            assert not readable

    asyncio.run(scenario())


def test_closing_lets_go_of_everything(processes: Processes) -> None:
    """After `close` no descriptor is left, and no news comes."""

    async def scenario() -> None:
        pid = processes.start().pid
        before = descriptors()
        async with watching() as here:
            here.watch.watch(pid, with_agent=True)
            assert here.watch._notifier is not None
            waited_on = here.watch._notifier.fileno()
        assert not asyncio.get_running_loop().remove_reader(waited_on)
        assert descriptors() == before
        here.watch.close()
        kill(pid)
        await asyncio.sleep(0)
        assert not here.events

    asyncio.run(scenario())


def test_a_copy_of_a_pidfd_announces_nothing(processes: Processes) -> None:
    """A fork of ours may still have what we let go of: that must not wake the loop."""

    async def scenario() -> None:
        forgotten, watched = processes.start().pid, processes.start().pid
        async with watching() as here:
            here.watch.watch(forgotten, with_agent=False)
            assert isinstance(here.watch._notifier, PidfdNotifier)
            copy = os.dup(here.watch._notifier._pidfds[forgotten])
            here.watch.forget(forgotten)
            kill_child(forgotten)
            here.watch.watch(watched, with_agent=False)
            kill_child(watched)
            await here.until(lambda: here.dead() == [watched])
            os.close(copy)

    asyncio.run(scenario())


@either
def test_who_hears_of_an_end_may_ask_and_forget(processes: Processes, notifier: Notifier) -> None:
    """From within `post` the watch may be used, and every other end of the same moment is still told."""

    async def scenario() -> None:
        async with watching(notifier) as here:
            pids = [processes.start().pid for _ in range(5)]
            asked = []

            def ask() -> None:
                for pid in pids:
                    asked.append(here.watch.watch(pid, with_agent=False).state)
                    here.watch.forget(pid)

            here.heard = ask
            for pid in pids:
                here.watch.watch(pid, with_agent=False)
            for pid in pids:
                kill_child(pid)
            await here.until(lambda: set(here.dead()) == set(pids))
            assert set(asked) == {Liveness.DEAD}
            assert not here.watch.pids

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["held", "polled"])
def test_a_pid_recycled_while_watched(new_pids: tuple[str, ...], how: str) -> None:
    """When the pid has a new bearer before we looked, the old one's end is posted, and the new one not watched."""
    said, watched = run_script(RECYCLED, how, "heard", within=new_pids)
    assert said == [["dead", True]]
    assert watched == []


@pytest.mark.parametrize("how", ["held", "polled"])
def test_a_pid_recycled_before_it_is_asked_for(new_pids: tuple[str, ...], how: str) -> None:
    """Asked for again, the old bearer's end is posted before the new one is returned, and that is watched."""
    said, watched = run_script(RECYCLED, how, "asked", within=new_pids)
    assert said == [["dead", True], ["alive", False], ["dead", False]]
    assert watched == []


def test_a_recheck_posts_nothing_new(processes: Processes) -> None:
    """Looking again at what is as it was says nothing."""

    async def scenario() -> None:
        pid = processes.start().pid
        async with watching(nobody_announces) as here:
            here.watch.watch(pid, with_agent=False)
            here.watch.recheck()
            await here.until(lambda: not here.watch._due)
            assert not here.events
            assert here.watch.pids == {pid}

    asyncio.run(scenario())
