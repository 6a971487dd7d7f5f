"""One line on its way to a sink: the record, and what was stamped on it when it was made."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from watcher.messages import message
from watcher.records import SCHEMA, SERVICE, AlertFields, Record, utc

Value = str | int | float | bool
Fields = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who speaks: the host, the absolute path of the workspace, and this run (8 hex digits, one per start)."""

    hostname: str
    workspace: str
    run: str = field(default_factory=lambda: os.urandom(4).hex())


@dataclass(frozen=True, slots=True)
class Line:
    """A record that was made at `at`, seconds since the epoch; `id` is the same in every sink, `seq` is not."""

    record: Record
    at: float
    id: str
    seq: int = 0

    def fields(self, origin: Origin) -> Fields:
        """Give the fields of the line in their order: flat, without those that do not apply, not yet escaped."""
        record = self.record
        return {
            "timestamp": rfc3339(utc(self.at)),
            "level": record.level.value,
            "event": record.event,
            "message": message(record),
            "service": SERVICE,
            "schema": SCHEMA,
            "hostname": origin.hostname,
            "workspace": origin.workspace,
            "id": self.id,
            "seq": self.seq,
            "run": origin.run,
            **dict(_body(record)),
        }


def rfc3339(time: datetime) -> str:
    """Write a time as the log has it: UTC, microseconds, `Z`."""
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _body(record: Record) -> Iterator[tuple[str, Value]]:
    body: dict[str, Any] = msgspec.to_builtins(record, builtin_types=(datetime,))
    for name, value in body.items():
        if name != "event":
            yield name, rfc3339(value) if isinstance(value, datetime) else value
    if isinstance(record, AlertFields):
        yield "status", record.status.value
