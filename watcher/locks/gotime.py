"""Times as Go's time package reads and writes them in JSON.

Go reads laxer than RFC 3339: `time.Time.UnmarshalJSON` falls back to `time.Parse`, and the strict checks
behind that have been switched off since they were written (go.dev/issue/54580). So a lock that Go reads may
have a one-digit hour, a comma before the fraction, and an offset of up to 24 hours and 60 minutes.
"""

import re
from datetime import UTC, datetime, timedelta

_TIME = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d)T(\d\d?):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))",
)
_MAX_OFFSET_HOURS = 24
_MAX_OFFSET_MINUTES = 60
# The Gregorian calendar repeats after 400 years: year 0, which a datetime cannot hold, is read as year 400.
_CYCLE_YEARS = 400
_CYCLE = timedelta(days=146_097)
_ZERO = datetime.min.replace(tzinfo=UTC)


def parse_time(text: bytes) -> datetime | None:
    """Return the instant in UTC, cut to microseconds; None for Go's zero time and what a datetime cannot hold.

    Raises:
        ValueError: Go refuses the text.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("not a time")
    year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
    fraction, sign, offset_hours, offset_minutes = match.group(7, 8, 9, 10)
    microsecond = int(fraction[:6].ljust(6, b"0")) if fraction else 0
    local = datetime(year or _CYCLE_YEARS, month, day, hour, minute, second, microsecond, tzinfo=UTC)
    offset = timedelta()
    if sign:
        hours, minutes = int(offset_hours), int(offset_minutes)
        if hours > _MAX_OFFSET_HOURS or minutes > _MAX_OFFSET_MINUTES:
            raise ValueError("offset out of range")
        offset = timedelta(hours=hours, minutes=minutes)
    try:
        instant = local + offset if sign == b"-" else local - offset
        if year == 0:
            instant -= _CYCLE
    except OverflowError:
        return None
    return None if instant == _ZERO else instant


def format_time(at_ns: int, utc_offset: int) -> str:
    """Return `at_ns` (nanoseconds since the epoch) as Go's RFC3339Nano, `utc_offset` seconds east of Greenwich."""
    seconds, nanoseconds = divmod(at_ns, 1_000_000_000)
    text = f"{datetime.fromtimestamp(seconds + utc_offset, UTC):%Y-%m-%dT%H:%M:%S}"
    if nanoseconds:
        text += f".{nanoseconds:09d}".rstrip("0")
    if utc_offset == 0:
        return text + "Z"
    minutes = abs(utc_offset) // 60
    sign = "-" if utc_offset < 0 and minutes else "+"
    return f"{text}{sign}{minutes // 60:02d}:{minutes % 60:02d}"
