from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rules.alerts import Alert, Step, Transition
from rules.resolution import Resolution
from tests.rules.builders import finding
from watcher.cli.firing import Firing
from watcher.report import alert_record
from watcher.sinks.line import Fields, Line, Origin
from watcher.state.entries import Entry, Run, Written
from watcher.state.ledger import Ledger

NOON = 1_775_044_800.0


def alert(worker: str = "a", starts_at: float = NOON) -> Alert:
    """Make an alert on a worker, with a fingerprint of its own."""
    return Alert(finding(worker=worker), f"{ord(worker):016x}", starts_at)


def fires(worker: str = "a", starts_at: float = NOON) -> Transition:
    """Make the step by which an alert begins."""
    return Transition(Step.FIRING, alert(worker, starts_at))


def restored(worker: str = "a", starts_at: float = NOON) -> Transition:
    """Make the step by which another run says that an alert goes on."""
    return Transition(Step.FIRING, replace(alert(worker, starts_at), initial=True, restored=True))


def repeats(worker: str = "a", starts_at: float = NOON) -> Transition:
    """Make the step by which an alert is recalled."""
    return Transition(Step.REPEATED, alert(worker, starts_at))


def resolves(worker: str = "a", starts_at: float = NOON) -> Transition:
    """Make the step by which an alert ends."""
    return Transition(Step.RESOLVED, replace(alert(worker, starts_at), ends_at=starts_at + 1), Resolution.RELEASED)


def logged(transition: Transition, run: str = "1", workspace: str = "/w") -> Fields:
    """Give the fields of the line on a step."""
    record = alert_record(transition, "/w/worker", None, lambda _pid: "")
    return Line(record, at=NOON + 7200, id="ab" * 16).fields(Origin("host", workspace, run * 8))


def of(*lines: Fields) -> list[str]:
    """Say of which alerts a log of these lines tells that they fire: the worker, since when, and the sentence."""
    firing = Firing()
    for line in lines:
        firing.take(line)
    return [f"{line['worker']} {line['timestamp']} {line['message']}" for line in firing.lines()]


def brief(*lines: Fields) -> list[str]:
    """Say only which workers' alerts fire."""
    return [text.split()[0] for text in of(*lines)]


def test_what_was_not_resolved_fires() -> None:
    """The oldest first, each as it was said last, with the time since when."""
    lines = logged(fires("b", NOON + 5)), logged(fires("d")), logged(fires("a")), logged(fires("c"))
    assert of(*lines, logged(resolves("c")), logged(repeats("a"))) == [
        "a 2026-04-01T12:00:00.000000Z a: lock is still stale: reason",
        "d 2026-04-01T12:00:00.000000Z d: lock is stale: reason",
        "b 2026-04-01T12:00:05.000000Z b: lock is stale: reason",
    ]


def test_what_fires_again_fires_once() -> None:
    """An alert that resolved and came back, and one that a run says again, is one alert."""
    assert brief(logged(fires()), logged(resolves()), logged(fires(starts_at=NOON + 9))) == ["a"]
    assert brief(logged(fires()), logged(restored(), "2"), logged(repeats(), "2")) == ["a"]


def test_a_log_whose_beginning_is_gone() -> None:
    """It was rotated: what is repeated fires, and the end of what it does not know is no trouble."""
    assert brief(logged(repeats("a")), logged(resolves("b"))) == ["a"]


def test_an_end_that_is_told_twice() -> None:
    """After a kill a resolved line may come again, also once the trouble is back: that goes on."""
    again = NOON + 9
    assert brief(logged(fires()), logged(resolves()), logged(resolves(), "2")) == []
    assert brief(logged(fires()), logged(fires(starts_at=again)), logged(resolves(), "2")) == ["a"]


def test_an_end_whose_beginning_was_lost() -> None:
    """A line may be dropped where nobody reads: what ends later has not begun before it was over."""
    assert brief(logged(fires()), logged(resolves(starts_at=NOON + 9))) == []


