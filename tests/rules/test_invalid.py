import pytest

from rules.evaluate import evaluate
from rules.model import Claim, FileState, Kind
from rules.policy import InvalidPolicy, Policy
from tests.rules.builders import HELD, findings, undecided, view


@pytest.mark.parametrize("before", [None, HELD], ids=["never readable", "readable before"])
def test_a_file_that_stays_unreadable_is_invalid(before: Claim | None) -> None:
    """Once its grace is over, a file that cannot be read as a lock is found, with the reason."""
    seen = view(before, file=FileState.INVALID, unreadable="it is a FIFO")
    (found,) = evaluate("a", seen, Policy(invalid=InvalidPolicy(hold=2.0))).findings
    assert found.kind == Kind.INVALID
    assert found.reason == "the lock file cannot be read: it is a FIFO"
    assert found.claim is None
    assert found.hold == 2.0


@pytest.mark.parametrize("before", [None, HELD], ids=["never readable", "readable before"])
def test_a_file_in_its_grace_is_undecided(before: Claim | None) -> None:
    """A half-written file is no alert, and ends none."""
    seen = view(before, file=FileState.SETTLING, unreadable="unexpected end")
    assert findings(seen) == []
    assert Kind.INVALID in undecided(seen)


def test_a_readable_file_is_valid() -> None:
    """What can be read is not invalid, and that is known."""
    assert findings(view(HELD)) == []
    assert undecided(view(HELD)) == set()
