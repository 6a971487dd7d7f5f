import asyncio
import errno
import os
import signal
import threading
from typing import NoReturn

import pytest

from rules.model import Liveness, ProcessFact
from tests.watcher.sources.processes.world import (
    Processes,
    kill_child,
    needs_linux,
    nobody_announces,
    run_script,
    watching,
)
from watcher.sources.processes import proctable
from watcher.sources.processes.exits import best_notifier
from watcher.sources.processes.watch import probe

pytestmark = [needs_linux, pytest.mark.usefixtures("polled_often")]

START = """
import asyncio, json, os, resource, signal, time
from rules.model import Moment
from watcher.sources.processes import watch as processes
from watcher.sources.processes.exits import raise_descriptor_limit

processes._POLL = 0.05
heard, identities, health = [], [], []

def hear(event):
    heard.append([event.pid, event.fact.state])
    identities.append(event.fact.identity)

def watch_processes(**options):
    return processes.ProcessWatch(
        asyncio.get_running_loop(),
        hear,
        lambda *said: health.append(said),
        lambda: Moment(time.time(), time.monotonic()),
        **options,
    )

def take_all():
    taken = []
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        return taken

async def until(fact):
    async with asyncio.timeout(30):
        while not fact():
            await asyncio.sleep(0.01)

def finish(watch, pids, **answers):
    watch.close()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    print(json.dumps({"heard": sorted(heard), "health": health, "pids": pids} | answers))
"""

FEW_DESCRIPTORS = """
async def main():
    pids = [os.fork() or signal.pause() for _ in range(60)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
    watch = watch_processes()
    states = [watch.watch(pid, with_agent=False).state for pid in pids]
    polled, spare = len(watch._polled), os.open("/dev/null", os.O_RDONLY)
    watch.recheck()
    told_once = len(health) == 1
    for pid in pids[:40]:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: len(heard) == 40 and not watch._polled)
    watch.recheck()
    for pid in pids[40:]:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: len(heard) == 60)
    finish(watch, pids, states=states, polled=polled, told_once=told_once)

asyncio.run(main())
"""

NO_DESCRIPTORS = """
async def main():
    pids = [os.fork() or signal.pause() for _ in range(2)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
    watch = watch_processes()
    taken = take_all()
    states = [watch.watch(pid, with_agent=True).state for pid in pids]
    os.kill(pids[0], signal.SIGKILL)
    for descriptor in taken:
        os.close(descriptor)
    await until(lambda: len(heard) == 2)
    agent = watch.watch(pids[1], with_agent=True).agent
    finish(watch, pids, states=states, agent_found=agent.identity.pid == os.getpid())

asyncio.run(main())
"""

NO_DESCRIPTORS_LATER = """
async def main():
    pids = [os.fork() or signal.pause()]
    resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
    watch = watch_processes(notifier=lambda: None)
    identity = watch.watch(pids[0], with_agent=False).identity
    taken = take_all()
    await until(lambda: heard)
    for descriptor in taken:
        os.close(descriptor)
    await until(lambda: len(heard) == 2)
    finish(watch, pids, same=identities == [identity, identity], in_order=[state for _, state in heard])

asyncio.run(main())
"""


@pytest.fixture(params=["proc", "psutil"])
def no_pidfds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Take the pidfds away, as a sandbox does; and then /proc too, as on another system."""

    def refuse(_: int) -> NoReturn:
        raise OSError(errno.EPERM, "not in this sandbox")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    if request.param == "psutil":
        monkeypatch.setattr(proctable, "read_row", proctable._read_by_psutil)
        monkeypatch.setattr(proctable, "executable", proctable._executable_by_psutil)
    return str(request.param)


@pytest.mark.usefixtures("no_pidfds")
def test_the_table_alone_tells_the_living_from_the_dead(processes: Processes) -> None:
    """Without pidfds a process is ALIVE and has an identity; a zombie and a free pid are DEAD."""
    pid = processes.start().pid
    fact = probe(pid)
    assert fact.state is Liveness.ALIVE
    assert fact.identity == probe(pid).identity is not None
    assert fact.started_at is not None
    assert probe(processes.zombie()).state is Liveness.DEAD
    assert probe(processes.dead()) == ProcessFact(Liveness.DEAD)


@pytest.mark.usefixtures("no_pidfds")
def test_the_table_alone_knows_a_thread() -> None:
    """Without pidfds a thread's id is no process, although it has a row."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        assert probe(thread.native_id) == ProcessFact(Liveness.DEAD)
    finally:
        stop.set()
        thread.join()


