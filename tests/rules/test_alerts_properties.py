from collections.abc import Iterable
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules.alerts import Alert, AlertBook, Step, Transition
from rules.evaluate import RULES, Ruling
from rules.model import Finding, Kind, Liveness, Undecided
from tests.rules.builders import HELD, claim, finding, view
from watcher.testing import SCOPE, at

WORKERS, KINDS = ("a", "b", "c"), (Kind.STALE, Kind.ORPHAN, Kind.COLLISION)
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Both measure the machine, which may be busy with other tests, and not the data."""
HOLDS, REPEATS = (0.0, 1.0, 5.0), (0.0, 3.0)


@dataclass(frozen=True)
class Word:
    """What is said of one kind of one worker: found (with such a hold, repeat and owner), in doubt, failed, or not."""

    says: str
    hold: float
    repeat: float
    pid: int


WORDS = st.builds(
    Word,
    st.sampled_from(("found", "found", "cleared", "doubt", "failed", "off")),
    st.sampled_from(HOLDS),
    st.sampled_from(REPEATS),
    st.sampled_from((11, 12)),
)
RULINGS = st.dictionaries(
    st.sampled_from(WORKERS), st.one_of(st.none(), st.fixed_dictionaries(dict.fromkeys(KINDS, WORDS))), max_size=3
)
STEPS = st.lists(st.tuples(st.sampled_from((0.0, 0.5, 1.0, 7.0)), RULINGS), max_size=25)
Said = dict[Kind, Word]


def made(worker: str, kind: Kind, word: Word) -> Finding:
    """Make the finding of a word."""
    return finding(kind, worker, hold=word.hold, repeat=word.repeat, of=claim(Liveness.DEAD, pid=word.pid))


def ruling(worker: str, said: Said | None) -> Ruling:
    """Make the ruling that says so."""
    if said is None:
        return Ruling(worker, None)
    rule = {rule.kind: rule for rule in RULES}
    return Ruling(
        worker,
        view(HELD, worker=worker),
        tuple(made(worker, kind, word) for kind, word in said.items() if word.says == "found"),
        frozenset(Undecided(kind, (worker,)) for kind, word in said.items() if word.says == "doubt"),
        frozenset(kind for kind, word in said.items() if word.says == "off"),
        tuple((rule[kind], ValueError()) for kind, word in said.items() if word.says == "failed"),
    )


def told(alerts: Iterable[Alert]) -> dict[str, tuple[str, object]]:
    """Give what lines tell of alerts: the episode of each, and whom it is about."""
    return {a.fingerprint: (a.episode, a.finding.claim.record if a.finding.claim else None) for a in alerts}


class Reader:
    """One who reads the lines, and so knows what fires."""

    def __init__(self) -> None:
        self.firing: dict[str, Alert] = {}

    def read(self, lines: Iterable[Transition]) -> None:
        """Read lines, each of which must make sense after those before it."""
        for line in lines:
            alert = line.alert
            known = self.firing.get(alert.fingerprint)
            assert (known is None) is (line.step is Step.FIRING)
            assert known is None or known.episode == alert.episode
            assert (line.resolution is not None) is (alert.ends_at is not None) is (line.step is Step.RESOLVED)
            if line.step is Step.RESOLVED:
                del self.firing[alert.fingerprint]
            else:
                self.firing[alert.fingerprint] = alert


@given(steps=STEPS)
@PATIENT
def test_the_lines_tell_what_fires(steps: list[tuple[float, dict[str, Said | None]]]) -> None:
    """Nothing resolves that did not fire, nothing fires twice, and a reader of all lines knows what fires and how."""
    book, reader, now = AlertBook(SCOPE), Reader(), 0.0
    for pause, said in steps:
        now += pause
        reader.read(book.due(at(now)))
        reader.read(book.update((ruling(worker, words) for worker, words in said.items()), at(now)))
        assert told(book.firing()) == told(reader.firing.values())
        due = book.deadline()
        assert due is None or due > now
    reader.read(book.update((Ruling(worker, None) for worker in WORKERS), at(now)))
    assert told(reader.firing.values()) == told(book.firing()) == {}
    assert book.deadline() is None
    assert book._entries == {}
    assert book._by_worker == {}


@dataclass
class Expected:
    """What one alert should be, by the contract: since when it is found without a break, and whether it fires."""

    since: float
    firing: bool = False


@given(steps=STEPS)
@PATIENT
def test_a_finding_fires_if_it_lasts_for_its_hold(steps: list[tuple[float, dict[str, Said | None]]]) -> None:
    """What fires is what was found for its hold without a break; doubt breaks only a wait, and a failed rule too."""
    book, now = AlertBook(SCOPE), 0.0
    expected: dict[tuple[str, Kind], Expected] = {}
    holds: dict[tuple[str, Kind], float] = {}
    for pause, said in steps:
        now += pause
        for key, one in expected.items():
            one.firing = one.firing or now >= one.since + holds[key]
        book.due(at(now))
        book.update((ruling(worker, words) for worker, words in said.items()), at(now))
        for worker, words in said.items():
            for kind in KINDS:
                key, word = (worker, kind), words[kind] if words is not None else None
                if word is not None and word.says == "found":
                    holds[key] = word.hold
                    expected.setdefault(key, Expected(now))
                elif key in expected and not (
                    word is not None and word.says in {"doubt", "failed"} and expected[key].firing
                ):
                    del expected[key]
        for key, one in expected.items():
            one.firing = one.firing or now >= one.since + holds[key]
        firing = {(alert.finding.worker, alert.finding.kind) for alert in book.firing()}
        assert firing == {key for key, one in expected.items() if one.firing}
