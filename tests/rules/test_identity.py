from dataclasses import replace
from itertools import product

import pytest

from rules.identity import (
    RECYCLED_AFTER,
    Host,
    bore_before,
    process_state,
    same_owner,
    same_process,
    started_too_late,
)
from rules.model import Claim, Liveness, LockRecord, ProcessFact, ProcessIdentity, SessionRef, SessionState
from tests.rules.builders import claim, pane_ref
from watcher.testing import BOOT, DEAD, HOST, UNKNOWN, alive, ended, identity, record

ALIVE, GONE = Liveness.ALIVE, Liveness.DEAD
LIVING, LOST, UNHEARD = SessionState.ALIVE, SessionState.DEAD, SessionState.UNKNOWN


@pytest.mark.parametrize(
    ("hostname", "here"),
    [
        ("", True),
        ("vm", True),
        ("VM", True),
        ("vm.example.org", True),
        ("Vm.other.net", True),
        ("build", True),
        ("build.lan", True),
        ("vm2", False),
        ("v", False),
        ("example.vm", False),
    ],
)
def test_hosts_are_compared_by_first_label_without_case(hostname: str, *, here: bool) -> None:
    """A lock is of this host if unsigned, or signed with its name or an alias, by first label, without case."""
    assert Host("vm", ("Build.example.org",)).is_here(hostname) is here
    assert Host("VM.example.org", ("build",)).is_here(hostname) is here


@pytest.mark.parametrize(
    ("lock", "fact", "expected"),
    [
        (record(10), alive(10), Liveness.ALIVE),
        (record(10), DEAD, Liveness.DEAD),
        (record(10), ended(10), Liveness.DEAD),
        (record(10), UNKNOWN, Liveness.UNKNOWN),
        (record(10), None, Liveness.UNKNOWN),
        (record(0), None, Liveness.DEAD),
        (record(0), alive(10), Liveness.DEAD),
        (record(-1), None, Liveness.DEAD),
        (record(10), alive(10, started=RECYCLED_AFTER), Liveness.ALIVE),
        (record(10), alive(10, started=RECYCLED_AFTER + 0.1), Liveness.DEAD),
        (record(10, taken=None), alive(10, started=1000.0), Liveness.ALIVE),
        (record(10), ProcessFact(Liveness.ALIVE, identity(10)), Liveness.ALIVE),
        (record(10, hostname="elsewhere"), alive(10), Liveness.UNKNOWN),
        (record(10, hostname="elsewhere"), DEAD, Liveness.UNKNOWN),
        (record(0, hostname="elsewhere"), None, Liveness.UNKNOWN),
        (record(10, hostname="VM.example.org"), DEAD, Liveness.DEAD),
        (record(10, hostname=""), DEAD, Liveness.DEAD),
    ],
    ids=[
        "there",
        "no such pid, or a zombie",
        "seen to end",
        "the probe failed",
        "not probed",
        "no pid",
        "no pid, whoever is looked at",
        "a negative pid",
        "as young as clocks may err",
        "recycled",
        "recycled or not: the lock has no time",
        "recycled or not: the start is not known",
        "another host's pid, borne here",
        "another host's pid, not borne here",
        "another host's missing pid",
        "this host by its long name",
        "this host unsigned",
    ],
)
def test_the_state_of_a_recorded_process(lock: LockRecord, fact: ProcessFact | None, expected: Liveness) -> None:
    """The recorded process is dead only where that is known, and only if the lock is this host's."""
    assert process_state(lock, fact, HOST) is expected


def test_what_starts_within_the_error_of_clocks_is_not_too_late() -> None:
    """A start is too late from more than 2 s after the lock's time; unknown times are never too late."""
    lock = record(taken=0.0)
    assert not started_too_late(BOOT + 2.0, lock)
    assert started_too_late(BOOT + 2.001, lock)
    assert not started_too_late(None, lock)
    assert not started_too_late(BOOT + 100.0, record(taken=None))


def owner(
    pid: int,
    session_id: str = "",
    *,
    process: Liveness = ALIVE,
    pin: SessionRef | None = None,
    pane: str | None = None,
    server: int = 1,
    agent: int | None = None,
    descriptive: bool = False,
    hostname: str = "vm",
) -> Claim:
    """Make a claim by what tells owners apart."""
    ref = pane_ref(pane, server=server) if pane is not None else None
    made = claim(process, LIVING if session_id else SessionState.NONE, pid=pid, session_id=session_id)
    return replace(
        made,
        record=replace(made.record, hostname=hostname),
        pin=pin or ref,
        pane=ref,
        agent_identity=identity(agent) if agent is not None else None,
        descriptive=descriptive,
    )


ADA = SessionRef("/s", 1, "$1")
BOB = SessionRef("/s", 1, "$2")

