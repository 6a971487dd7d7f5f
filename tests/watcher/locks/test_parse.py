from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rules.model import LockRecord
from watcher.locks import gojson
from watcher.locks.errors import InvalidLockError
from watcher.locks.lockfile import parse

NOON = datetime(2026, 1, 21, 12, tzinfo=UTC)


def read_time(text: str) -> datetime | None:
    """Read one `acquired_at`."""
    return parse(b'{"acquired_at":"%b"}' % text.encode()).acquired_at


def read_session(literal: bytes) -> str:
    """Read one `session_id`, given between quotes."""
    return parse(b'{"session_id":"%b"}' % literal).session_id


@pytest.mark.parametrize(
    ("data", "record"),
    [
        (b'{"pid":1,"pid":null}', LockRecord(1)),
        (b'{"acquired_at":"2026-01-21T12:00:00Z","acquired_at":null}', LockRecord(acquired_at=NOON)),
        (b'{"session_id":null,"hostname":null,"pid":null,"acquired_at":null}', LockRecord()),
        (b'{"session_id":"a","SESSION_ID":""}', LockRecord()),
        (b" null\r\n", LockRecord()),
        (b'{"\xc5\xbfe\xc5\xbfsion_id":"s","ho\xc5\xbftname":"h"}', LockRecord(session_id="s", hostname="h")),
        (b'{"ho\\u017ftname":"h"}', LockRecord(hostname="h")),
        (b'{"p\\u0069d":7,"\\u0050ID":8}', LockRecord(8)),
        (b'{"p\xc4\xb1d":7,"p\xc4\xb0d":8,"p\xffd":9,"pid ":10,"session-id":"s"}', LockRecord()),
        (b'{"pid":9223372036854775807}', LockRecord(2**63 - 1)),
        (b'{"pid":-9223372036854775808}', LockRecord(-(2**63))),
        (b'{"x":{"pid":3},"y":[{"pid":4}],"pid":5}', LockRecord(5)),
        (b'{"x":%b,"pid":5}' % (b"1" * 1_000_000), LockRecord(5)),
        (b'{"x":[%b,-1.5e+7],"pid":5}' % (b"1" * 1_000_000), LockRecord(5)),
        (b'{"x":%b%b,"pid":5}' % (b"[" * 200, b"]" * 200), LockRecord(5)),
        (b'{"\\ud800":1,"x":"\xff","pid":5}', LockRecord(5)),
    ],
)
def test_reads_by_the_rules_of_go(data: bytes, record: LockRecord) -> None:
    """Null is no value, folding knows long s only, the last duplicate wins, unknown values are never converted."""
    assert parse(data) == record


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"\xef\xbb\xbf{}", "not a JSON object"),
        (b"\x00" * 100, "not a JSON object"),
        (b'"pid"', "not a JSON object"),
        (b'{\n  "pid":', "not JSON at byte 4"),
        (b'{"pid":1', "not JSON at byte 8"),
        (b'{"pid":1,}', "not JSON at byte 9"),
        (b"{,}", "not JSON at byte 1"),
        (b'{"pid":1 "x":2}', "not JSON at byte 8"),
        (b"{pid:1}", "not JSON at byte 1"),
        (b'{"x":NaN}', "not JSON at byte 1"),
        (b'{"x":-Infinity}', "not JSON at byte 1"),
        (b'{"x":[NaN]}', "not JSON at byte 5"),
        (b'{"x":[1,]}', "not JSON at byte 5"),
        (b'{"x":{"y":1]}', "not JSON at byte 5"),
        (b'{"x":["\t"]}', "not JSON at byte 5"),
        (b'{"x":"\x1f"}', "not JSON at byte 1"),
        (b'{"x\n":1}', "not JSON at byte 1"),
        (b'{"x":"\\u12g4"}', "not JSON at byte 1"),
        (b'{"x":01}', "not JSON at byte 6"),
        (b'{"x":1.}', "not JSON at byte 6"),
        (b'\x0b{"pid":1}', "not a JSON object"),
        (b'{"pid":1}\x00', "data after the JSON object at byte 9"),
        (b'{"x":%b%b}' % (b"[" * 30_000, b"]" * 30_000), "nested too deeply"),
        (b'{"pid":"x","pid":5}', "pid is not an integer"),
        (b'{"pid":true}', "pid is not an integer"),
        (b'{"pid":[5]}', "pid is not an integer"),
        (b'{"pid":5.0}', "pid is not an integer"),
        (b'{"pid":-9223372036854775809}', "pid does not fit 64 bits"),
        (b'{"pid":%b}' % (b"1" * 1_000_000), "pid does not fit 64 bits"),
        (b'{"session_id":5,"session_id":"x"}', "session_id is not a string"),
        (b'{"hostname":{}}', "hostname is not a string"),
        (b'{"acquired_at":{}}', "acquired_at is not an RFC 3339 time"),
        (b'{"acquired_at":1769000000}', "acquired_at is not an RFC 3339 time"),
        (b'{"acquired_at":"2026\\u002d01-21T12:00:00Z"}', "acquired_at is not an RFC 3339 time"),
    ],
)
def test_refuses_what_go_refuses_and_says_why(data: bytes, reason: str) -> None:
    """A wrong type or broken JSON is an error with one short clause as its reason, wherever it stands."""
    with pytest.raises(InvalidLockError) as refusal:
        parse(data)
    assert refusal.value.reason == reason
    assert str(refusal.value) == reason


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-21T13:37:31.123456789-08:00", datetime(2026, 1, 21, 21, 37, 31, 123456, UTC)),
        ("2026-01-21T12:00:00.9999999999999999Z", datetime(2026, 1, 21, 12, 0, 0, 999999, UTC)),
        ("2026-01-21T12:00:00.5Z", datetime(2026, 1, 21, 12, 0, 0, 500000, UTC)),
        ("2026-01-21T12:00:00-00:00", NOON),
        ("2026-01-21T17:45:00+05:45", NOON),
        ("2024-02-29T12:00:00Z", datetime(2024, 2, 29, 12, tzinfo=UTC)),
        ("2000-02-29T12:00:00Z", datetime(2000, 2, 29, 12, tzinfo=UTC)),
        # What Go takes although RFC 3339 does not.
        ("2026-01-21T5:00:00Z", datetime(2026, 1, 21, 5, tzinfo=UTC)),
        ("2026-01-21T12:00:00,5Z", datetime(2026, 1, 21, 12, 0, 0, 500000, UTC)),
        ("2026-01-22T12:00:00+24:00", NOON),
        ("2026-01-22T13:00:00+24:60", NOON),
        # No use to anybody: Go's zero time, and what a datetime cannot hold.
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T08:00:00+08:00", None),
        ("0000-02-29T00:00:00Z", None),
        ("0000-12-31T23:00:00-02:00", datetime(1, 1, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00+00:01", None),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("9999-12-31T23:59:59-00:01", None),
    ],
)
def test_reads_times_as_go_does(text: str, time: datetime | None) -> None:
    """Times come in UTC, cut to microseconds; Go's zero time and what a datetime cannot hold are no time."""
    assert read_time(text) == time


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-01-21",
        "2026-01-21 12:00:00Z",
        "2026-01-21t12:00:00Z",
        "2026-01-21T12:00:00z",
        "2026-01-21T12:00:00",
        "2026-01-21T12:00Z",
        "2026-01-21T12:00:00.Z",
        "2026-01-21T12:00:.5Z",
        "2026-01-21T12:00:00+0800",
        "2026-01-21T12:00:00+8:00",
        "2026-01-21T12:00:00+25:00",
        "2026-01-21T12:00:00+00:61",
        "2026-01-21T12:00:00+00:00:00",
        "2026-01-21T24:00:00Z",
        "2026-01-21T12:60:00Z",
        "2026-01-21T12:00:60Z",
        "2026-1-21T12:00:00Z",
        "2026-00-21T12:00:00Z",
        "2026-13-21T12:00:00Z",
        "2026-01-00T12:00:00Z",
        "2026-01-32T12:00:00Z",
        "2026-04-31T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "1900-02-29T12:00:00Z",
        "02026-01-21T12:00:00Z",
        "-026-01-21T12:00:00Z",
        " 2026-01-21T12:00:00Z",
        "2026-01-21T12:00:00Z ",
        "\uff12026-01-21T12:00:00Z",
    ],
)
def test_refuses_times_as_go_does(text: str) -> None:
    """A time without T, a zone, or two digits where Go wants them, or of a day that never was, is an error."""
    with pytest.raises(InvalidLockError, match="not an RFC 3339 time"):
        read_time(text)


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        (rb"\ud83d\ude00", "\U0001f600"),
        (rb"\ud800", "\ufffd"),
        (rb"\ud800\ud800\udc00", "\ufffd\U00010000"),
        (rb"\udc00\ud800x", "\ufffd\ufffdx"),
        (b"\\ud800\x80\\udc00", "\ufffd\ufffd\ufffd"),
        (b"\xe2\x82", "\ufffd\ufffd"),
        (b"\xed\xa0\x80", "\ufffd" * 3),
        (b"\xf0\x80\x80\x80", "\ufffd" * 4),
        (b"\xf4\x90\x80\x80", "\ufffd" * 4),
        (b"\xc0\xaf", "\ufffd" * 2),
        (b"\xff\\n\xfe", "\ufffd\n\ufffd"),
        (b"\xef\xbf\xbd", "\ufffd"),
        (b"\x7f", "\x7f"),
        (rb"\"\\\/\b\f\n\r\t", '"\\/\b\f\n\r\t'),
    ],
)
def test_reads_text_as_go_does(literal: bytes, text: str) -> None:
    """Each invalid byte and each surrogate without its pair is one U+FFFD."""
    assert read_session(literal) == text


