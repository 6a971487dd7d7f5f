import os
import sys
import threading
import time

import pytest

from rules.model import Liveness, ProcessFact
from tests.watcher.sources.processes.world import (
    DEADLINE,
    Processes,
    kill_child,
    needs_linux,
    needs_root,
    run_script,
    until,
)
from watcher.sources.processes.watch import describe, probe

pytestmark = needs_linux

AS_NOBODY = """
import ctypes, json, os, subprocess, sys
from watcher.sources.processes.watch import probe
for command in sys.argv[2:]:
    subprocess.run(command.split(), check=True)
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: a change of user takes /proc/self away
living, dead = probe(int(sys.argv[1])), probe(2**22 + 1)
print(json.dumps([living.state, living.identity.pid, bool(living.started_at), bool(living.identity.inode), dead.state]))
"""


def test_a_living_process_is_alive_and_started_when_it_did(processes: Processes) -> None:
    """A child is ALIVE, and its start is known to a clock tick, not to the second as by psutil."""
    before = time.time()
    pid = processes.start().pid
    after = time.time()
    fact = probe(pid)
    assert fact.state is Liveness.ALIVE
    assert fact.started_at is not None
    assert before - 0.02 <= fact.started_at <= after + 0.02


def test_a_reaped_process_is_dead(processes: Processes) -> None:
    """A pid that nobody bears is DEAD."""
    assert probe(processes.dead()) == ProcessFact(Liveness.DEAD)


def test_a_zombie_is_dead(processes: Processes) -> None:
    """A process that has ended is DEAD although its parent has not looked, and is still known for who it was."""
    fact = probe(processes.zombie())
    assert fact.state is Liveness.DEAD
    assert fact.identity is not None


@pytest.mark.parametrize("pid", [0, -1, 2**31 - 1, 2**31, 2**64, True, 1.0])
def test_what_can_be_no_pid_is_dead(pid: int) -> None:
    """Numbers that name no process are DEAD; `True` does not pass for init."""
    assert probe(pid) == ProcessFact(Liveness.DEAD)


def test_a_thread_is_no_process() -> None:
    """A number that has become a thread's id is DEAD: the process that bore it is gone."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        assert probe(thread.native_id) == ProcessFact(Liveness.DEAD)
        assert probe(os.getpid()).state is Liveness.ALIVE
    finally:
        stop.set()
        thread.join()


def test_a_process_whose_main_thread_left_is_alive(processes: Processes) -> None:
    """A zombie leader with a thread still running is a living process."""
    assert probe(processes.leaderless()).state is Liveness.ALIVE


def test_an_identity_is_of_one_process(processes: Processes) -> None:
    """Two looks at one process give one identity, and no two processes share one."""
    one, two = processes.start().pid, processes.start().pid
    assert probe(one).identity == probe(one).identity
    assert probe(one).identity != probe(two).identity


@needs_root
def test_another_users_process_is_alive(processes: Processes) -> None:
    """A process that may not be signalled is ALIVE, with all that its row says."""
    pid = processes.start().pid
    assert run_script(AS_NOBODY, pid) == ["alive", pid, True, True, "dead"]


@needs_root
def test_a_hidden_process_is_alive(processes: Processes) -> None:
    """Under hidepid=2 a process of another user is ALIVE: its pidfd says so, and identifies it."""
    pid = processes.start().pid
    hide = "mount -t proc -o hidepid=2 proc /proc"
    within = ("unshare", "-m")
    assert run_script(AS_NOBODY, pid, hide, within=within) == ["alive", pid, False, True, "dead"]


@needs_root
def test_without_proc_a_process_is_alive(processes: Processes) -> None:
    """Where /proc is not mounted the pidfd still tells alive from dead."""
    pid = processes.start().pid
    cover = "mount -t tmpfs none /proc"
    assert run_script(AS_NOBODY, pid, cover, within=("unshare", "-m")) == ["alive", pid, False, True, "dead"]


def test_without_descriptors_nothing_is_known(processes: Processes) -> None:
    """A look that finds no descriptor is UNKNOWN, for the living and the dead, and is over with the shortage."""
    code = """
import json, os, resource, sys
from watcher.sources.processes.watch import probe
resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    short = [probe(int(pid)).state for pid in sys.argv[1:]]
for descriptor in taken:
    os.close(descriptor)
print(json.dumps(short + [probe(int(pid)).state for pid in sys.argv[1:]]))
"""
    living, dead = processes.start().pid, processes.dead()
    assert run_script(code, living, dead) == ["unknown", "unknown", "alive", "dead"]


def test_a_recycled_pid_is_another_process(new_pids: tuple[str, ...]) -> None:
    """Who bears a pid next has another identity, by the pidfd's inode where there is one."""
    code = """
import json, subprocess
from watcher.sources.processes.watch import probe
def start(last):
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(last))
    child = subprocess.Popen(["sleep", "1000"])
    fact = probe(child.pid)
    child.kill()
    child.wait()
    return fact.identity
one, two = start(499), start(499)
print(json.dumps([one.pid, two.pid, one == two, one.inode == two.inode]))
"""
    one, two, same, same_inode = run_script(code, within=new_pids)
    assert (one, two) == (500, 500)
    assert not same
    assert not same_inode


def test_describe_gives_name_and_command_line(processes: Processes) -> None:
    """A process is named with its command line, cut to 200 characters, all of it printable."""
    process = processes.start(sys.executable, "-c", "input()", "one two", "\x1b[31m\n", "x" * 500)
    until(lambda: "one two" in describe(process.pid))
    name, _, line = describe(process.pid).partition(" (")
    assert name.startswith("python")
    assert r"one two \x1b[31m\n xxx" in line
    assert line.isprintable()
    assert len(line) == 200 + len(")")


def test_describe_of_nobody_is_empty(processes: Processes) -> None:
    """What is gone, or no pid at all, has no name; a zombie has no command line."""
    assert describe(processes.dead()) == ""
    assert describe(True) == ""  # noqa: FBT003 (as it would come from a lock)
    assert describe(2**40) == ""
    assert describe(processes.zombie()) == "true"


def test_a_killed_process_is_dead(processes: Processes) -> None:
    """After kill -9 the process is DEAD, reaped or not."""
    process = processes.start()
    kill_child(process.pid)
    assert probe(process.pid).state is Liveness.DEAD
    process.wait(DEADLINE)
    assert probe(process.pid).state is Liveness.DEAD
