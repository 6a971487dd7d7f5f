import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rules.alerts import Alert, Step, Transition
from rules.model import EarlierClaim, Evidence, Liveness
from rules.resolution import Resolution
from tests.rules.builders import HELD, claim, finding, pane_ref
from watcher.state import Loaded, NoStore, StateStore, StoredWorker
from watcher.state.report import look
from watcher.testing import identity

MINUTE = 60.0


@pytest.fixture
def stores(home: Path, workspace: Path) -> Iterator[Callable[..., StateStore]]:
    """Give a maker of stores of one workspace, one run after the other."""
    made: list[StateStore] = []

    def make(drained: Callable[[float], bool] = lambda _: True) -> StateStore:
        made.append(StateStore(str(home / "state"), str(workspace), drained=drained))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def file(home: Path, stores: Callable[..., StateStore]) -> Path:
    """Give the state file, of one run that knew nothing."""
    store = stores()
    store.load()
    store.close()
    return next((home / "state").glob("*/state.jsonl"))


def alert(worker: str = "a") -> Alert:
    """Make an alert that fires."""
    return Alert(finding(worker=worker), f"{ord(worker[0]):016x}", 100.0)


def firing(worker: str = "a") -> Transition:
    """Make the step by which it begins."""
    return Transition(Step.FIRING, alert(worker))


def resolved(worker: str = "a") -> Transition:
    """Make the step by which it ends."""
    return Transition(Step.RESOLVED, replace(alert(worker), ends_at=200.0), Resolution.OWNER_ALIVE)


def test_nothing_is_known_at_first(stores: Callable[..., StateStore]) -> None:
    """A workspace that nobody watched before has no past, and that is no trouble."""
    loaded = stores().load()
    assert (loaded.workers, loaded.alerts, loaded.trouble) == ((), (), "")


def test_the_next_run_knows(stores: Callable[..., StateStore]) -> None:
    """Claims, those before them, and the alerts that fire are what they were; what ended or left is gone."""
    pinned = claim(pane=pane_ref("%5"), session_id="%5")
    worker = StoredWorker("rig/caf\udce9", pinned, (EarlierClaim(HELD, Evidence.TAKEOVER),))
    store = stores()
    store.load()
    store.intend([firing("a"), firing("b")])
    store.keep([worker, StoredWorker("gone", HELD)])
    store.intend([resolved("b")])
    store.keep([StoredWorker("gone")])
    store.close()
    loaded = stores().load()
    assert [found.worker for found in loaded.workers] == ["rig/caf\udce9"]
    found = loaded.workers[0]
    assert found.claim is not None
    assert (found.claim.record, found.claim.pin, found.claim.pane) == (pinned.record, pinned.pin, pinned.pane)
    assert [(each.claim.record, each.evidence) for each in found.earlier] == [(HELD.record, Evidence.TAKEOVER)]
    assert [each.episode for each in loaded.alerts] == [alert("a").episode]
    assert loaded.trouble == ""


def test_it_is_stored_before_the_line_is_written(stores: Callable[..., StateStore], file: Path) -> None:
    """When `intend` returns, the kernel has it: nothing that kills us afterwards takes it back."""
    store = stores()
    store.load()
    store.intend([firing()])
    assert f'"{alert().fingerprint}"'.encode() in file.read_bytes()


def test_lines_that_are_not_out_are_owed(stores: Callable[..., StateStore]) -> None:
    """While the journal has not drained nothing is marked as written, and the next run pays."""
    store = stores(lambda _: False)
    store.load()
    store.intend([firing("a"), firing("b")])
    store.keep()
    store.intend([resolved("b")])
    store.keep()
    store.close()
    store = stores()
    assert [each.fingerprint for each in store.load().alerts] == [alert("a").fingerprint]
    lines = store.intend([firing("a")])
    assert [(line.step, line.alert.episode) for line in lines] == [
        (Step.FIRING, alert("b").episode),
        (Step.RESOLVED, alert("b").episode),
        (Step.FIRING, alert("a").episode),
    ]
    assert [line.alert.restored for line in lines] == [True, False, False]
    assert lines[1].resolution is Resolution.OWNER_ALIVE
    store.keep()
    store.close()
    store = stores()
    store.load()
    assert store.intend([]) == []


