import re
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.errors import one_line
from watcher.settings import Settings, load
from watcher.settings.forms import YEAR, format_duration, parse_duration, parse_listen
from watcher.settings.toml import line_of, quote


@given(st.integers(0, int(YEAR) * 1000).map(lambda ms: ms / 1000))
def test_a_duration_survives_being_written(seconds: float) -> None:
    """Any duration in milliseconds is read back as it was written."""
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2), ("1m", 60), ("1h", 3600), ("1d", 86400), ("1h30m", 5400), ("2.5", 2.5)],
)
def test_durations(text: str, seconds: float) -> None:
    """The units of a duration."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", [" ", "s", "1 s", "1S", "-1s", "+1", "1e3", "1s2", "1,5s", "٣s", "0x1"])
def test_no_durations(text: str) -> None:
    """What is not plainly a duration is refused."""
    with pytest.raises(ValueError, match=re.escape(text)):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9100", ("127.0.0.1", 9100)),
        ("0.0.0.0:9100", ("0.0.0.0", 9100)),  # noqa: S104 - nothing listens here
        ("[::1]:80", ("::1", 80)),
        ("host.example:0", ("host.example", 0)),
    ],
)
def test_where_to_listen(text: str, address: tuple[str, int]) -> None:
    """A port alone means loopback; an IPv6 address stands in brackets."""
    assert parse_listen(text) == address
    assert load({"metrics.listen": text}, {}).settings.metrics.address == address
    assert Settings().metrics.address is None


@given(st.text())
def test_a_quoted_text_is_toml(text: str) -> None:
    """Whatever a value holds, it stands on one line of TOML that says the same and that a terminal prints as it is."""
    quoted = quote(text)
    assert tomllib.loads(f"key = {quoted}") == {"key": text}
    assert quoted.isprintable()


@given(st.text())
def test_one_line_is_printable(text: str) -> None:
    """No newline or escape sequence gets through to the terminal."""
    assert one_line(text).isprintable()


@given(st.lists(st.sampled_from(["", "# x = 1", "y = '''\nx = 1\n'''", "z = [\n1,\n2]"]), unique=True))
def test_the_line_of_a_key_is_found(before: list[str]) -> None:
    """Comments, texts and lists of several lines that look like the key do not mislead."""
    above = "".join(f"{part}\n" for part in before)
    assert line_of(f"{above}x = [\n1]\n", ("x",)) == above.count("\n") + 1
