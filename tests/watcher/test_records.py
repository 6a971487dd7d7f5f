import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import jsonschema
import pytest

from rules.model import Evidence, Severity, Verdict
from rules.resolution import Resolution
from watcher import records
from watcher.records import RECORDS, Component, Level, Record
from watcher.schema import record_schema
from watcher.sinks.line import Line, Origin
from watcher.sinks.render import Renderer


def words(text: str) -> set[str]:
    """The words of a text."""
    return set(text.split())


ENVELOPE = words("timestamp level event message service schema hostname workspace id seq run truncated")
LOCK = words(
    "worker lock_path pid session_id lock_host acquired_at process_state session_state agent_state"
    " agent_pid verdict worker_hex"
)
ALERT = LOCK | words(
    "kind status severity fingerprint episode starts_at reason hint evidence other_pid other_session_id"
    " other_worker other_acquired_at occupied_by"
)
HEALTH = {"component", "reason", "hint", "dropped"}
FIELDS = {
    "watcher.started": words("version pid backend directories watches skipped locks seconds polled"),
    "watcher.heartbeat": words(
        "uptime_s locks held unverifiable watches firing_stale firing_orphan firing_collision firing_invalid"
        " events overflows rescans dropped"
    ),
    "watcher.degraded": HEALTH,
    "watcher.recovered": HEALTH,
    "watcher.reloaded": {"changed"},
    "watcher.stopped": {"reason", "uptime_s"},
    "lock.acquired": LOCK | {"initial"},
    "lock.refreshed": LOCK,
    "lock.replaced": LOCK,
    "lock.released": LOCK,
    "lock.verdict": LOCK | {"previous"},
    "alert.firing": ALERT | {"initial", "restored"},
    "alert.updated": ALERT,
    "alert.repeated": ALERT,
    "alert.resolved": ALERT | {"ends_at"},
}
NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)
VALUES: dict[str, Any] = {
    "acquired_at": NOON,
    "starts_at": NOON,
    "ends_at": NOON,
    "other_acquired_at": NOON,
    "process_state": "alive",
    "session_state": "none",
    "agent_state": "unknown",
    "verdict": Verdict.HELD,
    "previous": Verdict.UNVERIFIABLE,
    "severity": Severity.ERROR,
    "component": Component.LOG,
    "fingerprint": "0123456789abcdef",
    "episode": "0123456789abcdef",
    "kind": "collision",
    "evidence": Evidence.TAKEOVER,
    "initial": True,
    "restored": True,
    "seconds": 0.5,
    "uptime_s": 0.5,
    "worker_hex": "ff",
}
TEXTS = words(
    "version backend polled reason hint changed worker lock_path session_id lock_host other_session_id"
    " other_worker occupied_by"
)


def full(kind: type[Record]) -> Record:
    """A record with every field that it can have."""
    fields = {name: VALUES.get(name, "text" if name in TEXTS else 3) for name in kind.__struct_fields__}
    if kind is records.AlertResolved:
        fields["reason"] = Resolution.RELEASED
    return kind(**fields)


def bare(kind: type[Record]) -> Record:
    """A record with no field that it can do without."""
    wanted = [name for name in record_schema()["$defs"][kind.__name__]["required"] if name in kind.__struct_fields__]
    record = full(kind)
    return kind(**{name: getattr(record, name) for name in wanted})


def written(record: Record) -> dict[str, Any]:
    """The record as a line of the json format."""
    line = Line(record, at=1_775_044_801.0, id="ab" * 16, seq=1)
    fields: dict[str, Any] = json.loads(Renderer("json", Origin("box", "/srv/town"))(line))
    return fields


@pytest.fixture(scope="module")
def validate() -> Callable[[dict[str, Any]], None]:
    """Hold a line against the schema."""
    checker = jsonschema.Draft202012Validator(record_schema(), format_checker=jsonschema.FormatChecker())
    return checker.validate


def test_the_schema_is_one() -> None:
    """What `lockwarden schema` prints is itself valid JSON Schema 2020-12, and JSON."""
    jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(record_schema())))


def test_the_list_of_events_is_closed() -> None:
    """The events are those that the documentation lists, each under its own name."""
    assert [record.__struct_config__.tag for record in RECORDS] == list(FIELDS)


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__struct_config__.tag)
def test_the_schema_knows_exactly_the_documented_fields(kind: type[Record]) -> None:
    """Each event has the fields of its row in the documentation and those that all have, and allows no other."""
    definition = record_schema()["$defs"][kind.__name__]
    assert set(definition["properties"]) == ENVELOPE | FIELDS[str(kind.__struct_config__.tag)]
    assert definition["additionalProperties"] is False


