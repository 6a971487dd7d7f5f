"""What a running watcher says of itself for `status`, beside the log."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from rules.model import Verdict
from watcher.state.documents import Wall

VITALS_NAME = "vitals.json"
Count = Annotated[int, Meta(ge=0)]


class Vitals(Struct, frozen=True, kw_only=True):
    """How a watcher was doing at `at`; times are in seconds since the epoch, `heartbeat_at` 0 before the first.

    `verdicts` counts the locks, `degraded` says why by component; the counts are since the start.
    """

    at: Wall
    pid: Annotated[int, Meta(ge=1)]
    heartbeat_at: Wall = 0.0
    backend: str = ""
    directories: Count = 0
    watches: Count = 0
    verdicts: dict[Verdict, int] = {}
    events: Count = 0
    overflows: Count = 0
    rescans: Count = 0
    dropped: Count = 0
    degraded: dict[str, str] = {}


DECODER = msgspec.json.Decoder(Vitals)
