import json
import re
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from watcher.records import AlertFiring, Record
from watcher.sinks.formats import json_line, logfmt_line
from watcher.sinks.line import Fields, Line, Origin
from watcher.sinks.render import Renderer

VALUES = st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.integers(), st.booleans())
FIELDS = st.dictionaries(st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1), VALUES)
PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "=]+)')


def read_logfmt(line: str) -> Fields:
    """Read a line as any logfmt reader does: words, and strings in quotes with JSON's escapes."""
    fields: Fields = {}
    end = 0
    while match := PAIR.match(line, end):
        name, word = match.groups()
        fields[name] = json.loads(word) if word.startswith('"') else word
        end = match.end() + 1
    assert end >= len(line), line[end:]
    return fields


def as_words(fields: Fields) -> Fields:
    """The fields as logfmt knows them: all text."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}


@given(FIELDS)
def test_json_gives_back_what_was_put_in(fields: Fields) -> None:
    """Escaping loses nothing."""
    assert json.loads(json_line(fields)) == fields


def test_json_escapes_delete() -> None:
    """DEL and the C1 controls are control characters too."""
    assert json_line({"a": "\x7f\\\x9b"}) == '{"a":"\\u007f\\\\\\u009b"}'


@given(FIELDS)
def test_logfmt_gives_back_what_was_put_in(fields: Fields) -> None:
    """A value is a bare word or a string in quotes, and means one thing."""
    assert read_logfmt(logfmt_line(fields)) == as_words(fields)


def test_logfmt_looks_like_this() -> None:
    """Plain words are bare; what has spaces, quotes, `=` or nothing in it stands in quotes."""
    fields: Fields = {"level": "info", "message": 'a "b" c=d', "path": "/a/b", "seq": 1, "initial": True, "reason": ""}
    assert logfmt_line(fields) == ('level=info message="a \\"b\\" c=d" path=/a/b seq=1 initial=true reason=""')


def test_logfmt_has_every_field_of_json(
    alert: Callable[..., AlertFiring], line: Callable[[Record], Line], origin: Origin
) -> None:
    """The same fields in the same order, under the same names."""
    one = line(alert(session_id="two words"))
    fields: Fields = json.loads(Renderer("json", origin)(one))
    read = read_logfmt(Renderer("logfmt", origin)(one).decode().removesuffix("\n"))
    assert list(read.items()) == list(as_words(fields).items())