def test_the_table_alone_knows_a_process_without_its_leader(no_pidfds: str, processes: Processes) -> None:
    """Without pidfds a process whose main thread has ended is not taken for a zombie."""
    if no_pidfds == "proc":
        assert probe(processes.leaderless()).state is Liveness.ALIVE


@pytest.mark.usefixtures("no_pidfds")
def test_without_pidfds_ends_and_agents_are_found(processes: Processes) -> None:
    """The best notifier is none; each end is found by looking, the agent by the table; health says that once."""

    async def scenario() -> None:
        pids = [processes.start().pid for _ in range(3)]
        async with watching() as here:
            assert best_notifier() is None
            facts = [here.watch.watch(pid, with_agent=True) for pid in pids]
            agents = {fact.agent.identity.pid for fact in facts if fact.agent is not None}
            assert agents == {os.getpid()}
            kill_child(pids[0])
            await here.until(lambda: here.dead() == pids[:1])
            here.watch.recheck()
            assert [line.partition(":")[0] for line in here.health] == ["process"]
            assert here.watch.pids == {*pids[1:], os.getpid()}

    asyncio.run(scenario())


def test_more_are_polled_than_one_slice_takes(processes: Processes) -> None:
    """Polling is done in slices, and gets round to everyone."""

    async def scenario() -> None:
        group, pids = processes.many(200)
        async with watching(nobody_announces) as here:
            for pid in pids:
                here.watch.watch(pid, with_agent=False)
            os.killpg(group, signal.SIGKILL)
            await here.until(lambda: len(here.events) >= len(pids))
            assert sorted(here.dead()) == sorted(pids)

    asyncio.run(scenario())


def test_what_finds_no_descriptor_is_polled() -> None:
    """Some descriptors are left alone; past that processes are polled, told once, and held as soon as can be."""
    told = run_script(START + FEW_DESCRIPTORS)
    assert set(told["states"]) == {"alive"}
    assert 0 < told["polled"] < 60
    assert told["told_once"]
    assert told["heard"] == sorted([pid, "dead"] for pid in told["pids"])
    (component, reason, hint), recovered = told["health"]
    assert component == "process"
    assert "descriptors" in reason
    assert "LimitNOFILE" in hint
    assert recovered == ["process", "", ""]


def test_what_could_not_be_looked_at_is_looked_at_again() -> None:
    """With no descriptor at all every process is UNKNOWN, none is dead; each second we try again."""
    told = run_script(START + NO_DESCRIPTORS)
    assert told["states"] == ["unknown", "unknown"]
    assert sorted(told["heard"]) == sorted([[told["pids"][0], "dead"], [told["pids"][1], "alive"]])
    assert len(told["health"]) == 1
    assert told["agent_found"]


def test_a_failed_look_forgets_nobody() -> None:
    """A polled process that cannot be looked at is UNKNOWN until it can, and then the same as before."""
    told = run_script(START + NO_DESCRIPTORS_LATER)
    assert told["in_order"] == ["unknown", "alive"]
    assert told["same"]


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    """`raise_descriptor_limit` takes all that the hard limit gives."""
    code = """
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 100))
raise_descriptor_limit()
print(json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)))
"""
    assert run_script(START + code) == [100, 100]