class Journal:
    """Drains when it is told to. `asked` is set each time that somebody begins to wait for it."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.drained = threading.Event()

    def __call__(self, timeout: float) -> bool:
        """Wait."""
        if not timeout:
            return False
        self.asked.set()
        return self.drained.wait(timeout)

    def wait_until_asked_again(self) -> None:
        """Wait until somebody waits who knows all that happened so far."""
        self.asked.clear()
        assert self.asked.wait(MINUTE)


def test_the_mark_waits_for_the_journal(stores: Callable[..., StateStore], file: Path) -> None:
    """A journal that drains later has its lines marked then, without another call."""
    journal = Journal()
    store = stores(journal)
    store.load()
    store.intend([firing("a")])
    store.keep()
    journal.wait_until_asked_again()
    assert b'"upto":1' not in file.read_bytes()
    journal.drained.set()
    until(lambda: b'"upto":1' in file.read_bytes())


def test_what_was_not_handed_over_is_not_marked(stores: Callable[..., StateStore], file: Path) -> None:
    """That the journal has drained says nothing of a line which is only intended."""
    journal = Journal()
    store = stores(journal)
    store.load()
    store.intend([firing("a")])
    store.keep()
    store.intend([firing("b")])
    journal.wait_until_asked_again()
    journal.drained.set()
    until(lambda: b'"upto":1' in file.read_bytes())
    assert b'"upto":2' not in file.read_bytes()
    store.keep()
    until(lambda: b'"upto":2' in file.read_bytes())


def test_what_was_handed_over_since_the_question_is_not_marked(stores: Callable[..., StateStore], file: Path) -> None:
    """The journal's answer is about the lines that it had when it was asked."""
    asked, answer = threading.Event(), threading.Event()

    def drained(timeout: float) -> bool:
        if not timeout or asked.is_set():
            return False
        asked.set()
        return answer.wait(MINUTE)

    store = stores(drained)
    store.load()
    store.intend([firing("a")])
    store.keep()
    assert asked.wait(MINUTE)
    store.intend([firing("b")])
    store.keep()
    answer.set()
    until(lambda: b'"upto":' in file.read_bytes().rpartition(b'"upto":0}')[2])
    assert b'"upto":2' not in file.read_bytes()


def test_what_did_not_change_is_not_written(stores: Callable[..., StateStore], file: Path) -> None:
    """A look at everything that finds nothing new costs no byte."""
    store = stores()
    store.load()
    store.keep([StoredWorker("a", HELD)])
    before = file.stat().st_size
    store.keep([StoredWorker("a", replace(HELD)), StoredWorker("never was")])
    assert file.stat().st_size == before
    store.keep([StoredWorker("a", replace(HELD, process=Liveness.DEAD))])
    assert file.stat().st_size > before


def test_a_file_that_has_grown_is_rewritten(stores: Callable[..., StateStore], file: Path) -> None:
    """A day of changes to one worker leaves a file as long as one worker, and nothing is lost on the way."""
    store = stores()
    store.load()
    noisy = [StoredWorker("a", replace(HELD, tmux_socket=f"{number:05}" + "x" * 5000)) for number in range(2000)]
    for number, worker in enumerate(noisy):
        store.keep([worker, StoredWorker(f"w{number}", HELD)])
    assert store.flush(MINUTE)
    assert file.stat().st_size < 2_500_000
    store.close()
    loaded = stores().load()
    assert len(loaded.workers) == 2001
    found = next(worker.claim for worker in loaded.workers if worker.worker == "a")
    assert found is not None
    assert found.tmux_socket == noisy[-1].claim.tmux_socket  # type: ignore[union-attr] # made above


