import errno
import threading
from collections.abc import Callable, Iterator

import pytest

from rules.model import Severity
from watcher import records
from watcher.records import Level, Record
from watcher.sinks.backlog import INFORMATION_LIMIT
from watcher.sinks.line import Line
from watcher.sinks.pipeline import Journal, Selection
from watcher.sinks.sink import SinkEnded

Make = Callable[..., Record]
Until = Callable[[Callable[[], object]], None]
Open = Callable[..., Journal]


class Spool:
    """A sink that keeps its lines, and does what it is told: raises `wrong`, or waits for `gate`."""

    def __init__(self, name: str = "spool", *, direct: bool = False) -> None:
        self.name = name
        self.lines: list[Line] = []
        self.wrong: Exception | None = None
        self.tries = 0
        self.reopened = 0
        self.closed = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.direct = direct
        self.writers: set[str] = set()

    def offer(self, line: Line) -> bool:
        """Take the line where it is direct."""
        if not self.direct or self.wrong:
            return False
        self.writers.add(threading.current_thread().name)
        self.lines.append(line)
        return True

    def write(self, line: Line) -> None:
        """Take the line."""
        self.tries += 1
        self.gate.wait(30)
        if self.wrong is not None:
            raise self.wrong
        self.writers.add(threading.current_thread().name)
        self.lines.append(line)

    def reopen(self) -> None:
        """Count."""
        self.reopened += 1

    def close(self) -> None:
        """Tell."""
        self.closed.set()

    def events(self) -> list[str]:
        """What has been written."""
        return [line.record.event for line in self.lines]

    def seqs(self) -> list[int]:
        """Its numbers."""
        return [line.seq for line in self.lines]


@pytest.fixture
def journal() -> Iterator[Open]:
    """Open journals, and close them in the end."""
    opened: list[Journal] = []

    def open_one(*sinks: Spool, **options: object) -> Journal:
        opened.append(Journal(sinks, **options))  # type: ignore[arg-type] # options are the test's own
        return opened[-1]

    yield open_one
    for each in opened:
        each.close(1)


def test_each_record_goes_to_every_sink_under_one_id(journal: Open, alert: Make, lock: Make) -> None:
    """The same id and time everywhere, another id for each record; numbers count from 1."""
    sinks = Spool(), Spool()
    opened = journal(*sinks, clock=lambda: 12.5)
    opened.write(alert())
    opened.write(lock())
    assert opened.flush()
    first, second = ([(line.id, line.at, line.seq) for line in sink.lines] for sink in sinks)
    assert first == second
    assert len({line[0] for line in first}) == 2
    assert [line[1:] for line in first] == [(12.5, 1), (12.5, 2)]


def test_a_filtered_record_takes_no_number(journal: Open, alert: Make, lock: Make) -> None:
    """A gap in `seq` is a lost line, and what was not wanted is not lost."""
    sink = Spool()
    opened = journal(sink, selection=Selection(alerts_only=True))
    for record in (alert(), lock(), lock(), alert()):
        opened.write(record)
    assert opened.flush()
    assert sink.events() == ["alert.firing", "alert.firing"]
    assert sink.seqs() == [1, 2]


def test_the_level_filters_locks_only(journal: Open, alert: Make, lock: Make) -> None:
    """With `--level error`, an alert of severity info and what the watcher says of itself are still written."""
    sink = Spool()
    opened = journal(sink, selection=Selection(level=Level.ERROR))
    for record in (lock(), alert(severity=Severity.INFO), records.WatcherStopped(reason="SIGTERM", uptime_s=1)):
        opened.write(record)
    assert opened.flush()
    assert sink.events() == ["alert.firing", "watcher.stopped"]


def test_the_selection_can_change(journal: Open, lock: Make) -> None:
    """A reload takes effect with the next record."""
    sink = Spool()
    opened = journal(sink, selection=Selection(alerts_only=True))
    opened.write(lock())
    opened.selection = Selection()
    opened.write(lock())
    assert opened.flush()
    assert sink.seqs() == [1]


def test_a_line_that_is_taken_at_once_needs_no_thread(journal: Open, alert: Make) -> None:
    """Where the sink can take the line without waiting, it is written by whoever writes the record."""
    sink = Spool(direct=True)
    opened = journal(sink)
    opened.write(alert())
    assert sink.writers == {threading.current_thread().name}