def test_what_a_later_run_does_not_mention() -> None:
    """Nobody knew better: it still fires, and that is said, until the later run does mention it."""
    started: Fields = {"event": "watcher.started", "run": "2" * 8, "hostname": "host", "workspace": "/w"}
    doubt = "(a later run has not mentioned it)"
    assert not of(logged(fires()))[0].endswith(doubt)
    assert of(logged(fires()), started)[0].endswith(doubt)
    assert not of(logged(fires()), started, logged(restored(), "2"))[0].endswith(doubt)
    assert brief(logged(fires()), started, logged(resolves(), "2")) == []


def test_a_run_elsewhere_says_nothing_about_this_one() -> None:
    """Logs of several workspaces may be read as one."""
    other = logged(fires("b"), "2", workspace="/other")
    assert not any("later run" in text for text in of(logged(fires("a")), other))


def test_lines_of_another_shape() -> None:
    """A line that says nothing about an alert, or half of it, is passed over."""
    half: list[Fields] = [{}, {"status": "firing"}, {"status": "resolved", "fingerprint": "f"}, {"status": 7}]
    odd: Fields = {"status": "firing", "fingerprint": 1, "starts_at": 2}
    assert of(*half, odd, {"event": "lock.acquired", "worker": "a"}) == []


# -- the property


class World:
    """A watcher that keeps its state and writes its log as the real one does, and may be killed at any step."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.log: list[Fields] = []
        self._file: list[Entry] = []
        self._waiting: list[Fields] = []
        self._run = 0
        self.kill("")

    def fire(self, worker: str) -> None:
        """Let an alert begin, or be said again with other facts."""
        before = self.ledger.alerts.get(alert(worker).fingerprint)
        starts_at = before.starts_at if before is not None else NOON + len(self._file)
        self._intend([fires(worker, starts_at)])

    def end(self, worker: str) -> None:
        """Let an alert end, if it fires."""
        before = self.ledger.alerts.get(alert(worker).fingerprint)
        if before is not None:
            self._intend([resolves(worker, before.starts_at)])

    def write(self, _: str = "") -> None:
        """Write a line that waits."""
        self.log += self._waiting[:1]
        del self._waiting[:1]

    def mark(self, _: str) -> None:
        """Note that all lines are written, if they are."""
        if not self._waiting:
            self._keep(Written(upto=self.ledger.number))

    def kill(self, unknown: str) -> None:
        """Lose what waits, and start anew: all that fired does still, except what nobody can say."""
        self._waiting.clear()
        self.ledger = Ledger()
        for entry in self._file:
            self.ledger.apply(entry)
        self._run += 1
        self._keep(Run(workspace="/w", host="host", boot_id="1", pid=1, at=NOON))
        workers = {each.finding.worker: each.starts_at for each in self.ledger.alerts.values()}
        known = [restored(worker, starts_at) for worker, starts_at in workers.items() if worker != unknown]
        owed = list(self.ledger.owed(known))
        self._intend(known, owed)

    def _intend(self, steps: list[Transition], lines: list[Transition] | None = None) -> None:
        self._file += [entry for step in steps if (entry := self.ledger.announce(step)) is not None]
        self._waiting += [logged(step, f"{self._run:x}") for step in (lines if lines is not None else steps)]

    def _keep(self, entry: Entry) -> None:
        self.ledger.apply(entry)
        self._file.append(entry)


@given(st.lists(st.tuples(st.sampled_from(["fire", "end", "write", "write", "mark", "kill"]), st.sampled_from("ab"))))
def test_the_log_and_the_state_say_the_same(steps: list[tuple[str, str]]) -> None:
    """Over any kills: what a log leaves firing, once it is written, is what the state has firing, in every episode."""
    world = World()
    for step, worker in steps:
        getattr(world, step)(worker)
    for _ in range(1000):
        world.write()
    firing = Firing()
    for line in world.log:
        firing.take(line)
    told = {line["episode"] for line in firing.lines()}
    assert told == {each.episode for each in world.ledger.alerts.values()}
