from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rules.alerts import Alert, Step, Transition
from rules.model import (
    Claim,
    EarlierClaim,
    Evidence,
    Liveness,
    LockRecord,
    PaneRef,
    ProcessIdentity,
    SessionState,
    Verdict,
)
from rules.resolution import Resolution
from rules.verdict import verdict_of
from tests.rules.builders import finding
from watcher.state.entries import Entry, Run, StoredAlert, StoredWorker, Written
from watcher.state.ledger import MOST_ENDED, Ledger
from watcher.testing import at, record


def run(boot: str = "one") -> Run:
    """Make the line of a run of one boot."""
    return Run(workspace="/w", host="vm", boot_id=boot, pid=1, at=1.0)


def alert(worker: str = "a", starts_at: float = 100.0) -> Alert:
    """Make an alert on a worker, with a fingerprint of its own."""
    return Alert(finding(worker=worker), f"{ord(worker):016x}", starts_at)


def firing(worker: str = "a", starts_at: float = 100.0) -> Transition:
    """Make the step by which an alert begins."""
    return Transition(Step.FIRING, alert(worker, starts_at))


def resolved(worker: str = "a", starts_at: float = 100.0) -> Transition:
    """Make the step by which an alert ends."""
    return Transition(Step.RESOLVED, replace(alert(worker, starts_at), ends_at=200.0), Resolution.RELEASED)


def told(transitions: Iterable[Transition]) -> list[str]:
    """Give steps as words; what another run had firing already is `restored`."""
    return [f"{'restored' if t.alert.restored else t.step} {t.alert.finding.worker}" for t in transitions]


def killed(*before: Transition | Entry) -> Ledger:
    """Give what the run after a kill reads: the steps that were announced, and the marks that were set, before it."""
    ledger, lines = Ledger(), list[Entry]()
    for what in (run(), *before):
        entry = ledger.announce(what) if isinstance(what, Transition) else what
        assert entry is not None
        if not isinstance(what, Transition):
            ledger.apply(what)
        lines.append(entry)
    after = Ledger()
    for line in (*lines, run()):
        after.apply(line)
    return after


def test_killed_before_the_firing_line() -> None:
    """What was announced and holds is written by the next run, as restored, once."""
    ledger = killed(firing())
    assert [each.episode for each in ledger.alerts.values()] == [alert().episode]
    assert told(ledger.owed([Transition(Step.FIRING, replace(alert(), restored=True))])) == ["restored a"]


def test_killed_before_the_firing_line_of_what_ended_meanwhile() -> None:
    """No log ends an alert that it has not begun."""
    assert told(killed(firing()).owed([resolved()])) == ["restored a", "resolved a"]


def test_killed_before_the_firing_line_of_what_nobody_can_judge() -> None:
    """What stays as it was is firing: the log, which may lack it, is told."""
    assert told(killed(firing()).owed([])) == ["restored a"]


def test_killed_after_the_firing_line() -> None:
    """Once the line is known to be out, nothing is owed."""
    assert told(killed(firing(), Written(upto=1)).owed([])) == []
    assert told(killed(firing(), Written(upto=1)).owed([resolved()])) == ["resolved a"]


def test_killed_before_the_resolved_line() -> None:
    """A resolution that may be missing is written, and the alert is not restored."""
    ledger = killed(firing(), Written(upto=1), resolved())
    assert not ledger.alerts
    assert list(ledger.owed([])) == [resolved()]


def test_killed_before_both_lines() -> None:
    """Lines that waited for a stuck reader are lost with us: both come, in order, before all else."""
    ledger = killed(firing(), resolved(), firing("b"))
    assert told(ledger.owed([firing("c")])) == ["restored a", "resolved a", "firing c", "restored b"]


def test_killed_after_the_resolved_line() -> None:
    """Once it is known to be out, it is forgotten."""
    ledger = killed(firing(), resolved(), Written(upto=2))
    assert not ledger.is_in_doubt
    assert told(ledger.owed([])) == []


def test_a_mark_covers_only_what_was_announced_before_it() -> None:
    """A line that was announced while the journal drained is still in doubt."""
    ledger = killed(firing(), firing("b"), resolved("b"), Written(upto=2))
    assert told(ledger.owed([])) == ["resolved b"]