def test_no_line_overtakes_one_that_waits(journal: Open, alert: Make) -> None:
    """While the thread has lines, all go through it, even where the sink would take one at once."""
    sink = Spool()
    sink.gate.clear()
    opened = journal(sink)
    opened.write(alert())
    sink.direct = True
    for _ in range(5):
        opened.write(alert())
    sink.gate.set()
    assert opened.flush()
    assert sink.seqs() == [1, 2, 3, 4, 5, 6]


def test_a_failing_sink_is_told_of_once_in_the_others(journal: Open, alert: Make, until: Until) -> None:
    """The other sink gets one `watcher.degraded` however often the first is tried, and every alert meanwhile."""
    bad, good = Spool("/var/log/a"), Spool()
    bad.wrong = OSError(errno.ENOSPC, "No space left on device")
    opened = journal(bad, good)
    for _ in range(3):
        opened.write(alert())
    until(lambda: bad.tries > 2)
    assert opened.health() == {"/var/log/a": "no space left on device", "spool": ""}
    degraded = [line.record for line in good.lines if line.record.event == "watcher.degraded"]
    assert degraded == [
        records.WatcherDegraded(
            component=records.Component.LOG,
            reason="/var/log/a: no space left on device",
            hint="alerts are kept, and written once it works again",
        )
    ]
    assert good.events().count("alert.firing") == 3


def test_what_was_kept_comes_out_in_order_and_then_the_recovery(journal: Open, alert: Make, until: Until) -> None:
    """When the sink works again no alert is missing, and `watcher.recovered` follows in all sinks."""
    bad, good = Spool("bad"), Spool("good")
    bad.wrong = OSError(errno.EROFS, "Read-only file system")
    opened = journal(bad, good)
    for _ in range(50):
        opened.write(alert())
    until(lambda: opened.health()["bad"])
    bad.wrong = None
    until(lambda: "watcher.recovered" in bad.events() and "watcher.recovered" in good.events())
    assert bad.events() == ["alert.firing"] * 50 + ["watcher.recovered"]
    assert bad.seqs() == list(range(1, 52))
    assert bad.lines[-1].record == records.WatcherRecovered(
        component=records.Component.LOG, reason="bad: read-only file system", dropped=0
    )
    until(lambda: opened.health() == {"bad": "", "good": ""})


def test_dropped_lines_leave_a_gap_and_are_counted(journal: Open, alert: Make, lock: Make, until: Until) -> None:
    """Information beyond the limit is lost, its numbers are not reused, and the recovery says how many; no alert is."""
    bad = Spool()
    bad.wrong = OSError(errno.ENOSPC, "No space left on device")
    opened = journal(bad)
    opened.write(alert())
    until(lambda: bad.tries)
    for _ in range(INFORMATION_LIMIT + 20):
        opened.write(lock())
    for _ in range(10):
        opened.write(alert())
    assert opened.dropped == 20
    bad.wrong = None
    until(lambda: "watcher.recovered" in bad.events())
    assert bad.events().count("lock.acquired") == INFORMATION_LIMIT
    assert bad.seqs() == [*range(1, INFORMATION_LIMIT + 2), *range(INFORMATION_LIMIT + 22, INFORMATION_LIMIT + 33)]
    assert bad.lines[-1].record == records.WatcherRecovered(
        component=records.Component.LOG, reason="spool: no space left on device", dropped=20
    )


def test_a_sink_that_blocks_stops_nobody(journal: Open, alert: Make, until: Until) -> None:
    """While one sink hangs in a write, writing goes on and the other sink gets everything."""
    stuck, good = Spool("stuck"), Spool("good")
    stuck.gate.clear()
    opened = journal(stuck, good)
    for _ in range(1000):
        opened.write(alert())
    assert opened.waiting >= 1000
    assert not opened.flush(0.01)
    until(lambda: len(good.lines) == 1000)
    stuck.gate.set()
    assert opened.flush(30)
    assert stuck.seqs() == list(range(1, 1001))


def test_a_reader_that_reads_nothing_is_trouble_after_a_while(journal: Open, alert: Make, until: Until) -> None:
    """Short waits are none; a wait that lasts is told of, and its end too."""
    slow, good = Spool("slow"), Spool("good")
    slow.wrong = TimeoutError(errno.ETIMEDOUT, "nobody reads it")
    opened = journal(slow, good, patience=0.05)
    opened.write(alert())
    until(lambda: "watcher.degraded" in good.events())
    assert opened.health()["slow"] == "nobody reads it"
    slow.wrong = None
    until(lambda: "watcher.recovered" in good.events())
    assert slow.events() == ["alert.firing", "watcher.recovered"]


