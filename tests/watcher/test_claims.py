from dataclasses import replace
from itertools import product

import pytest

from rules.identity import Host
from rules.model import Claim, Liveness, LockRecord, ProcessFact, SessionState, Verdict
from rules.verdict import LIVE, verdict
from tests.rules.builders import HELD, claim, pane_ref
from tests.watcher.answers import ME
from watcher.events import Reading
from watcher.registry.claims import Judge, may_be_live, named_pids, with_tmux_socket
from watcher.testing import DEAD, HOST, UNKNOWN, alive, at, ended, identity, record

JUDGE = Judge(HOST)


def opened(lock: LockRecord, fact: ProcessFact | None, *, judge: Judge = JUDGE) -> Claim:
    """Open a claim on a lock that was read at 1.0."""
    return judge.open(lock, Reading(lock, ME, fact, "/s"), at(1.0))


def test_a_claim_is_opened_from_what_was_read() -> None:
    """A claim has what the reading had, and wants tmux to be asked after it."""
    made = opened(record(10, "%5"), alive(10, agent=7))
    assert (made.seen, made.asked_after, made.uid, made.tmux_socket) == (at(1.0), 1.0, ME, "/s")
    assert (made.process, made.identity) == (Liveness.ALIVE, identity(10))
    assert (made.agent, made.agent_identity) == (Liveness.ALIVE, identity(7))


@pytest.mark.parametrize(
    ("session_id", "descriptive"), [("rig/ada", True), ("a/b/c", True), ("ada", False), ("%5", False), ("", False)]
)
def test_ids_that_describe_are_told_by_globs(session_id: str, *, descriptive: bool) -> None:
    """What matches a glob may be no session at all; the globs are a setting."""
    assert opened(record(10, session_id), alive(10)).descriptive is descriptive
    assert not opened(record(10, session_id), alive(10), judge=Judge(HOST, ())).descriptive


@pytest.mark.parametrize(
    ("fact", "process"),
    [
        (alive(10), Liveness.ALIVE),
        (alive(10, started=3.0), Liveness.DEAD),
        (ended(10), Liveness.DEAD),
        (DEAD, Liveness.DEAD),
        (UNKNOWN, Liveness.UNKNOWN),
        (None, Liveness.UNKNOWN),
    ],
)
def test_a_claim_is_what_its_probe_says(fact: ProcessFact | None, process: Liveness) -> None:
    """The first probe says if the owner is there; only one that is is remembered."""
    made = opened(record(10), fact)
    assert made.process is process
    assert (made.identity is not None) is (process is Liveness.ALIVE)


@pytest.mark.parametrize(
    ("fact", "process"),
    [
        (alive(10), Liveness.ALIVE),
        (ProcessFact(Liveness.ALIVE), Liveness.ALIVE),
        (alive(10, started=0.5), Liveness.DEAD),
        (alive(10, started=-9.0), Liveness.ALIVE),
        (ended(10), Liveness.DEAD),
        (ended(10, started=-9.0), Liveness.ALIVE),
        (ended(10, started=0.5), Liveness.DEAD),
        (DEAD, Liveness.DEAD),
        (UNKNOWN, Liveness.UNKNOWN),
    ],
    ids=[
        "the owner",
        "somebody",
        "a later bearer",
        "late news of an earlier bearer",
        "the owner's end",
        "the end of an earlier bearer",
        "the end of a later bearer",
        "nobody",
        "the probe failed",
    ],
)
def test_what_a_later_fact_says_of_an_owner_that_was_seen(fact: ProcessFact, process: Liveness) -> None:
    """An owner that was seen alive is the process of that identity, and no other bearer of the number."""
    assert JUDGE.with_pid(opened(record(10), alive(10)), 10, fact, at(2.0)).process is process


@pytest.mark.parametrize("fact", [alive(10), alive(10, started=-9.0), UNKNOWN, ended(10)])
def test_dead_is_for_good(fact: ProcessFact) -> None:
    """No later fact brings a dead owner back, or changes when tmux must have been asked."""
    dead = JUDGE.with_pid(opened(record(10), alive(10)), 10, DEAD, at(2.0))
    assert JUDGE.with_pid(dead, 10, fact, at(3.0)) == dead
    assert dead.asked_after == 2.0


