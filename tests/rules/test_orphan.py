from itertools import product

import pytest

from rules.evaluate import evaluate
from rules.model import FileState, Kind, Liveness, LockView, SessionState, Verdict
from rules.policy import Policy
from rules.verdict import verdict
from tests.rules.builders import claim, findings, undecided, view

ORPHAN = claim(Liveness.ALIVE, SessionState.DEAD)


@pytest.mark.parametrize(("process", "session", "agent"), list(product(Liveness, SessionState, Liveness)))
def test_orphan_is_the_verdict_orphan(process: Liveness, session: SessionState, agent: Liveness) -> None:
    """A living process without its session is an orphan; unknown where either fact is, unless the process is dead."""
    seen = view(claim(process, session, agent))
    judged = verdict(process, session, agent)
    assert ((Kind.ORPHAN, None) in findings(seen)) is (judged is Verdict.ORPHAN)
    unknown = judged is Verdict.UNVERIFIABLE or (process is Liveness.ALIVE and session is SessionState.UNKNOWN)
    assert (Kind.ORPHAN in undecided(seen)) is unknown


def test_an_orphan_says_who_lost_what() -> None:
    """The finding names the process and the pane, and has a hold by default: an agent needs a moment to go."""
    (found,) = evaluate("a", view(ORPHAN), Policy()).findings
    assert found.reason == "process 10 is alive but pane %5 does not exist"
    assert found.hint == "lockwarden lock show /w/a"
    assert found.hold == 0.5


@pytest.mark.parametrize(
    "seen",
    [
        view(claim(Liveness.ALIVE, SessionState.DEAD, settled=False)),
        view(ORPHAN, file=FileState.SETTLING),
        view(None, file=FileState.SETTLING),
    ],
    ids=["no answer yet", "unreadable for a moment", "never readable so far"],
)
def test_what_is_not_settled_is_not_judged(seen: LockView) -> None:
    """While an answer or a grace is still running, an orphan is neither found nor cleared."""
    assert findings(seen) == []
    assert Kind.ORPHAN in undecided(seen)


def test_an_invalid_file_is_no_orphan() -> None:
    """A file that is no lock has no owner to be orphaned."""
    seen = view(ORPHAN, file=FileState.INVALID, unreadable="no JSON")
    assert findings(seen) == [(Kind.INVALID, None)]
    assert undecided(seen) == set()