OWNERS = {
    "the same pane": (owner(1, "%5", pane="%5"), owner(2, "%5", pane="%5"), True),
    "one number, on a server that hangs": (owner(1, "%5", pane="%5"), replace(owner(2, "%5"), session=UNHEARD), True),
    "one number, and the other's pane is gone": (
        owner(1, "%5", pane="%5"),
        replace(owner(2, "%5"), session=LOST),
        False,
    ),
    "one name, on a server that hangs": (owner(1, "ada", pin=ADA), replace(owner(2, "ada"), session=UNHEARD), False),
    "the same pane, by its session's name": (owner(1, "ada", pin=ADA, pane="%5"), owner(2, "%5", pane="%5"), True),
    "two panes": (owner(1, "%5", pane="%5"), owner(2, "%9", pane="%9"), False),
    "two panes, both writers gone": (
        owner(1, "%5", pane="%5", process=GONE),
        owner(2, "%9", pane="%9", process=GONE),
        False,
    ),
    "the same number on two servers": (
        owner(1, "%5", pane="%5", process=GONE),
        owner(2, "%5", pane="%5", server=2, process=GONE),
        False,
    ),
    "the same process": (owner(1), owner(1), True),
    "the same process in another pane": (owner(1, "%5", pane="%5"), owner(1, "%9", pane="%9"), True),
    "two processes": (owner(1), owner(2), False),
    "two processes, both gone": (owner(1, process=GONE), owner(2, process=GONE), False),
    "no process": (owner(0, process=GONE), owner(0, process=GONE), False),
    "the same session of several panes": (owner(1, "ada", pin=ADA, process=GONE), owner(2, "ada", pin=ADA), True),
    "the same session by name and by number": (owner(1, "ada", pin=ADA, process=GONE), owner(2, "$1", pin=ADA), True),
    "the same session, two processes there": (owner(1, "ada", pin=ADA), owner(2, "ada", pin=ADA), False),
    "one name, two sessions": (
        owner(1, "ada", pin=ADA, process=GONE),
        owner(2, "ada", pin=BOB, process=GONE),
        False,
    ),
    "one number, on a server and on the next": (
        replace(owner(1, "%5", process=GONE), session=LOST, former=pane_ref("%5")),
        owner(2, "%5", pane="%5", server=2, process=GONE),
        False,
    ),
    "a session nobody knows, by its name": (owner(1, "ada", process=GONE), owner(2, "ada"), True),
    "the same descriptive id": (
        owner(1, "rig/ada", process=GONE, descriptive=True),
        owner(2, "rig/ada", descriptive=True),
        False,
    ),
    "a session whose name looks descriptive": (
        owner(1, "rig/ada", pin=ADA, process=GONE, descriptive=True),
        owner(2, "rig/ada", pin=ADA, descriptive=True),
        True,
    ),
    "no session": (owner(1, process=GONE), owner(2), False),
    "the same agent behind two writers": (
        owner(1, "rig/ada", agent=7, descriptive=True, process=GONE),
        owner(2, "rig/ada", agent=7, descriptive=True),
        True,
    ),
    "two living processes of one agent": (owner(1, agent=7), owner(2, agent=7), False),
    "two agents behind two writers": (
        owner(1, "rig/ada", agent=7, descriptive=True, process=GONE),
        owner(2, "rig/ada", agent=8, descriptive=True),
        False,
    ),
    "one number on two hosts": (owner(1), owner(1, hostname="elsewhere", process=Liveness.UNKNOWN), False),
    "one session name on two hosts": (
        owner(1, "ada", pin=ADA, process=GONE),
        owner(2, "ada", hostname="elsewhere", process=Liveness.UNKNOWN),
        False,
    ),
    "one host by two names": (owner(1, hostname="VM"), owner(1, hostname="vm.example.org"), True),
    "one host, once unsigned": (owner(1, hostname=""), owner(1, hostname="vm"), True),
    "one other host by two names": (
        owner(1, hostname="far", process=Liveness.UNKNOWN),
        owner(1, hostname="FAR.example.org", process=Liveness.UNKNOWN),
        True,
    ),
}


@pytest.mark.parametrize(("one", "two", "same"), list(OWNERS.values()), ids=list(OWNERS))
def test_who_is_the_same_owner(one: Claim, two: Claim, *, same: bool) -> None:
    """Two claims are one owner's by pane, by process, by agent, or by session; in either order."""
    assert same_owner(one, two, HOST) is same
    assert same_owner(two, one, HOST) is same


INODE_ONLY, START_ONLY = ProcessIdentity(1, 77, 0), ProcessIdentity(1, 0, 500)
FULL, LATER = ProcessIdentity(1, 77, 500), ProcessIdentity(1, 88, 900)


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (FULL, FULL, True),
        (FULL, INODE_ONLY, True),
        (FULL, START_ONLY, True),
        (INODE_ONLY, START_ONLY, True),
        (FULL, LATER, False),
        (INODE_ONLY, LATER, False),
        (START_ONLY, LATER, False),
        (FULL, ProcessIdentity(1, 88, 500), False),
        (FULL, ProcessIdentity(2, 77, 500), False),
        (ProcessIdentity(1, 0, 0), ProcessIdentity(2, 0, 0), False),
    ],
)
def test_identities_are_compared_by_what_both_tell(one: ProcessIdentity, two: ProcessIdentity, *, same: bool) -> None:
    """The pidfd's inode tells processes apart, else the start; what only one identity has says nothing."""
    assert same_process(one, two) is same_process(two, one) is same
    first, second = replace(owner(1), identity=one), replace(owner(1), identity=two)
    assert one.pid != two.pid or same_owner(first, second, HOST) is same


def test_who_bore_a_number_before() -> None:
    """One process bore the number before another if it is another and started earlier, as far as that is known."""
    assert bore_before(FULL, LATER)
    assert bore_before(START_ONLY, LATER)
    assert not bore_before(LATER, FULL)
    assert not bore_before(FULL, FULL)
    assert not bore_before(INODE_ONLY, LATER)
    assert not bore_before(LATER, INODE_ONLY)


@pytest.mark.parametrize(("one", "two"), list(product(Liveness, repeat=2)))
def test_without_identities_a_number_is_one_process_if_both_are_in_one_state(one: Liveness, two: Liveness) -> None:
    """A dead and a living bearer of a number are not one process; nothing else is known of them."""
    assert same_owner(owner(1, process=one), owner(1, process=two), HOST) is (one is two)
