import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rules.builders import pane_ref
from watcher.registry.index import NEIGHBOURS, Index, Sharers

PANE = pane_ref("%5")
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Both measure the machine, which may be busy with other tests, and not the data."""
WORKERS = st.sampled_from(["a", "b", "a/x", "ab", "."])


def test_a_key_is_reported_when_it_is_first_named_and_when_no_more() -> None:
    """Only the first worker that names a key, and the last that ceases to, makes it news."""
    index: Index[int] = Index()
    assert list(index.update("a", [1, 2])) == [1, 2]
    assert list(index.update("b", [2, 3])) == [3]
    assert list(index.update("a", [2])) == [1]
    assert list(index.update("b", [])) == [3]
    assert list(index.update("a", [])) == [2]


def test_the_workers_of_a_key_are_those_that_name_it_now() -> None:
    """A key leads to its workers, and to nobody once nobody names it."""
    index: Index[int] = Index()
    list(index.update("a", [1]))
    list(index.update("b", [1]))
    assert index.workers(1) == {"a", "b"}
    assert index.everyone() == {"a", "b"}
    list(index.update("a", []))
    assert index.workers(1) == {"b"}
    list(index.update("b", [2]))
    assert 1 not in index
    assert index.workers(1) == set()


@PATIENT
@given(st.lists(st.tuples(WORKERS, st.frozensets(st.integers(0, 3)))))
def test_an_index_is_what_was_last_said(updates: list[tuple[str, frozenset[int]]]) -> None:
    """After any updates, workers and keys are those of the last update of each worker, and nothing else is kept."""
    index: Index[int] = Index()
    last: dict[str, frozenset[int]] = {}
    named: set[int] = set()
    for worker, keys in updates:
        named ^= set(index.update(worker, keys))
        last[worker] = keys
        assert named == frozenset().union(*last.values())
        for key in range(4):
            assert index.workers(key) == {w for w, ks in last.items() if key in ks}
    for worker in last:
        list(index.update(worker, []))
    assert not index._workers
    assert not index._keys


def placed(*places: tuple[str, float]) -> Sharers:
    """Make the sharers of one pane by worker and age."""
    sharers = Sharers()
    for worker, age in places:
        sharers.place(worker, PANE, age)
    return sharers


def test_the_older_sharer_is_the_newest_of_the_older() -> None:
    """Of several sharers each has the one before it; the oldest has none."""
    sharers = placed(("a", 2.0), ("b", 1.0), ("c", 3.0))
    assert [sharers.older(worker) for worker in "bac"] == [None, "b", "a"]


def test_equal_ages_are_told_apart_by_name() -> None:
    """Two locks of one moment have an order all the same, so that one of them has the alert."""
    sharers = placed(("b", 1.0), ("a", 1.0))
    assert sharers.older("b") == "a"
    assert sharers.older("a") is None


@pytest.mark.parametrize(
    ("one", "two", "nested"),
    [
        ("a", "a/b", True),
        ("a/b", "a", True),
        (".", "a", True),
        ("a", ".", True),
        ("a", "ab", False),
        ("a/b", "a/c", False),
    ],
)
def test_nested_workers_do_not_share(one: str, two: str, *, nested: bool) -> None:
    """A lock written from a sub-directory of a worker, in that worker's own pane, is no second worker's."""
    assert (placed((one, 1.0), (two, 2.0)).older(two) is None) is nested


def test_a_nested_sharer_hides_no_other() -> None:
    """Behind a nested sharer an older one is found that is not."""
    assert placed(("b", 1.0), ("a/x", 2.0), ("a", 3.0)).older("a") == "b"


def test_many_sharers_cost_no_more_than_a_few() -> None:
    """Of thousands that share a pane only the nearest are looked at."""
    sharers = placed(*((f"w{n:04}", float(n)) for n in range(2000)))
    assert sharers.older("w1999") == "w1998"
    assert len(sharers.place("w1000", PANE, 1000.0)) == NEIGHBOURS


def test_whom_a_change_concerns() -> None:
    """A lock that comes, moves or goes concerns the newer sharers, for which it may be the older one."""
    sharers = placed(("a", 1.0), ("b", 2.0), ("c", 3.0))
    assert sharers.place("a", PANE, 1.0) == {"b", "c"}
    assert sharers.place("b", PANE, 4.0) == {"c"}
    assert sharers.place("a", pane_ref("%9"), 1.0) == {"b", "c"}
    assert sharers.place("c", None, 0.0) == {"b"}
    assert sharers.older("b") is None
    assert sharers.older("c") is None


@PATIENT
@given(st.lists(st.tuples(WORKERS, st.sampled_from(["%1", "%2", None]), st.integers(0, 3))))
def test_sharers_are_what_was_last_said(places: list[tuple[str, str | None, int]]) -> None:
    """After any places, the older sharer is that of the last places; who has another than before was concerned."""
    sharers = Sharers()
    last: dict[str, tuple[str, tuple[int, str]]] = {}
    older: dict[str, str | None] = {}
    for worker, pane, age in places:
        concerned = sharers.place(worker, pane_ref(pane) if pane is not None else None, age)
        last.pop(worker, None)
        if pane is not None:
            last[worker] = (pane, (age, worker))
        now = {w: sharers.older(w) for w in last}
        for w, (its_pane, place) in last.items():
            before = (p for other, (q, p) in last.items() if q == its_pane and p < place and not nested(w, other))
            assert now[w] == max(before, default=(0, None))[1]
            assert now[w] == older.get(w) or w in concerned | {worker}
        older = now
    for worker in last:
        sharers.place(worker, None, 0.0)
    assert not sharers._queues
    assert not sharers._places


def nested(one: str, two: str) -> bool:
    """Say whether one worker is inside the other."""
    return "." in {one, two} or f"{one}/".startswith(f"{two}/") or f"{two}/".startswith(f"{one}/")
