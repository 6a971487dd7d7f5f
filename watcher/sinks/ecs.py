"""The Elastic Common Schema format: the log's fields under the names that Elastic knows them by.

Elastic cannot take the json format as it is: there `host`, `event`, `service` and `process` are objects. The four
fields that every ECS logger writes first have dotted names, as the ECS logging specification wants them; the rest
are objects. What ECS has no name for is under `lockwarden`, with its own name.
"""

from typing import Any

from watcher.records import Level
from watcher.sinks.formats import json_line
from watcher.sinks.line import Fields

ECS_VERSION = "8.11.0"

NAMES = {
    "timestamp": "@timestamp",
    "level": "log.level",
    "message": "message",
    "event": "event.action",
    "id": "event.id",
    "seq": "event.sequence",
    "reason": "event.reason",
    "starts_at": "event.start",
    "ends_at": "event.end",
    "kind": "rule.name",
    "service": "service.name",
    "version": "service.version",
    "run": "service.ephemeral_id",
    "hostname": "host.hostname",
    "pid": "process.pid",
    "lock_path": "file.path",
}
"""The ECS name of each field that has one."""

_FLAT = frozenset({"@timestamp", "log.level", "message"})


def ecs_line(fields: Fields) -> str:
    """Write one JSON object with ECS names."""
    return json_line(ecs_document(fields))


def ecs_document(fields: Fields) -> dict[str, Any]:
    """Rename the fields.

    Beyond `NAMES`: `event.kind` is `alert` for alerts, else `event`; `event.severity` is the place of the level
    in the order from debug, 0, to critical, 4; `event.module` is the service.
    """
    document: dict[str, Any] = {NAMES[name]: fields[name] for name in ("timestamp", "level", "message")}
    document["ecs.version"] = ECS_VERSION
    document["event"] = {
        "kind": "alert" if str(fields["event"]).startswith("alert.") else "event",
        "module": fields["service"],
        "severity": Level(str(fields["level"])).rank,
    }
    for name, value in fields.items():
        path = NAMES.get(name, f"lockwarden.{name}")
        if path not in _FLAT:
            group, _, key = path.partition(".")
            document.setdefault(group, {})[key] = value
    return document
