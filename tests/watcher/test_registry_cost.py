from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.watcher.answers import ME, answer, listing
from tests.watcher.desk import Desk
from watcher.events import LockGone, LockSeen, ProcessSeen, Reading, Rescanned
from watcher.registry import Registry
from watcher.registry.index import NEIGHBOURS
from watcher.registry.sessions import SessionDirectory
from watcher.testing import alive, at, ended, record

MANY = 10_000


def reading(n: int, *, session_id: str, taken: float = 0.0) -> Reading:
    """Make what a look at the lock number `n` gives."""
    return Reading(record(n, session_id, taken=taken), ME, alive(n))


@pytest.fixture(scope="module")
def crowd() -> Desk:
    """Give a desk with 10,000 locks, each of a living process in a pane of its own."""
    desk = Desk()
    panes = [f"%{n} ${n} s{n}" for n in range(1, MANY + 1)]
    desk.tell(listing("/s", asked=0.5), answer("/s", *panes, asked=0.5))
    locks = {f"w{n}": reading(n, session_id=f"%{n}") for n in range(1, MANY + 1)}
    desk.tell(Rescanned(locks, at(1.0), initial=True), listing("/s", asked=1.1), answer("/s", *panes, asked=1.1))
    return desk


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the claims that are looked up, and the workers that are filed and viewed."""
    counts: Counter[str] = Counter()

    def count(owner: type, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - stands in for any method
            counts[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    count(SessionDirectory, "locate")
    count(Registry, "_file")
    count(Registry, "_view")
    return counts


def a_refresh(desk: Desk, t: float) -> None:
    """Have one lock be written anew."""
    desk.tell(LockSeen("w77", reading(77, session_id="%77", taken=t), at(t)))


def a_release(desk: Desk, t: float) -> None:
    """Have one lock go and come back."""
    desk.tell(LockGone("w78", at(t)))
    desk.wait(t + 2.0)
    desk.tell(LockSeen("w78", reading(78, session_id="%78", taken=t), at(t + 3.0)))


def a_death(desk: Desk, t: float) -> None:
    """Have one process end."""
    desk.tell(ProcessSeen(79, ended(79), at(t)))


@pytest.mark.parametrize("event", [a_refresh, a_release, a_death])
def test_an_event_touches_the_worker_that_it_concerns(
    crowd: Desk, work: Counter[str], event: Callable[[Desk, float], None]
) -> None:
    """With 10,000 locks, what happens to one is looked at for that one."""
    event(crowd, crowd.now.mono + 10.0)
    assert len(crowd.changes.touched) <= 1
    assert all(count <= 12 for count in work.values()), work


def test_an_answer_touches_the_workers_whose_panes_changed(crowd: Desk, work: Counter[str]) -> None:
    """Of 10,000 panes that one answer lists, the locks of those that went are looked at, and no others."""
    t = crowd.now.mono + 10.0
    panes = [f"%{n} ${n} s{n}" for n in range(1, MANY + 1) if n not in {90, 91}]
    crowd.tell(listing("/s", asked=t))
    crowd.tell(answer("/s", *panes, asked=t))
    assert {"w90", "w91"} <= crowd.changes.touched
    assert len(crowd.changes.touched) < 10
    assert all(count < 50 for count in work.values()), work


def test_the_same_answer_touches_nobody(crowd: Desk, work: Counter[str]) -> None:
    """The list of each second, in which nothing has changed, costs no look at any lock."""
    t = crowd.now.mono + 10.0
    panes = [f"%{n} ${n} s{n}" for n in range(1, MANY + 1)]
    crowd.tell(listing("/s", asked=t), answer("/s", *panes, asked=t))
    work.clear()
    crowd.tell(listing("/s", asked=t + 1.0), answer("/s", *panes, asked=t + 1.0))
    assert crowd.changes.touched <= {"w79", "w78"}
    assert work["locate"] <= 4


def test_time_touches_those_that_it_concerns(crowd: Desk, work: Counter[str]) -> None:
    """A grace that runs out is one worker's."""
    t = crowd.now.mono + 10.0
    crowd.garble(t, "w80")
    work.clear()
    crowd.wait(t + 1.0)
    assert "invalid w80" in crowd.firing()
    assert all(count <= 12 for count in work.values()), work
    crowd.tell(LockSeen("w80", reading(80, session_id="%80"), at(t + 2.0)))


def test_thousands_that_share_a_pane_cost_no_more_than_a_few(work: Counter[str]) -> None:
    """One lock among thousands that name one pane concerns its nearest neighbours."""
    desk = Desk()
    desk.tmux(0.5, "%5")
    locks = {f"w{n}": reading(n, session_id="%5", taken=n / 1e6) for n in range(1, 2001)}
    desk.tell(Rescanned(locks, at(1.0), initial=True))
    desk.tmux(1.1, "%5")
    work.clear()
    desk.tell(LockSeen("w1000", reading(1000, session_id="%5", taken=2.0), at(2.0)))
    assert len(desk.changes.touched) <= 2 * NEIGHBOURS + 1
    assert work["_file"] == 1
