import json
from collections.abc import Callable
from typing import Any

import pytest

from rules.model import Severity
from watcher import records
from watcher.records import Record
from watcher.sinks.ecs import NAMES
from watcher.sinks.line import Line, Origin
from watcher.sinks.render import Renderer

Make = Callable[..., Record]
OnTheWay = Callable[[Record], Line]


def document(line: Line, origin: Origin) -> dict[str, Any]:
    """The line as Elastic gets it."""
    fields: dict[str, Any] = json.loads(Renderer("ecs", origin)(line))
    return fields


def at(document: dict[str, Any], path: str) -> object:
    """Look a field up by its ECS name, be it dotted or nested."""
    if path in document:
        return document[path]
    group, _, name = path.partition(".")
    return document[group][name]


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("timestamp", "@timestamp"),
        ("level", "log.level"),
        ("message", "message"),
        ("event", "event.action"),
        ("id", "event.id"),
        ("seq", "event.sequence"),
        ("reason", "event.reason"),
        ("starts_at", "event.start"),
        ("kind", "rule.name"),
        ("service", "service.name"),
        ("run", "service.ephemeral_id"),
        ("hostname", "host.hostname"),
        ("pid", "process.pid"),
        ("lock_path", "file.path"),
        ("schema", "lockwarden.schema"),
        ("workspace", "lockwarden.workspace"),
        ("worker", "lockwarden.worker"),
        ("session_id", "lockwarden.session_id"),
        ("acquired_at", "lockwarden.acquired_at"),
        ("process_state", "lockwarden.process_state"),
        ("session_state", "lockwarden.session_state"),
        ("agent_state", "lockwarden.agent_state"),
        ("verdict", "lockwarden.verdict"),
        ("status", "lockwarden.status"),
        ("severity", "lockwarden.severity"),
        ("fingerprint", "lockwarden.fingerprint"),
        ("episode", "lockwarden.episode"),
        ("hint", "lockwarden.hint"),
    ],
)
def test_each_field_is_under_its_ecs_name(field: str, path: str, alert: Make, line: OnTheWay, origin: Origin) -> None:
    """The value of each field of the json format stands under the name that Elastic knows, or under lockwarden's."""
    one = line(alert())
    plain = json.loads(Renderer("json", origin)(one))
    assert at(document(one, origin), path) == plain[field]


def test_no_field_is_lost(alert: Make, line: OnTheWay, origin: Origin) -> None:
    """Every field of the json format is somewhere in the document."""
    one = line(alert())
    plain = json.loads(Renderer("json", origin)(one))
    found = document(one, origin)
    assert all(at(found, NAMES.get(name, f"lockwarden.{name}")) == value for name, value in plain.items())


def test_the_first_four_fields_are_those_of_every_ecs_logger(alert: Make, line: OnTheWay, origin: Origin) -> None:
    """The ECS logging specification wants these dotted, and in this order."""
    assert list(document(line(alert()), origin))[:4] == ["@timestamp", "log.level", "message", "ecs.version"]


def test_what_elastic_expects_to_be_an_object_is_one(alert: Make, line: OnTheWay, origin: Origin) -> None:
    """A plain `host` or `event` would be refused by the index's mapping."""
    found = document(line(alert()), origin)
    assert all(isinstance(found[name], dict) for name in ("event", "service", "host", "process", "file", "rule"))


def test_an_alert_is_an_alert(alert: Make, lock: Make, line: OnTheWay, origin: Origin) -> None:
    """`event.kind` tells alerts from all else."""
    assert at(document(line(alert()), origin), "event.kind") == "alert"
    assert at(document(line(lock()), origin), "event.kind") == "event"
    assert at(document(line(alert()), origin), "event.module") == "lockwarden"


def test_the_severity_is_a_number(alert: Make, line: OnTheWay, origin: Origin) -> None:
    """`event.severity` sorts: a critical alert is above a warning."""
    severities = [Severity.INFO, Severity.WARNING, Severity.ERROR, Severity.CRITICAL]
    assert [at(document(line(alert(severity=each)), origin), "event.severity") for each in severities] == [1, 2, 3, 4]


def test_the_watchers_own_fields_have_their_place(line: OnTheWay, origin: Origin) -> None:
    """The version is the service's, the pid the process's, the counts are under lockwarden."""
    started = records.WatcherStarted(
        version="1.2", pid=77, backend="inotify", directories=9, watches=8, skipped=1, locks=3, seconds=0.5
    )
    found = document(line(started), origin)
    assert at(found, "service.version") == "1.2"
    assert at(found, "process.pid") == 77
    assert at(found, "lockwarden.directories") == 9