def test_closing_lets_another_run_begin(stores: Callable[..., StateStore]) -> None:
    """A store that was closed holds nothing, and closing it again changes nothing."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers, not paths
    store = stores()
    store.load()
    store.close()
    assert not any(thread.is_alive() for thread in store._threads)
    store.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above


# -- what cannot be read

FOREIGN = '{"line":"run","version":1,"workspace":"/elsewhere","host":"h","boot_id":"b","pid":1,"at":1}\n'
NEWER = '{"line":"run","version":2,"realm":"/w"}\n'


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("noise\n", "line 1: "),
        ("\x1b[2Jnoise\n{}\n", "line 1: "),
        ('{"line":"written","upto":0}\n', "it does not begin as a state file does"),
        (FOREIGN, "it is of another workspace, /elsewhere"),
        (NEWER, "it is of version 2, and this lockwarden knows version 1"),
        (NEWER.replace('"realm"', '"workspace"'), "it is of version 2, and this lockwarden knows version 1"),
        ("[" * 200_000 + "\n", "line 1: nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_used(content: str, why: str, file: Path, stores: Callable[..., StateStore]) -> None:
    """It is renamed, kept for whoever wants to know, and told of in one line; the run begins without it."""
    file.write_text(content)
    store = stores()
    loaded = store.load()
    assert (loaded.workers, loaded.alerts) == ((), ())
    assert loaded.trouble.startswith(f"{file}: {why}")
    assert loaded.trouble.isprintable()
    named = re.search(r"; set aside as (state\.jsonl\.\d{8}T\d{6}Z\.bad); what was firing", loaded.trouble)
    assert named
    assert (file.parent / named[1]).read_text() == content
    store.intend([firing()])
    store.keep()
    store.close()
    again = stores().load()
    assert (len(again.alerts), again.trouble) == (1, "")


def test_a_broken_line_in_the_middle(file: Path, stores: Callable[..., StateStore]) -> None:
    """Half of what was known may be wrong in any way: none of it is believed."""
    store = stores()
    store.load()
    store.keep([StoredWorker(name, HELD) for name in "abc"])
    store.close()
    data = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*data[:-2], data[-2][:-20] + b"\n", data[-1]]))
    assert f"line {len(data) - 1}: " in stores().load().trouble


@pytest.mark.parametrize("tail", [b'{"line":"worker","wor', b"\0" * 5000, b"\xff"])
def test_half_a_line_at_the_end_never_happened(tail: bytes, file: Path, stores: Callable[..., StateStore]) -> None:
    """A kill, or a power cut, leaves a last line that is not whole: the rest counts, and no one is alarmed."""
    store = stores()
    store.load()
    store.keep([StoredWorker("a", HELD)])
    store.close()
    with file.open("ab") as stream:
        stream.write(tail)
    loaded = stores().load()
    assert [worker.worker for worker in loaded.workers] == ["a"]
    assert loaded.trouble == ""


def test_a_file_that_is_too_large(file: Path, stores: Callable[..., StateStore]) -> None:
    """One that would fill the memory is not read."""
    os.truncate(file, 300 << 20)
    assert "it is larger than 256 MiB; set aside as" in stores().load().trouble


def test_a_link_in_the_place_of_the_file(file: Path, home: Path, stores: Callable[..., StateStore]) -> None:
    """A planted link is set aside itself: what it points at is neither read nor written."""
    target = home / "elsewhere"
    target.write_text("mine")
    file.unlink()
    file.symlink_to(target)
    store = stores()
    assert "too many levels of symbolic links; set aside as" in store.load().trouble
    store.keep([StoredWorker("a", HELD)])
    store.close()
    assert target.read_text() == "mine"
    assert not file.is_symlink()


def test_links_in_the_place_of_what_is_written_on_the_way(
    file: Path, home: Path, stores: Callable[..., StateStore]
) -> None:
    """Temporary names are taken anew, whatever bears them."""
    (home / "elsewhere").write_text("mine")
    for name in ("state.jsonl.tmp", "vitals.json.tmp"):
        (file.parent / name).symlink_to(home / "elsewhere")
    store = stores()
    assert store.load().trouble == ""
    store.close()
    assert (home / "elsewhere").read_text() == "mine"


def test_a_directory_in_the_place_of_the_file(file: Path, stores: Callable[..., StateStore]) -> None:
    """Whatever bears the name is moved out of the way."""
    file.unlink()
    file.mkdir()
    assert "set aside as" in stores().load().trouble
    assert file.is_file()


def test_a_fifo_in_the_place_of_the_file(file: Path, stores: Callable[..., StateStore]) -> None:
    """Opening it blocks nobody."""
    file.unlink()
    os.mkfifo(file)
    assert "it is not a regular file; set aside as" in stores().load().trouble


def test_few_are_kept(file: Path, stores: Callable[..., StateStore]) -> None:
    """Of files that were set aside the newest three stay."""
    for year in range(2001, 2006):
        (file.parent / f"state.jsonl.{year}0101T000000Z.bad").write_text("")
    file.write_text("noise\n")
    stores().load()
    kept = sorted(path.name for path in file.parent.glob("*.bad"))
    assert kept[:2] == ["state.jsonl.20040101T000000Z.bad", "state.jsonl.20050101T000000Z.bad"]
    assert len(kept) == 3


def test_looking_changes_nothing(file: Path, home: Path, workspace: Path) -> None:
    """`status` reads a broken file, says so, and leaves it for the watcher."""
    file.write_text("noise\n")
    report = look(str(home / "state"), str(workspace))
    assert report.trouble.startswith(f"{file}: line 1: ")
    assert file.read_text() == "noise\n"


def test_looking_while_it_is_written(stores: Callable[..., StateStore], home: Path, workspace: Path) -> None:
    """What fires is seen from outside at once; the store goes on undisturbed."""
    store = stores()
    store.load()
    store.intend([firing()])
    report = look(str(home / "state"), str(workspace))
    assert [each.episode for each in report.alerts] == [alert().episode]
    store.intend([resolved()])
    assert look(str(home / "state"), str(workspace)).alerts == ()


def test_a_reboot(file: Path, stores: Callable[..., StateStore]) -> None:
    """A file of another boot is read as such: its processes are gone."""
    store = stores()
    store.load()
    seen = claim()
    store.keep([StoredWorker("a", replace(seen, identity=identity(10)))])
    store.close()
    file.write_bytes(re.sub(rb'"boot_id":"[^"]*"', b'"boot_id":"another"', file.read_bytes()))
    (worker,) = stores().load().workers
    assert worker.claim is not None
    assert (worker.claim.process, worker.claim.identity) == (Liveness.DEAD, None)


def test_without_a_store_nothing_is_kept() -> None:
    """`--no-state`: the daemon makes the same calls, and gets its lines back."""
    assert public(NoStore) == public(StateStore)
    store = NoStore()
    assert store.load() == Loaded()
    assert store.intend(iter([firing(), resolved()])) == [firing(), resolved()]
    assert store.flush()


def public(of: type) -> set[str]:
    """Name what a class offers."""
    return {name for name in vars(of) if not name.startswith("_")}


def until(fact: Callable[[], bool]) -> None:
    """Wait for a fact."""
    deadline = time.monotonic() + MINUTE
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.005)