def test_numbers_go_on_after_a_rewrite() -> None:
    """What a file of the fewest lines has marked as written does not cover what is announced after it."""
    ledger = copied(killed(firing(), Written(upto=1)).entries())
    ledger.announce(resolved())
    assert told(copied(ledger.entries()).owed([])) == ["resolved a"]


def test_a_debt_of_an_episode_leaves_the_next_one_alone() -> None:
    """The same trouble may be back before the line about its end is known to be out."""
    ledger = killed(firing(), Written(upto=1), resolved(), firing(starts_at=300.0), resolved())
    assert [each.starts_at for each in ledger.alerts.values()] == [300.0]
    assert told(ledger.owed([])) == ["resolved a", "restored a"]


def test_a_new_episode_is_not_the_one_before() -> None:
    """An alert that fires anew owes a line of its own, whatever the log has of the one before it."""
    ledger = killed(firing(), resolved(), Written(upto=2), firing(starts_at=300.0))
    assert told(ledger.owed([])) == ["restored a"]


def test_killed_again_before_the_debt_is_paid() -> None:
    """What is owed stays owed, in the same words, over any number of kills."""
    ledger = killed(firing(), resolved(), firing("b"))
    debt = list(ledger.owed([]))
    ledger.announce(firing("c"))
    again = copied(ledger.entries())
    assert told(again.owed([])) == [*told(debt), "restored c"]
    again.apply(Written(upto=again.number))
    assert list(again.owed([])) == []


def test_an_update_is_stored_and_a_reminder_is_not() -> None:
    """The facts of an alert that changed are those that another run restores; a repeat says nothing new."""
    ledger = Ledger()
    ledger.announce(firing())
    changed = replace(alert(), finding=replace(finding(), reason="another owner is gone"))
    ledger.announce(Transition(Step.UPDATED, changed))
    assert ledger.announce(Transition(Step.REPEATED, changed)) is None
    assert list(ledger.alerts.values()) == [changed]


def test_what_the_log_has_is_not_owed() -> None:
    """Where the log can be asked, a line that is in doubt is written only where it is missing."""
    steps = firing("a"), firing("b"), firing("c"), resolved("c"), firing("d"), resolved("d")
    logged = {(Step.FIRING, "a"), (Step.FIRING, "c"), (Step.FIRING, "d"), (Step.RESOLVED, "d")}
    episodes = {alert(worker).episode: worker for worker in "abcd"}
    ledger = killed(*steps)
    ledger.settle(lambda step, episode: (step, episodes[episode]) in logged)
    assert told(ledger.owed([])) == ["resolved c", "restored b"]


def test_resolutions_that_nobody_reads_are_bounded() -> None:
    """A log that is stuck for days does not fill the disk: the oldest are given up."""
    ledger = Ledger()
    for number in range(MOST_ENDED + 5):
        ledger.announce(firing(starts_at=float(number)))
        ledger.announce(resolved(starts_at=float(number)))
    owed = list(ledger.owed([]))
    assert len(owed) == 2 * MOST_ENDED
    assert owed[0].alert.starts_at == 5.0


# -- claims

OWNER = Claim(
    record(pid=7, session_id="%5"),
    at(0.0),
    process=Liveness.ALIVE,
    session=SessionState.ALIVE,
    agent=Liveness.ALIVE,
    identity=ProcessIdentity(7, 70, 700),
    agent_identity=ProcessIdentity(6, 60, 600),
    pin=PaneRef("/s", 1, "%5"),
    former=PaneRef("/s", 1, "%5"),
    pane=PaneRef("/s", 1, "%5"),
)


def after(boot: str, worker: StoredWorker) -> StoredWorker:
    """Give what a run of another (or the same) boot makes of a worker."""
    ledger = Ledger()
    for entry in (run(), worker, run(boot)):
        ledger.apply(entry)
    return ledger.workers[worker.worker]


def test_the_same_boot_leaves_claims_alone() -> None:
    """Processes and panes outlive us: their identities still stand."""
    worker = StoredWorker("a", OWNER, (EarlierClaim(OWNER, Evidence.TAKEOVER),))
    assert after("one", worker) == worker


