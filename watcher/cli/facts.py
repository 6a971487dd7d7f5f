"""Facts about a lock as the fields of a JSON object."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rules.model import LockRecord
from watcher.sinks.line import rfc3339


def plain(fields: Mapping[str, object]) -> dict[str, Any]:
    """Leave out what does not apply, and write times, as the log does."""
    return {
        name: rfc3339(value) if isinstance(value, datetime) else value
        for name, value in fields.items()
        if value not in (None, "")
    }


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