def test_a_short_wait_is_no_trouble(journal: Open, alert: Make, until: Until) -> None:
    """A reader may take its time, up to the patience."""
    slow = Spool()
    slow.wrong = TimeoutError(errno.ETIMEDOUT, "nobody reads it")
    opened = journal(slow, patience=1000)
    opened.write(alert())
    until(lambda: slow.tries > 3)
    slow.wrong = None
    assert opened.flush(30)
    assert slow.events() == ["alert.firing"]


def test_a_sink_may_end_and_the_others_go_on(journal: Open, alert: Make, until: Until) -> None:
    """A reader that went away ends its sink alone, for good, and the others say so."""
    gone, good = Spool("stdout"), Spool("good")
    gone.wrong = SinkEnded("broken pipe")
    opened = journal(gone, good)
    opened.write(alert())
    until(lambda: "watcher.degraded" in good.events())
    tries = gone.tries
    opened.write(alert())
    assert opened.flush(30)
    assert gone.tries == tries
    assert gone.closed.is_set()
    assert opened.health() == {"stdout": "broken pipe", "good": ""}
    assert opened.alive
    assert good.events().count("alert.firing") == 2


def test_when_all_sinks_have_ended_the_journal_says_so(journal: Open, alert: Make, until: Until) -> None:
    """Writing on does no harm."""
    gone = Spool()
    gone.wrong = SinkEnded("broken pipe")
    opened = journal(gone)
    opened.write(alert())
    until(lambda: not opened.alive)
    opened.write(alert())
    assert opened.flush(30)


def test_a_record_that_cannot_be_rendered_costs_only_itself(journal: Open, alert: Make, until: Until) -> None:
    """A defect of ours must not end the log: the line is counted as dropped, the next is written."""
    sink = Spool()
    sink.wrong = ValueError("no such thing")
    opened = journal(sink)
    opened.write(alert())
    until(lambda: opened.dropped)
    sink.wrong = None
    opened.write(alert())
    until(lambda: "alert.firing" in sink.events())


def test_reopening_reaches_every_sink_and_tries_again_at_once(journal: Open, alert: Make, until: Until) -> None:
    """After the operator has made room, USR1 spares the wait."""
    bad, good = Spool("bad"), Spool("good")
    bad.wrong = OSError(errno.ENOSPC, "No space left on device")
    opened = journal(bad, good)
    opened.write(alert())
    until(lambda: bad.tries > 2)
    bad.wrong = None
    opened.reopen()
    until(lambda: "watcher.recovered" in bad.events())
    assert (bad.reopened, good.reopened) == (1, 1)


def test_closing_writes_what_waits(journal: Open, alert: Make) -> None:
    """The last lines of a run are not lost."""
    sink = Spool()
    opened = journal(sink)
    for _ in range(500):
        opened.write(alert())
    opened.close(30)
    assert sink.seqs() == list(range(1, 501))
    assert sink.closed.is_set()
    assert opened.dropped == 0


def test_closing_does_not_wait_for_a_dead_sink(journal: Open, alert: Make) -> None:
    """What cannot be written in time is given up and counted, and the sink let go."""
    bad = Spool()
    bad.wrong = OSError(errno.EIO, "Input/output error")
    opened = journal(bad)
    for _ in range(3):
        opened.write(alert())
    opened.close(0.3)
    assert bad.closed.wait(30)
    assert opened.dropped == 3
    opened.write(alert())
    assert bad.lines == []


def test_a_journal_without_sinks_is_quiet(journal: Open, alert: Make) -> None:
    """`--quiet` without a log file, or embedded: nothing is written, nothing breaks, and no reader was lost."""
    opened = journal()
    opened.write(alert())
    assert opened.flush()
    assert (opened.dropped, opened.waiting, opened.alive) == (0, 0, True)


def test_many_threads_may_write(journal: Open, alert: Make) -> None:
    """Numbers stay in order and none is given twice."""
    sink = Spool()
    opened = journal(sink)

    def write() -> None:
        for _ in range(200):
            opened.write(alert())

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened.flush(30)
    assert sink.seqs() == list(range(1, 801))