def decoded_rune_by_rune(data: bytes) -> str:
    """Decode as Go's utf8.DecodeRune does: a byte that begins no valid sequence is one U+FFFD."""
    text, at = "", 0
    while at < len(data):
        for size in (1, 2, 3, 4):
            try:
                text += data[at : at + size].decode()
            except UnicodeDecodeError:
                continue
            at += size
            break
        else:
            text, at = text + "\ufffd", at + 1
    return text


@given(st.lists(st.sampled_from([*(bytes([b]) for b in range(0x80, 0x100)), b"\xe2\x82\xac", b"a"])).map(b"".join))
def test_replaces_invalid_utf_8_byte_by_byte(data: bytes) -> None:
    """Any mixture of valid and invalid UTF-8 reads as Go's rune decoder reads it."""
    assert gojson.unquote(b'"%b"' % data) == decoded_rune_by_rune(data)


@settings(max_examples=500)
@given(
    st.binary(max_size=200)
    | st.text('{}[]",:\\u0123456789abcdefntrlspiq_-+.eEZT \n', max_size=100).map(str.encode)
    | st.tuples(st.sampled_from([b'{"pid":', b'{"acquired_at":', b'{"x":', b'{"session_id":"']), st.binary()).map(
        b"".join
    )
)
@example(b'{"acquired_at":"')
@example(b'{"\xff":"\xff')
def test_any_bytes_are_a_record_or_an_invalid_lock(data: bytes) -> None:
    """Whatever the bytes, there is a record of proper text or an InvalidLockError with a short reason."""
    try:
        record = parse(data)
    except InvalidLockError as error:
        reason = error.reason
    else:
        (record.session_id + record.hostname).encode()
        reason = "none"
    assert reason.isascii()
    assert reason.isprintable()
    assert 0 < len(reason) < 60
