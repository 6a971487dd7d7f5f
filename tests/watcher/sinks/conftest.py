import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from rules.model import Evidence, Severity, Verdict
from rules.resolution import Resolution
from watcher import records
from watcher.records import Record
from watcher.sinks.line import Line, Origin

DEADLINE = 30.0


@pytest.fixture(scope="session")
def origin() -> Origin:
    """One run on one host."""
    return Origin(hostname="box", workspace="/srv/town", run="0badcafe")


@pytest.fixture(scope="session")
def alert() -> Callable[..., records.AlertFiring]:
    """Make a stale alert; keyword arguments change its fields."""

    def make(**changes: object) -> records.AlertFiring:
        fields: dict[str, Any] = {
            "worker": "rig/polecats/ada",
            "lock_path": "/srv/town/rig/polecats/ada/.runtime/agent.lock",
            "pid": 4242,
            "session_id": "%5",
            "acquired_at": datetime(2026, 4, 1, 12, 0, tzinfo=UTC),
            "process_state": "dead",
            "session_state": "dead",
            "agent_state": "unknown",
            "verdict": Verdict.STALE,
            "kind": "stale",
            "severity": Severity.WARNING,
            "fingerprint": "0123456789abcdef",
            "episode": "fedcba9876543210",
            "starts_at": datetime(2026, 4, 1, 12, 0, 1, 5, tzinfo=UTC),
            "reason": "process 4242 is gone and pane %5 does not exist",
            "hint": "lockwarden clean /srv/town/rig/polecats/ada",
        }
        return records.AlertFiring(**(fields | changes))

    return make


@pytest.fixture(scope="session")
def lock() -> Callable[..., records.LockAcquired]:
    """Make an acquired lock; keyword arguments change its fields."""

    def make(**changes: object) -> records.LockAcquired:
        fields: dict[str, Any] = {
            "worker": "rig/polecats/ada",
            "lock_path": "/srv/town/rig/polecats/ada/.runtime/agent.lock",
            "pid": 4242,
            "process_state": "alive",
            "session_state": "none",
            "agent_state": "unknown",
            "verdict": Verdict.HELD,
        }
        return records.LockAcquired(**(fields | changes))

    return make


@pytest.fixture(scope="session")
def line() -> Callable[[Record], Line]:
    """Put a record on its way, as the journal does."""
    return lambda record: Line(record, at=1_775_044_801.5, id="ab" * 16, seq=7)


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], object]], None]:
    """Wait for a fact; fail when it does not come."""

    def wait(fact: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not fact():
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.002)

    return wait


@pytest.fixture(scope="session")
def parsed() -> Callable[[Path], list[dict[str, Any]]]:
    """Read the JSON lines of a file; each must be whole."""

    def read(path: Path) -> list[dict[str, Any]]:
        text = path.read_text()
        assert text == "" or text.endswith("\n"), "the last line is half a line"
        return [json.loads(line) for line in text.splitlines()]

    return read


@pytest.fixture(scope="session")
def any_record() -> st.SearchStrategy[Record]:
    """Every kind of record, with anything in its texts that a file name or a lock may bring."""
    surrogates = st.text(st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF), max_size=20)
    text = st.one_of(
        st.text(max_size=50),
        surrogates,
        st.binary(max_size=300).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
        st.sampled_from(["\x7f\x9b31m\u202e\u2028\x85", "\x1b]0;owned\a", "-rf", "%s", "{}", '"\\', "a=b c", ""]),
        st.tuples(st.text(min_size=1, max_size=3), st.integers(1, 30_000)).map(lambda pair: pair[0] * pair[1]),
    )
    count = st.integers(0, 2**63 - 1)
    pid = st.none() | st.integers(-(2**63), 2**63 - 1)
    times = st.datetimes(timezones=st.just(UTC))
    digits = st.text("0123456789abcdef", min_size=16, max_size=16)
    own = {
        "pid": pid,
        "agent_pid": pid,
        "other_pid": pid,
        "dropped": st.none() | count,
        "acquired_at": st.none() | times,
        "other_acquired_at": st.none() | times,
        "starts_at": times,
        "ends_at": times,
        "process_state": st.sampled_from(["alive", "dead", "unknown"]),
        "session_state": st.sampled_from(["alive", "dead", "unknown", "none"]),
        "agent_state": st.sampled_from(["alive", "dead", "unknown", "none"]),
        "verdict": st.sampled_from(Verdict),
        "previous": st.sampled_from(Verdict),
        "kind": st.sampled_from(["stale", "orphan", "collision", "invalid", "too_long"]),
        "severity": st.sampled_from(Severity),
        "fingerprint": digits,
        "episode": digits,
        "evidence": st.none() | st.sampled_from(Evidence),
        "component": st.sampled_from(records.Component),
        "initial": st.booleans(),
        "restored": st.booleans(),
        "seconds": st.floats(0, 1e9),
        "uptime_s": st.floats(0, 1e9),
        "worker_hex": st.just(""),
    }
    counts = {"directories", "watches", "skipped", "locks", "held", "unverifiable", "events", "overflows", "rescans"}

    def strategy(kind: type[Record], name: str) -> st.SearchStrategy[Any]:
        if kind is records.AlertResolved and name == "reason":
            return st.sampled_from(Resolution)
        if kind is records.WatcherStarted and name == "pid":
            return st.integers(1, 2**22)
        if kind is records.WatcherHeartbeat and name == "dropped":
            return count
        return own.get(name, count if name in counts or name.startswith("firing_") else text)

    return st.one_of(
        [st.builds(kind, **{name: strategy(kind, name) for name in kind.__struct_fields__}) for kind in records.RECORDS]
    )
