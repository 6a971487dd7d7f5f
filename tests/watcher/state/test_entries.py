import json
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rules.alerts import Alert
from rules.model import (
    Claim,
    EarlierClaim,
    Evidence,
    Finding,
    Liveness,
    LockRecord,
    Moment,
    PaneRef,
    ProcessIdentity,
    SessionRef,
    SessionState,
    Severity,
)
from rules.resolution import Resolution
from watcher.state.entries import Entry, Run, StoredAlert, StoredWorker, Written, decode, encode, schema

NOW = 50.0
"""The monotonic time at which the reading run began."""

MOST = 2**63 - 1
escaped = st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"])
names = st.text(st.characters(codec="utf-8") | escaped, max_size=20)
"""What names may hold, bytes that are not UTF-8 included (as `os.fsdecode` gives them)."""

times = st.floats(0, 4e9)
numbers = st.integers(0, MOST)
identities = st.builds(ProcessIdentity, pid=numbers, inode=numbers, start=numbers)
panes = st.builds(PaneRef, names, numbers, names.filter(bool))
refs = panes | st.builds(SessionRef, names, numbers, names)
claims = st.builds(
    Claim,
    record=st.builds(
        LockRecord,
        pid=st.integers(-MOST, MOST),
        acquired_at=st.none() | st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis wants naive bounds
        session_id=names,
        hostname=names,
    ),
    seen=st.builds(Moment, times, st.just(NOW)),
    uid=numbers,
    process=st.sampled_from(Liveness),
    session=st.sampled_from(SessionState),
    agent=st.sampled_from(Liveness),
    identity=st.none() | identities,
    agent_identity=st.none() | identities,
    pin=st.none() | refs,
    former=st.none() | refs,
    pane=st.none() | panes,
    tmux_socket=names,
    descriptive=st.booleans(),
    asked_after=st.just(NOW),
    settled=st.booleans(),
)
findings = st.builds(
    Finding,
    kind=st.sampled_from(["stale", "collision", "another_rule"]),
    worker=names,
    severity=st.sampled_from(Severity),
    reason=names,
    hint=names,
    workers=st.tuples(names) | st.tuples(names, names),
    claim=st.none() | claims,
    evidence=st.none() | st.sampled_from(Evidence),
    other=st.none() | claims,
    other_worker=names,
    occupied_by=names,
    hold=st.floats(0, 3600),
    repeat=st.floats(0, 3600),
)
alerts = st.builds(
    Alert,
    finding=findings,
    fingerprint=st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
    starts_at=times,
    ends_at=st.none() | times,
)
entries: st.SearchStrategy[Entry] = st.one_of(
    st.builds(Run, workspace=names, host=names, boot_id=names, pid=numbers, at=times),
    st.builds(
        StoredWorker,
        worker=names,
        claim=st.none() | claims,
        earlier=st.lists(st.builds(EarlierClaim, claims, st.sampled_from(Evidence)), max_size=2).map(tuple),
    ),
    st.builds(StoredAlert, number=numbers, alert=alerts, resolution=st.none() | st.sampled_from(Resolution)),
    st.builds(Written, upto=numbers),
)

SCHEMA = jsonschema.Draft202012Validator(schema())
PLAIN = StoredWorker("rig/crew/joe", Claim(LockRecord(7), Moment(1.5, NOW), asked_after=NOW))


@given(entries)
@example(StoredWorker("caf\udce9", None))
def test_an_entry_comes_back_as_it_was(entry: Entry) -> None:
    """Whatever is stored is read back the same, with names that are not UTF-8; and it is one line by the schema."""
    line = encode(entry)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode(line, NOW) == entry
    SCHEMA.validate(json.loads(line))


def test_monotonic_times_are_not_stored() -> None:
    """The monotonic clock of another run says nothing: tmux is to be asked after the new run began."""
    claim = Claim(LockRecord(7), Moment(1.5, 99.0), asked_after=98.0)
    loaded = decode(encode(StoredWorker("a", claim)), NOW)
    assert loaded == StoredWorker("a", replace(claim, seen=Moment(1.5, NOW), asked_after=NOW))


def test_what_has_its_default_is_left_out() -> None:
    """A line is as short as what it says: that is what ten thousand of them cost."""
    assert json.loads(encode(PLAIN)) == {
        "line": "worker",
        "worker": "rig/crew/joe",
        "claim": {"pid": 7, "seen_at": 1.5},
    }


DEEP = b"[" * 200_000


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"\0" * 4096,
        DEEP,
        b'{"line": "run"}',
        b'{"line": "something else"}',
        b'{"line": "written", "upto": NaN}',
        b'{"line": "written", "upto": -1}',
        b'{"line": "worker", "worker": "a", "claim": {"pid": 7, "seen_at": 1e999}}',
        b'{"line": "worker", "worker": "\\udc80", "claim": {"pid": 7, "seen_at": NaN}}',
        b'{"line": "worker", "worker": "\\udc80", "claim": ' + DEEP,
        b'{"line": "worker", "worker": "a", "claim": {"pid": 7, "seen_at": 1, "acquired_at": "2026-01-01T00:00:00"}}',
        encode(PLAIN)[:-9],
        encode(PLAIN).replace(b"1.5", b"99999999999999"),
    ],
)
def test_bad_lines_are_refused(line: bytes) -> None:
    """Whatever stands in the file, reading it raises ValueError and nothing else: no time that no clock can show."""
    with pytest.raises(ValueError, match=r"."):
        decode(line, time.monotonic())


@given(st.binary(max_size=60) | st.integers(0, 200).map(lambda at: encode(PLAIN)[:at] + b"\x00" + encode(PLAIN)[at:]))
def test_no_bytes_raise_anything_else(line: bytes) -> None:
    """Noise is an entry or a ValueError."""
    with suppress(ValueError):
        decode(line, NOW)
