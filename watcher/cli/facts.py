"""Facts about locks for every command: as the fields of a JSON object, and in which order."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rules.model import Finding, Kind, LockRecord, Severity
from watcher.sinks.formats import json_line
from watcher.sinks.line import rfc3339
from watcher.sinks.text import cleaned, exact, is_clean

_SEVERITIES = {severity: rank for rank, severity in enumerate(reversed(Severity))}
_KINDS: dict[str, int] = {
    kind: rank for rank, kind in enumerate((Kind.COLLISION, Kind.ORPHAN, Kind.STALE, Kind.INVALID))
}

NOTHING = (len(_SEVERITIES), 0)
"""The rank of what has no finding."""


def json_object(fields: Mapping[str, object]) -> str:
    """Write one JSON object in ASCII that any strict reader takes: names that are not UTF-8 as the log has them."""
    return json_line(_written(fields))


def plain(fields: Mapping[str, object]) -> dict[str, Any]:
    """Leave out what does not apply; write times and names, as the log does."""
    return {name: _written(value) for name, value in fields.items() if value not in (None, "")}


def worker_fields(worker: str) -> dict[str, str]:
    """Name a worker; one whose name is not UTF-8 by its exact bytes too, as the log does."""
    return {"worker": worker} if is_clean(worker) else {"worker": cleaned(worker), "worker_hex": exact(worker)}


def record_fields(record: LockRecord) -> dict[str, Any]:
    """Give what a lock file says, under the names that the log has for it."""
    return plain(
        {
            "pid": record.pid,
            "session_id": record.session_id,
            "lock_host": record.hostname,
            "acquired_at": record.acquired_at,
        }
    )


def badness(finding: Finding) -> tuple[int, int]:
    """Rank a finding for a table that has the worst on top: the more severe first, then by kind."""
    return _SEVERITIES[finding.severity], _KINDS.get(finding.kind, len(_KINDS))


def _written(value: object) -> object:
    match value:
        case datetime():
            return rfc3339(value)
        case str():
            return cleaned(value)
        case Mapping():
            return {name: _written(each) for name, each in value.items()}
        case list():
            return [_written(each) for each in value]
        case _:
            return value