def test_a_reboot_ends_every_process() -> None:
    """The recorded process and the agent are gone, pane %5 is a stranger, and tmux has to be asked."""
    claim = after("two", StoredWorker("a", OWNER)).claim
    assert claim is not None
    assert (claim.process, claim.agent, claim.session) == (Liveness.DEAD, Liveness.DEAD, SessionState.UNKNOWN)
    assert (claim.identity, claim.agent_identity, claim.pin, claim.former, claim.pane) == (None,) * 5
    assert not claim.settled


def test_a_reboot_calls_nobody_dead_for_want_of_evidence() -> None:
    """A process on another host, one that was never seen, or one that a lock without a time names, may live."""
    elsewhere = replace(OWNER, process=Liveness.UNKNOWN, identity=None, agent=Liveness.UNKNOWN, agent_identity=None)
    timeless = replace(OWNER, record=LockRecord(7, None, "%5"))
    for claim in (elsewhere, timeless):
        found = after("two", StoredWorker("a", claim)).claim
        assert found is not None
        assert found.process is Liveness.UNKNOWN


def test_a_reboot_drops_earlier_claims_that_end_with_it() -> None:
    """An earlier owner without a session was its process; one with a session is to be asked for."""
    bare = replace(OWNER, record=record(pid=7), session=SessionState.NONE, pin=None, former=None, pane=None)
    worker = StoredWorker("a", OWNER, (EarlierClaim(bare, Evidence.TAKEOVER), EarlierClaim(OWNER, Evidence.REPLACED)))
    found = after("two", worker)
    assert [each.evidence for each in found.earlier] == [Evidence.REPLACED]
    assert [verdict_of(each.claim) for each in found.earlier] == [Verdict.STALE]
    assert not found.earlier[0].claim.settled


def test_a_worker_without_a_claim_is_forgotten() -> None:
    """A lock that is released leaves nothing behind, and neither does one that never was."""
    ledger = Ledger()
    for entry in (StoredWorker("a", OWNER), StoredWorker("a"), StoredWorker("b")):
        ledger.apply(entry)
    assert not ledger.workers


# -- the property

steps = st.lists(
    st.tuples(st.sampled_from(["fire", "end", "mark", "kill", "claim", "release"]), st.sampled_from("abc")), max_size=40
)


def copied(entries: Iterable[Entry]) -> Ledger:
    """Give what the lines of a file add up to."""
    ledger = Ledger()
    for entry in entries:
        ledger.apply(entry)
    return ledger


def taken(ledger: Ledger, step: str, worker: str, clock: float) -> Entry | None:
    """Take one step, and give the line that it left."""
    before = ledger.alerts.get(alert(worker).fingerprint)
    entry: Entry
    match step:
        case "fire":
            return ledger.announce(firing(worker, before.starts_at if before else clock))
        case "end":
            return ledger.announce(resolved(worker, before.starts_at)) if before else None
        case "mark":
            entry = Written(upto=max(0, ledger.number - len(worker)))
        case _:
            entry = StoredWorker(worker, OWNER if step == "claim" else None)
    ledger.apply(entry)
    return entry


@given(steps)
def test_the_fewest_lines_say_the_same(steps: list[tuple[str, str]]) -> None:
    """A rewritten file and the one that grew line by line leave the next run the same alerts, claims and debts."""
    entries: list[Entry] = [run()]
    ledger = copied(entries)
    for clock, (step, worker) in enumerate(steps):
        if step == "kill":
            ledger = copied(ledger.entries())
        elif (entry := taken(ledger, step, worker, clock)) is not None:
            entries.append(entry)
    for other in (copied(entries), copied(ledger.entries())):
        assert other.alerts == ledger.alerts
        assert other.workers == ledger.workers
        assert sorted(map(repr, other.owed([]))) == sorted(map(repr, ledger.owed([])))
        assert other.is_in_doubt == ledger.is_in_doubt


def test_entries_number_what_is_in_doubt() -> None:
    """Alerts that are long written bear no number, so that no later mark is needed for them."""
    ledger = killed(firing(), Written(upto=1), firing("b"))
    numbers = [entry.number for entry in ledger.entries() if isinstance(entry, StoredAlert)]
    assert numbers == [0, 2]
