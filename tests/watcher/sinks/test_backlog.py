from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from rules.resolution import Resolution
from watcher import records
from watcher.records import AlertFiring, Record
from watcher.sinks.backlog import Backlog
from watcher.sinks.line import Line

Make = Callable[..., Record]


def at(seq: int, record: Record) -> Line:
    """A line in its place."""
    return Line(record, at=0.0, id="", seq=seq)


def drained(backlog: Backlog) -> list[int]:
    """All that waits, by number, in the order in which it comes out."""
    return [line.seq for line in iter(backlog.take, None)]


def repeated(firing: AlertFiring) -> Record:
    """The same alert again."""
    names = set(firing.__struct_fields__) - {"initial", "restored"}
    return records.AlertRepeated(**{name: getattr(firing, name) for name in names})


def test_what_goes_in_comes_out_in_order(alert: Callable[..., AlertFiring], lock: Make) -> None:
    """Information, reminders and transitions keep the order in which they came."""
    kinds = [lock(), alert(), repeated(alert()), lock(), repeated(alert()), alert(), lock()]
    backlog = Backlog()
    assert [backlog.put(at(seq, record)) for seq, record in enumerate(kinds)] == [0] * 7
    assert len(backlog) == 7
    assert drained(backlog) == list(range(7))
    assert len(backlog) == 0


def test_information_is_dropped_when_there_is_too_much(alert: Make, lock: Make) -> None:
    """New `lock.*` lines are dropped and counted; alerts still come in."""
    backlog = Backlog(information=3)
    assert [backlog.put(at(seq, lock())) for seq in range(5)] == [0, 0, 0, 1, 1]
    assert backlog.put(at(5, alert())) == 0
    assert drained(backlog) == [0, 1, 2, 5]


def test_a_heartbeat_is_information(lock: Make) -> None:
    """A week of heartbeats must not crowd out what matters."""
    counts = dict.fromkeys(records.WatcherHeartbeat.__struct_fields__, 0)
    backlog = Backlog(information=1)
    backlog.put(at(0, lock()))
    assert backlog.put(at(1, records.WatcherHeartbeat(**counts))) == 1


def test_the_oldest_reminders_go_before_any_transition(alert: Callable[..., AlertFiring]) -> None:
    """At the last limit what an alert has said before is given up first, the oldest of it."""
    backlog = Backlog(alerts=4)
    kinds = [alert(), repeated(alert()), repeated(alert()), alert(), alert(), alert()]
    assert sum(backlog.put(at(seq, record)) for seq, record in enumerate(kinds)) == 2
    assert drained(backlog) == [0, 3, 4, 5]


def test_a_new_reminder_does_not_displace_a_transition(alert: Callable[..., AlertFiring]) -> None:
    """Where only transitions wait, it is the reminder that is dropped."""
    backlog = Backlog(alerts=2)
    for seq in range(2):
        backlog.put(at(seq, alert()))
    assert backlog.put(at(2, repeated(alert()))) == 1
    assert drained(backlog) == [0, 1]


def test_at_the_very_last_the_oldest_transition_goes(alert: Callable[..., AlertFiring]) -> None:
    """Nothing is unbounded: what is newer says more about now."""
    firing = alert()
    names = set(firing.__struct_fields__) - {"initial", "restored", "reason"}
    resolved = records.AlertResolved(
        **{name: getattr(firing, name) for name in names}, reason=Resolution.RELEASED, ends_at=records.utc(0)
    )
    backlog = Backlog(alerts=2)
    assert [backlog.put(at(seq, record)) for seq, record in enumerate([firing, resolved, firing])] == [0, 0, 1]
    assert drained(backlog) == [1, 2]


def test_whatever_happens_it_is_bounded_and_in_order(alert: Callable[..., AlertFiring], lock: Make) -> None:
    """In any sequence of lines and takes, what comes out ascends, the limits hold, and every line is accounted for."""
    kinds = {"lock": lock(), "alert": alert(), "repeat": repeated(alert())}

    @given(st.lists(st.sampled_from([*kinds, "take"])))
    def check(steps: list[str]) -> None:
        backlog, out, dropped = Backlog(information=3, alerts=4), list[int](), 0
        for seq, step in enumerate(steps):
            if step != "take":
                dropped += backlog.put(at(seq, kinds[step]))
            elif (line := backlog.take()) is not None:
                out.append(line.seq)
            assert len(backlog) <= 7
        out += drained(backlog)
        assert out == sorted(set(out))
        assert len(out) + dropped == sum(step != "take" for step in steps)

    check()
