from itertools import product

import pytest

from rules.model import Liveness, SessionState, Verdict
from rules.verdict import LIVE, is_live, verdict, verdict_of
from tests.rules.builders import claim

ALIVE, DEAD, UNKNOWN = Liveness.ALIVE, Liveness.DEAD, Liveness.UNKNOWN
S = SessionState
ANY_AGENT = tuple(Liveness)
ANY_SESSION = tuple(SessionState)

TABLE = [
    ((ALIVE,), (S.ALIVE, S.NONE), ANY_AGENT, Verdict.HELD),
    ((ALIVE,), (S.DEAD,), ANY_AGENT, Verdict.ORPHAN),
    ((ALIVE,), (S.UNKNOWN,), ANY_AGENT, Verdict.HELD),
    ((DEAD,), (S.ALIVE,), ANY_AGENT, Verdict.HELD_BY_SESSION),
    ((DEAD,), (S.DEAD, S.NONE), ANY_AGENT, Verdict.STALE),
    ((DEAD,), (S.UNKNOWN,), (ALIVE,), Verdict.HELD_BY_AGENT),
    ((DEAD,), (S.UNKNOWN,), (DEAD,), Verdict.STALE),
    ((DEAD,), (S.UNKNOWN,), (UNKNOWN,), Verdict.UNVERIFIABLE),
    ((UNKNOWN,), ANY_SESSION, ANY_AGENT, Verdict.UNVERIFIABLE),
]
ROWS = [
    (process, session, agent, expected)
    for processes, sessions, agents, expected in TABLE
    for process, session, agent in product(processes, sessions, agents)
]


@pytest.mark.parametrize(("process", "session", "agent", "expected"), ROWS)
def test_the_verdict_is_that_of_the_table(
    process: Liveness, session: SessionState, agent: Liveness, expected: Verdict
) -> None:
    """Each combination of the three facts has the verdict of its row."""
    assert verdict(process, session, agent) is expected
    assert verdict_of(claim(process, session, agent)) is expected


def test_the_table_has_each_combination_once() -> None:
    """No combination of facts is without a row, and none has two."""
    assert sorted(row[:3] for row in ROWS) == sorted(product(Liveness, SessionState, Liveness))


@pytest.mark.parametrize(("process", "session", "agent", "expected"), ROWS)
def test_a_claim_is_live_where_somebody_may_act_on_it(
    process: Liveness, session: SessionState, agent: Liveness, expected: Verdict
) -> None:
    """A claim is live while held, by whomever, or orphaned; never where that is not known."""
    live = {Verdict.HELD, Verdict.HELD_BY_SESSION, Verdict.HELD_BY_AGENT, Verdict.ORPHAN}
    assert is_live(claim(process, session, agent)) is (expected in live)
    assert live == LIVE


@pytest.mark.parametrize(("process", "session", "agent", "expected"), ROWS)
def test_less_knowledge_never_accuses(
    process: Liveness, session: SessionState, agent: Liveness, expected: Verdict
) -> None:
    """A fact that becomes UNKNOWN never makes a lock stale, nor an orphan, that was neither."""
    accusing = {Verdict.STALE, Verdict.ORPHAN}
    blurred = {
        verdict(UNKNOWN, session, agent),
        verdict(process, S.UNKNOWN, UNKNOWN),
        verdict(process, session, UNKNOWN),
    }
    if expected not in accusing:
        assert not blurred & accusing
