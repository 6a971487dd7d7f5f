import json
import os
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from watcher.records import AlertFiring, LockAcquired, Record
from watcher.schema import record_schema
from watcher.sinks import limit
from watcher.sinks.line import Line, Origin
from watcher.sinks.render import FORMATS, Renderer

OnTheWay = Callable[[Record], Line]
Alert = Callable[..., AlertFiring]

# \n ends the line; there is no other control character in it, and none of the characters by which Unicode
# breaks lines or turns their direction.
TROUBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def json_of(line: Line, origin: Origin) -> dict[str, Any]:
    """The fields of a line as a reader of the json format gets them."""
    fields: dict[str, Any] = json.loads(Renderer("json", origin)(line))
    return fields


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_in_a_record_breaks_its_line(
    name: str, any_record: st.SearchStrategy[Record], line: OnTheWay, origin: Origin
) -> None:
    """Whatever the texts of a record hold, in each format it is one line, in UTF-8, and never too long."""

    @settings(deadline=None, suppress_health_check=list(HealthCheck))
    @given(any_record)
    def check(record: Record) -> None:
        rendered = Renderer(name, origin)(line(record))
        assert rendered.endswith(b"\n")
        assert len(rendered) <= limit.LONGEST
        assert not TROUBLE.search(rendered.decode()[:-1])

    check()


def test_whatever_a_record_holds_its_line_is_valid(
    any_record: st.SearchStrategy[Record], line: OnTheWay, origin: Origin
) -> None:
    """Each line of the json format is ASCII and holds against the schema, with any texts in any event."""
    schema = jsonschema.Draft202012Validator(record_schema())

    @settings(deadline=None, suppress_health_check=list(HealthCheck))
    @given(any_record)
    def check(record: Record) -> None:
        rendered = Renderer("json", origin)(line(record))
        assert rendered.isascii()
        schema.validate(json.loads(rendered))

    check()


@pytest.mark.parametrize("length", [96, 300, 80_000])
@pytest.mark.parametrize("name", FORMATS)
def test_a_line_fits_into_a_pipe_where_its_paths_allow(
    name: str, length: int, alert: Alert, line: OnTheWay, origin: Origin
) -> None:
    """However much an agent writes into its lock, the line is at most PIPE_BUF bytes long."""
    much = "\N{GRINNING FACE}" * length
    record = alert(session_id=much, lock_host=much, reason=much, hint=much, occupied_by=much, other_session_id=much)
    assert len(Renderer(name, origin)(line(record))) <= limit.USUAL == 4096


def test_the_message_is_cut_first(alert: Alert, line: OnTheWay, origin: Origin) -> None:
    """Where cutting the message is enough, everything else stays whole, and the line says that it was cut."""
    fields = json_of(line(alert(reason="r" * 1300, session_id="s" * 1000)), origin)
    assert fields["message"].endswith("\N{HORIZONTAL ELLIPSIS}")
    assert fields["reason"] == "r" * 1300
    assert fields["session_id"] == "s" * 1000
    assert fields["truncated"] is True


def test_a_line_is_not_cut_more_than_it_must(alert: Alert, line: OnTheWay, origin: Origin) -> None:
    """A cut line fills the room there is."""
    rendered = Renderer("json", origin)(line(alert(reason="\N{SNOWMAN}" * 600)))
    assert limit.USUAL - 12 < len(rendered) <= limit.USUAL


def test_a_short_line_is_not_cut(alert: Alert, line: OnTheWay, origin: Origin) -> None:
    """`truncated` is absent where nothing was cut."""
    assert "truncated" not in json_of(line(alert()), origin)


def test_paths_may_make_a_line_longer(alert: Alert, line: OnTheWay, origin: Origin) -> None:
    """A path of 4,000 bytes stays whole: the worker is what an alert is about."""
    worker = "/".join(["d" * 199] * 20)
    record = alert(worker=worker, lock_path=f"/srv/town/{worker}/.runtime/agent.lock")
    fields = json_of(line(record), origin)
    assert fields["worker"] == worker
    assert fields["lock_path"] == record.lock_path
    assert fields["truncated"] is True


def test_the_worker_is_cut_last(alert: Alert, line: OnTheWay, origin: Origin) -> None:
    """Beyond the hard limit the other paths go first; the worker keeps all the room there is."""
    worker = "w" * 15_000
    record = alert(worker=worker, lock_path="/" + worker, other_worker=worker)
    fields = json_of(line(record), origin)
    assert len(fields["lock_path"]) < 200
    assert len(fields["other_worker"]) < 1000
    assert fields["worker"] == worker
    assert fields["fingerprint"] == record.fingerprint


def test_bytes_that_are_not_utf8_are_spelled_out(
    lock: Callable[..., LockAcquired], line: OnTheWay, origin: Origin
) -> None:
    r"""A byte that is not UTF-8 is `\xNN` in every text, and the exact bytes of the worker are beside it."""
    raw = b"rig/\xff\xc3\xa9\x80"
    fields = json_of(line(lock(worker=os.fsdecode(raw), lock_path=os.fsdecode(b"/srv/" + raw))), origin)
    assert fields["worker"] == "rig/\\xff\N{LATIN SMALL LETTER E WITH ACUTE}\\x80"
    assert fields["lock_path"] == "/srv/rig/\\xff\N{LATIN SMALL LETTER E WITH ACUTE}\\x80"
    assert bytes.fromhex(fields["worker_hex"]) == raw


def test_a_name_in_utf8_needs_no_exact_bytes(lock: Callable[..., LockAcquired], line: OnTheWay, origin: Origin) -> None:
    """`worker_hex` is there only where the worker's text is not its name."""
    assert "worker_hex" not in json_of(line(lock(worker="r\N{SNOWMAN}g/\n\\xff")), origin)


def test_the_longest_name_of_strange_bytes_keeps_them(alert: Alert, line: OnTheWay, origin: Origin) -> None:
    """A path of PATH_MAX bytes, none of them UTF-8: the text is cut, the exact bytes are not."""
    raw = b"/".join([b"\xfe" * 255] * 16)
    fields = json_of(line(alert(worker=os.fsdecode(raw))), origin)
    assert bytes.fromhex(fields["worker_hex"]) == raw
    assert fields["truncated"] is True


def test_a_lone_surrogate_of_another_kind_is_replaced(alert: Alert, line: OnTheWay, origin: Origin) -> None:
    """What no file name decodes to and no strict reader takes becomes U+FFFD."""
    fields = json_of(line(alert(session_id="a\ud83dz\udc00")), origin)
    assert fields["session_id"] == "a\ufffdz\ufffd"


def test_the_workspace_may_be_any_path(alert: Alert, line: OnTheWay) -> None:
    """What all lines have is treated like what one line has."""
    fields = json_of(line(alert()), Origin("box", os.fsdecode(b"/srv/\xff\n"), "0" * 8))
    assert fields["workspace"] == "/srv/\\xff\n"


def test_a_format_that_is_none_is_refused(origin: Origin) -> None:
    """The error names what there is."""
    with pytest.raises(ValueError, match="expected one of json, console, logfmt, ecs, got xml"):
        Renderer("xml", origin)
