from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules.alerts import Step
from rules.evaluate import evaluate
from rules.model import Kind, Liveness, SessionState, Verdict
from rules.policy import Policy
from tests.watcher.answers import HUNG, ME, SHE
from tests.watcher.desk import Desk
from tests.watcher.registry_world import NAMES, PIDS, SESSIONS, SOCKETS, WORKERS, Sight, World
from watcher.events import Elapsed, Event, ProcessSeen, Rescanned, ServersSeen, SessionsSeen
from watcher.registry.changes import ChangeKind
from watcher.testing import UNKNOWN, at

Act = Callable[[World], list[Sight]]
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Both measure the machine, which may be busy with other tests, and not the data."""
LASTING = {Kind.STALE, Kind.ORPHAN, Kind.INVALID}


def acts(method: Callable[..., list[Sight]], **arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Act]:
    """Give the acts of one sort."""
    return st.fixed_dictionaries(arguments).map(lambda chosen: lambda world: method(world, **chosen))


def probes(method: Callable[..., Sight], **arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Act]:
    """Give the probes of one sort."""
    return st.fixed_dictionaries(arguments).map(lambda chosen: lambda world: [method(world, **chosen)])


worker, pid, socket = st.sampled_from(WORKERS), st.sampled_from(PIDS), st.sampled_from(tuple(SOCKETS))
rarely = st.sampled_from((False,) * 7 + (True,))
ACTS = st.one_of(
    acts(World.write, worker=worker, pid=pid, session_id=st.sampled_from(SESSIONS), far=rarely, hers=rarely),
    acts(World.write, worker=worker, pid=pid, session_id=st.sampled_from(SESSIONS), far=rarely, hers=rarely),
    acts(World.delete, worker=worker),
    acts(World.garble, worker=worker),
    acts(World.spawn, pid=pid),
    acts(World.kill, pid=pid),
    acts(World.kill, pid=pid),
    acts(World.start, socket=socket),
    acts(World.stop, socket=socket),
    acts(World.open_pane, socket=socket, name=st.sampled_from(NAMES)),
    acts(World.open_pane, socket=socket, name=st.sampled_from(NAMES)),
    acts(World.close_pane, socket=socket, which=st.integers(0, 3)),
    acts(World.close_pane, socket=st.just("/s"), which=st.integers(0, 3)),
    acts(World.empty_pane, socket=socket, which=st.integers(0, 3)),
    acts(World.hang, socket=socket),
    acts(World.spend, seconds=st.sampled_from((0.01, 0.05, 0.2, 1.5, 6.0))),
)
PROBES = st.one_of(
    probes(World.look, worker=worker),
    probes(World.rescan),
    probes(World.list_servers, uid=st.sampled_from((ME, SHE))),
    st.just(World.ask_all),
)
AT_ONCE = st.one_of(probes(World.probe, pid=pid, fails=rarely))
"""Probes of a pid are told in the moment in which they are made: that nobody bears it says nothing of when."""


@dataclass(frozen=True)
class Move:
    """One thing that happens; what is seen of it is told so many moves later, so often, or not at all."""

    act: Act
    delays: tuple[int, ...]


MOVES = st.lists(
    st.one_of(
        st.builds(Move, ACTS, st.lists(st.integers(0, 6), max_size=2).map(tuple)),
        st.builds(Move, PROBES, st.lists(st.integers(0, 6), min_size=1, max_size=2).map(tuple)),
        st.builds(Move, AT_ONCE, st.just((0,))),
    ),
    min_size=10,
    max_size=50,
)


@dataclass
class Witness:
    """Watches a desk, and holds each line to those before it."""

    world: World
    desk: Desk = field(default_factory=Desk)
    locks: dict[str, Verdict] = field(default_factory=dict)
    alerts: dict[str, str] = field(default_factory=dict)

    def tell(self, *events: Event) -> None:
        """Tell the desk, and check what it says."""
        self.desk.tell(*events)
        for change in self.desk.changes.lines:
            name, verdict = change.view.worker, change.view.verdict
            assert (name in self.locks) is (change.kind is not ChangeKind.ACQUIRED)
            if change.kind is ChangeKind.RELEASED:
                del self.locks[name]
                continue
            if change.kind is ChangeKind.VERDICT:
                assert change.previous is self.locks[name] is not verdict
            self.locks[name] = verdict
        for transition in self.desk.transitions:
            alert = transition.alert
            assert (alert.fingerprint in self.alerts) is (transition.step is not Step.FIRING)
            if transition.step is Step.RESOLVED:
                assert self.alerts.pop(alert.fingerprint) == alert.episode
                self._resolved_on_knowledge(alert.finding.worker, alert.finding.kind)
                continue
            assert self.alerts.setdefault(alert.fingerprint, alert.episode) == alert.episode
            if transition.step is Step.FIRING:
                self._fired_on_knowledge(alert.finding.worker, alert.finding.kind)
        assert self.alerts == {alert.fingerprint: alert.episode for alert in self.desk.book.firing()}

    def quiet(self) -> None:
        """Let time pass in a world that stands still, with every question answered, until nothing is due."""
        world = self.world
        for _ in range(60):
            if self.desk.changes.ask:
                sights = world.ask_all()
                world.now += 0.005
                self.tell(*(sight(world.now) for sight in sights))
                continue
            due = self.desk.deadline()
            if due is None or due > world.now + 60.0:
                return
            world.now = max(due, world.now)
            self.tell(Elapsed(at(world.now)))
        raise AssertionError("the registry never comes to rest")

    def findings(self) -> set[tuple[str, str, object]]:
        """List what is found on the locks that are there, but for collisions, which rest on history."""
        views = [view for name in WORKERS if (view := self.desk.registry.view(name)) is not None]
        found = [finding for view in views for finding in evaluate(view.worker, view, Policy()).findings]
        return {
            (finding.kind, finding.worker, finding.claim.record if finding.claim else None)
            for finding in found
            if finding.kind in LASTING
        }

    def _fired_on_knowledge(self, name: str, kind: str) -> None:
        view = self.desk.registry.view(name)
        assert view is not None
        claim = view.claim
        if kind == Kind.STALE:
            assert claim is not None
            assert claim.settled
            assert claim.process is Liveness.DEAD
            assert claim.session in {SessionState.DEAD, SessionState.NONE}
        elif kind == Kind.ORPHAN:
            assert claim is not None
            assert (claim.process, claim.session) == (Liveness.ALIVE, SessionState.DEAD)

    def _resolved_on_knowledge(self, name: str, kind: str) -> None:
        view = self.desk.registry.view(name)
        if view is not None and kind in LASTING:
            assert view.verdict is not Verdict.UNVERIFIABLE or kind == Kind.INVALID


def lived(moves: list[Move]) -> Witness:
    """Let a world go its way, and tell what is seen of it, late, twice or never."""
    witness = Witness(world := World())
    witness.tell(world.rescan(initial=True)(world.now), *(sight(world.now) for sight in world.ask_all()))
    late: dict[int, list[Sight]] = {}
    for step, move in enumerate(moves):
        world.now += 0.001
        for sight in move.act(world):
            for delay in move.delays:
                late.setdefault(step + delay, []).append(sight)
        witness.tell(*(sight(world.now) for sight in late.pop(step, ())), Elapsed(at(world.now)))
    for sights in late.values():
        witness.tell(*(sight(world.now) for sight in sights), Elapsed(at(world.now)))
    return witness


@given(moves=MOVES, random=st.randoms(use_true_random=False), by_rescan=st.booleans())
@PATIENT
def test_any_order_of_facts_with_one_end_gives_the_findings_of_one_rescan(
    moves: list[Move], random: Random, *, by_rescan: bool
) -> None:
    """Whatever was seen of the past, and in which order, the present is judged as by one look at it."""
    witness = lived(moves)
    world = witness.world
    looks = [world.rescan()] if by_rescan else [world.look(name) for name in WORKERS]
    last = [*looks, *(world.probe(number) for number in PIDS), *world.ask_all()]
    random.shuffle(last)
    for sight in last:
        world.now += 0.001
        witness.tell(sight(world.now))
    witness.quiet()
    fresh = Witness(world)
    fresh.tell(world.rescan(initial=True)(world.now))
    fresh.quiet()
    assert witness.findings() == fresh.findings()
    assert witness.locks.keys() == fresh.locks.keys() == world.files.keys()
    for name, verdict in fresh.locks.items():
        assert witness.locks[name] is verdict or ambiguous(witness, fresh, name)
    lasting = {(a.finding.kind, a.finding.worker) for a in witness.desk.book.firing() if a.finding.kind in LASTING}
    assert {(kind, name) for kind, name, _ in witness.findings()} <= lasting


def ambiguous(one: Witness, other: Witness, name: str) -> bool:
    """Say whether two verdicts differ only in that one desk once saw on which of two servers a session was."""
    views = one.desk.registry.view(name), other.desk.registry.view(name)
    sessions = {view.claim.session for view in views if view is not None and view.claim is not None}
    return sessions == {SessionState.ALIVE, SessionState.UNKNOWN}


@given(moves=MOVES)
@PATIENT
def test_no_living_owner_is_called_stale(moves: list[Move]) -> None:
    """Whatever is told late, twice or never: the process of a lock that is called stale is gone."""
    witness = lived(moves)
    world = witness.world
    for name, file in world.files.items():
        view = witness.desk.registry.view(name)
        if view is not None and view.claim is not None and view.claim.record == file.content:
            assert not (world.has(file.owner) and view.verdict is Verdict.STALE)


@given(moves=MOVES)
@PATIENT
def test_nothing_is_kept_of_what_is_gone(moves: list[Move]) -> None:
    """When all locks are released, registry and book are empty."""
    witness = lived(moves)
    world = witness.world
    world.files.clear()
    witness.tell(Rescanned({}, at(world.now)))
    witness.quiet()
    assert witness.locks == {}
    assert witness.alerts == {}
    assert witness.desk.is_empty()


@given(moves=MOVES)
@PATIENT
def test_silence_neither_raises_nor_resolves(moves: list[Move]) -> None:
    """When every tmux server hangs and no process can be looked at, nothing begins to fire and nothing ends."""
    witness = lived(moves)
    witness.quiet()
    world, before = witness.world, dict(witness.alerts)
    world.now += 1.0
    silence: list[Event] = [ServersSeen(uid, HUNG, world.now, at(world.now)) for uid in (ME, SHE)]
    servers: list[Event] = [SessionsSeen(name, HUNG, world.now, at(world.now)) for name in world.servers]
    unseen: list[Event] = [ProcessSeen(number, UNKNOWN, at(world.now)) for number in PIDS]
    for event in (*servers, *unseen, *silence):
        witness.tell(event)
    for _ in range(30):
        world.now += 1.0
        witness.tell(Elapsed(at(world.now)))
    assert witness.alerts == before
