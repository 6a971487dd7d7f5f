import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rules.model import LockRecord
from watcher.locks.errors import InvalidLockError
from watcher.locks.lockfile import parse

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("golden.json").read_text("utf-8"))
GO_ZERO_TIME = "0001-01-01T00:00:00Z"


def as_record(reads: dict[str, Any]) -> LockRecord:
    """Turn what the original Go program read into our record."""
    stamp = reads["acquired_at"]
    acquired_at = None if stamp == GO_ZERO_TIME else datetime.fromisoformat(stamp).astimezone(UTC)
    return LockRecord(reads["pid"], acquired_at, reads.get("session_id", ""), reads.get("hostname", ""))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_reads_what_the_original_program_reads(case: dict[str, Any]) -> None:
    """Each recorded lock file gives the record that the original Go program gave, or is refused as there."""
    data = bytes.fromhex(case["hex"])
    if case["reads"] is None:
        with pytest.raises(InvalidLockError):
            parse(data)
    else:
        assert parse(data) == as_record(case["reads"])