@pytest.mark.parametrize("make", [full, bare])
@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__struct_config__.tag)
def test_every_event_is_valid_as_it_is_written(
    kind: type[Record], make: Callable[[type[Record]], Record], validate: Callable[[dict[str, Any]], None]
) -> None:
    """With all its fields and with as few as may be, each event's line holds against the schema."""
    validate(written(make(kind)))


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__struct_config__.tag)
def test_what_is_not_documented_is_refused(kind: type[Record], validate: Callable[[dict[str, Any]], None]) -> None:
    """A line with a field too many, a required one too few, or a null is not valid."""
    line = written(full(kind))
    without = {name: value for name, value in line.items() if name != "message"}
    for wrong in (line | {"colour": "red"}, without, line | {"message": None}, line | {"seq": 0}, line | {"run": "1"}):
        with pytest.raises(jsonschema.ValidationError):
            validate(wrong)


def test_what_does_not_apply_is_absent() -> None:
    """No field is null, false or empty to say that it does not apply: it is not there."""
    line = written(bare(records.AlertFiring))
    assert not {"pid", "session_id", "acquired_at", "initial", "restored", "evidence", "worker_hex"} & line.keys()


def test_a_lock_without_a_pid_says_zero() -> None:
    """A readable lock that names no process has pid 0; only an unreadable one has none."""
    lock: dict[str, Any] = {
        "worker": "a",
        "lock_path": "/a",
        "process_state": "dead",
        "session_state": "none",
        "agent_state": "none",
    }
    assert written(records.LockAcquired(**lock, pid=0, verdict=Verdict.STALE))["pid"] == 0


@pytest.mark.parametrize("kind", ["stale", "orphan", "collision", "invalid", "idle_too_long"])
def test_another_packages_rule_may_bring_its_own_kind(kind: str, validate: Callable[[dict[str, Any]], None]) -> None:
    """A kind is any word in lower case."""
    validate(written(full(records.AlertFiring)) | {"kind": kind})


@pytest.mark.parametrize("kind", ["", "Stale", "two words", "9lives", "new\nline"])
def test_a_kind_is_one_word(kind: str, validate: Callable[[dict[str, Any]], None]) -> None:
    """A kind that could not be a label is refused."""
    with pytest.raises(jsonschema.ValidationError):
        validate(written(full(records.AlertFiring)) | {"kind": kind})


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("level", "loud"),
        ("severity", "debug"),
        ("status", "resolved"),
        ("verdict", "fine"),
        ("process_state", "zombie"),
        ("evidence", "rumour"),
        ("timestamp", "2026-04-01T12:00:00Z"),
        ("starts_at", "2026-04-01 12:00:00.000000"),
        ("fingerprint", "0123"),
        ("worker_hex", "abc"),
    ],
)
def test_enums_and_forms_are_closed(field: str, wrong: str, validate: Callable[[dict[str, Any]], None]) -> None:
    """A word from outside its list, or a time or digest in another form, is refused."""
    with pytest.raises(jsonschema.ValidationError):
        validate(written(full(records.AlertFiring)) | {field: wrong})


@pytest.mark.parametrize("severity", Severity)
def test_the_level_of_an_alert_is_its_severity(severity: Severity) -> None:
    """Firing, updated and repeated alerts are as loud as they are severe; a resolved one is information."""
    for kind in (records.AlertFiring, records.AlertUpdated, records.AlertRepeated, records.AlertResolved):
        fields = {name: getattr(full(kind), name) for name in kind.__struct_fields__} | {"severity": severity}
        line = written(kind(**fields))
        resolved = kind is records.AlertResolved
        assert line["level"] == ("info" if resolved else severity.value)
        assert line["status"] == ("resolved" if resolved else "firing")


def test_only_a_degradation_is_a_warning_besides() -> None:
    """`watcher.degraded` is a warning, all else that is no alert is information."""
    loud = [kind for kind in RECORDS if not issubclass(kind, records.AlertFields) and full(kind).level != Level.INFO]
    assert loud == [records.WatcherDegraded]


def test_levels_have_an_order() -> None:
    """debug, info, warning, error, critical."""
    assert [level.value for level in sorted(Level, key=lambda level: level.rank)] == [
        "debug",
        "info",
        "warning",
        "error",
        "critical",
    ]


def test_times_have_microseconds_and_are_utc() -> None:
    """A whole second still shows its microseconds, and another zone's time is converted."""
    there = NOON.astimezone(timezone(timedelta(hours=-7)))
    line = written(records.AlertFiring(**{**fields_of(full(records.AlertFiring)), "acquired_at": there}))
    assert line["timestamp"] == "2026-04-01T12:00:01.000000Z"
    assert line["acquired_at"] == "2026-04-01T12:00:00.000000Z"


def test_the_first_years_are_four_digits() -> None:
    """A lock may say that it was acquired in year 1: that is written, not refused."""
    first = datetime(1, 1, 1, tzinfo=UTC)
    line = written(records.AlertFiring(**{**fields_of(full(records.AlertFiring)), "acquired_at": first}))
    assert line["acquired_at"] == "0001-01-01T00:00:00.000000Z"


def test_the_level_comes_before_all_that_could_hide_it() -> None:
    """Loki takes the first `level` of a line: it follows the timestamp at once."""
    assert list(written(full(records.AlertFiring)))[:3] == ["timestamp", "level", "event"]


def fields_of(record: Record) -> dict[str, Any]:
    """The fields of a record, to make another like it."""
    return {name: getattr(record, name) for name in record.__struct_fields__}