def test_a_failed_probe_forgets_nothing() -> None:
    """An owner whose probe fails is the same owner when it is seen again."""
    seen = opened(record(10), alive(10))
    unknown = JUDGE.with_pid(seen, 10, UNKNOWN, at(2.0))
    assert JUDGE.with_pid(unknown, 10, alive(10), at(3.0)) == seen


def test_a_process_elsewhere_is_not_ours_to_judge() -> None:
    """A claim of another host, or whose pid is another's, learns nothing from a pid of this host."""
    far = opened(record(10, hostname="far"), None)
    assert JUDGE.with_pid(far, 10, DEAD, at(2.0)) == far
    here = opened(record(10), alive(10))
    assert JUDGE.with_pid(here, 11, DEAD, at(2.0)) == here


@pytest.mark.parametrize(
    ("fact", "agent"),
    [
        (alive(7), Liveness.ALIVE),
        (ended(7), Liveness.DEAD),
        (DEAD, Liveness.DEAD),
        (UNKNOWN, Liveness.UNKNOWN),
        (alive(7, started=9.0), Liveness.DEAD),
        (ended(7, started=-9.0), Liveness.ALIVE),
    ],
)
def test_the_agent_is_followed_by_its_own_pid(fact: ProcessFact, agent: Liveness) -> None:
    """The agent behind the writer lives and dies by itself; the writer is none the wiser."""
    made = JUDGE.with_pid(opened(record(10), alive(10, agent=7)), 7, fact, at(2.0))
    assert made.agent is agent
    assert made.process is Liveness.ALIVE


def test_a_dead_agent_stays_dead() -> None:
    """The next bearer of an agent's pid is not the agent."""
    made = JUDGE.with_pid(opened(record(10), alive(10, agent=7)), 7, DEAD, at(2.0))
    assert JUDGE.with_pid(made, 7, alive(7), at(3.0)).agent is Liveness.DEAD


def test_the_first_agent_is_kept() -> None:
    """Who adopts the writer later is not its agent; one that is caught late is."""
    late = JUDGE.with_process(opened(record(10), alive(10)), alive(10, agent=7), at(2.0))
    assert late.agent_identity == identity(7)
    assert JUDGE.with_process(late, alive(10, agent=8), at(3.0)).agent_identity == identity(7)


@pytest.mark.parametrize(
    ("made", "pids"),
    [
        (opened(record(10), alive(10)), {10}),
        (opened(record(10), UNKNOWN), {10}),
        (opened(record(10), DEAD), set()),
        (opened(record(-3), None), set()),
        (opened(record(10), alive(10, agent=7)), {10, 7}),
        (JUDGE.with_pid(opened(record(10), alive(10, agent=7)), 10, DEAD, at(2.0)), {7}),
        (JUDGE.with_pid(opened(record(10), alive(10, agent=7)), 7, DEAD, at(2.0)), {10}),
    ],
)
def test_the_pids_whose_end_matters(made: Claim, pids: set[int]) -> None:
    """A claim rests on its process and its agent until they are dead."""
    assert named_pids(made) == pids


@pytest.mark.parametrize(("process", "session", "agent"), list(product(Liveness, SessionState, Liveness)))
def test_what_may_be_live_is_not_to_be_forgotten(process: Liveness, session: SessionState, agent: Liveness) -> None:
    """A claim may be live unless it is known to be stale."""
    made = claim(process, session, agent)
    judged = verdict(process, session, agent)
    assert may_be_live(made) is (judged in LIVE or judged is Verdict.UNVERIFIABLE)
    assert may_be_live(replace(made, settled=False))


def test_the_owners_environment_corrects_where_its_session_is() -> None:
    """A session that was found on another server than the owner's is another session; others learn nothing."""
    pinned = replace(claim(session=SessionState.ALIVE), pin=pane_ref("%5"), pane=pane_ref("%5"))
    moved = with_tmux_socket(pinned, 10, "/t")
    assert (moved.tmux_socket, moved.pin, moved.pane) == ("/t", None, None)
    assert with_tmux_socket(pinned, 10, "/s") == replace(pinned, tmux_socket="/s")
    assert with_tmux_socket(pinned, 11, "/t") == pinned
    assert with_tmux_socket(moved, 10, "/u") == moved


def test_other_settings_open_another_eye() -> None:
    """A claim that is judged by other settings is this host's no more, or its id describes now."""
    elsewhere = Judge(Host("far"), ("ad*",)).revised(replace(HELD, record=record(10, "ada")))
    assert elsewhere.process is Liveness.UNKNOWN
    assert elsewhere.descriptive
