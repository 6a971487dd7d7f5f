from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.model import LockRecord
from watcher.locks import gojson, gotime
from watcher.locks.lockfile import encode, parse

PST = -8 * 3600
STAMP = 1_769_031_451_123_456_789


def test_writes_the_layout_of_go() -> None:
    """A full lock has two-space indent, nanoseconds, the local offset, and no newline at its end."""
    assert encode(pid=4242, acquired_ns=STAMP, utc_offset=PST, session_id="%5", hostname="vm") == (
        b'{\n  "pid": 4242,\n  "acquired_at": "2026-01-21T13:37:31.123456789-08:00",\n'
        b'  "session_id": "%5",\n  "hostname": "vm"\n}'
    )


def test_leaves_empty_strings_out() -> None:
    """Both optional fields are `omitempty` in Go."""
    assert encode(pid=1, acquired_ns=0, utc_offset=0) == b'{\n  "pid": 1,\n  "acquired_at": "1970-01-01T00:00:00Z"\n}'


@pytest.mark.parametrize(
    ("at_ns", "utc_offset", "text"),
    [
        (STAMP, 0, "2026-01-21T21:37:31.123456789Z"),
        (STAMP - 789, 20_700, "2026-01-22T03:22:31.123456+05:45"),
        (STAMP - 123_456_789, -12_600, "2026-01-21T18:07:31-03:30"),
        (STAMP - 123_456_789 + 1, 0, "2026-01-21T21:37:31.000000001Z"),
        (STAMP - 123_456_789 + 500_000_000, 0, "2026-01-21T21:37:31.5Z"),
        (0, 20, "1970-01-01T00:00:20+00:00"),
        (0, -20, "1969-12-31T23:59:40+00:00"),
        (0, -61, "1969-12-31T23:58:59-00:01"),
        (-1, 0, "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_writes_times_as_go_does(at_ns: int, utc_offset: int, text: str) -> None:
    """The fraction loses its trailing zeros, UTC is Z, and an offset is cut to whole minutes."""
    assert gotime.format_time(at_ns, utc_offset) == text


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("gt-crew", '"gt-crew"'),
        ('"\\/', '"\\"\\\\/"'),
        ("<&>", '"\\u003c\\u0026\\u003e"'),
        ("\b\f\n\r\t", '"\\b\\f\\n\\r\\t"'),
        ("\x00\x1b\x7f", '"\\u0000\\u001b\x7f"'),
        ("\u2027\u2028\u2029", '"\u2027\\u2028\\u2029"'),
        ("é\U0001f600\ufffd", '"é\U0001f600\ufffd"'),
        ("\udcff\udc80", '"\\ufffd\\ufffd"'),
    ],
)
def test_writes_text_as_go_does(text: str, literal: str) -> None:
    """What HTML or JavaScript would take for its own is escaped; a byte that is not UTF-8 is an escaped U+FFFD."""
    assert gojson.quote(text) == literal


@given(
    pid=st.integers(-(2**63), 2**63 - 1),
    acquired_ns=st.integers(0, 2**62),
    minutes=st.integers(-14 * 60, 14 * 60),
    session_id=st.text(),
    hostname=st.text(),
)
def test_reads_back_what_it_wrote(pid: int, acquired_ns: int, minutes: int, session_id: str, hostname: str) -> None:
    """Whatever is written is read back the same, the time cut to microseconds."""
    data = encode(pid=pid, acquired_ns=acquired_ns, utc_offset=60 * minutes, session_id=session_id, hostname=hostname)
    acquired_at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=acquired_ns // 1000)
    assert parse(data) == LockRecord(pid, acquired_at, session_id, hostname)
