"""The lines of the state file: each is one JSON object that adds to what the lines before it say."""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from rules.alerts import Alert
from rules.model import Claim, EarlierClaim, Evidence
from rules.resolution import Resolution
from watcher.state.codec import from_json, to_json
from watcher.state.documents import (
    AlertDocument,
    ClaimDocument,
    Wall,
    load_alert,
    load_claim,
    store_alert,
    store_claim,
)

VERSION = 1


class Run(Struct, frozen=True, kw_only=True, tag="run", tag_field="line"):
    """A watcher began: what follows was written by it. The first line of every state file is one."""

    version: Annotated[int, Meta(description="Of this schema.", extra_json_schema={"const": VERSION})] = VERSION
    workspace: Annotated[str, Meta(description="The absolute path of the workspace, free of symbolic links.")]
    host: Annotated[str, Meta(description="The host's name.")]
    boot_id: Annotated[str, Meta(description="Tells one boot of one machine from all others; empty: not known.")]
    pid: int
    at: Wall


@dataclass(frozen=True, slots=True)
class StoredWorker:
    """What is known of one worker's lock; `claim` is None where there is none any more. `earlier`: oldest first."""

    worker: str
    claim: Claim | None = None
    earlier: tuple[EarlierClaim, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert that fires, or with a `resolution` fired, and the number of the log line that says so."""

    number: int
    alert: Alert
    resolution: Resolution | None = None


class Written(Struct, frozen=True, kw_only=True, tag="written", tag_field="line"):
    """Every log line up to this number is known to have been written."""

    upto: Annotated[int, Meta(ge=0)]


Entry = Run | StoredWorker | StoredAlert | Written


class Earlier(Struct, frozen=True):
    """A claim that was there before, and how it was displaced."""

    claim: ClaimDocument
    evidence: Evidence


class Worker(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="worker", tag_field="line"):
    """The claims on one worker, the current one and those before it that may still live; none: it has no lock."""

    worker: Annotated[str, Meta(description="Path relative to the workspace, `.` for its root.")]
    claim: ClaimDocument | None = None
    earlier: tuple[Earlier, ...] = ()


class Announced(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="alert", tag_field="line"):
    """An alert is about to be written to the log as firing, or where a resolution is given, as resolved."""

    number: Annotated[int, Meta(ge=0, description="Counts what is written; 0: long since.")] = 0
    alert: AlertDocument
    resolution: Resolution | None = None


_Line = Run | Worker | Announced | Written
_decoder: msgspec.json.Decoder[_Line] = msgspec.json.Decoder(_Line)


def encode(entry: Entry) -> bytes:
    """Write one line, newline included."""
    return to_json(_store(entry))


def decode(line: bytes, mono: float) -> Entry:
    """Read one line, for a run that began at `mono` (monotonic seconds).

    Raises:
        ValueError: it is not a line of a state file of this version.
    """
    return _load(from_json(line, _decoder), mono)


def schema() -> dict[str, Any]:
    """Give the JSON Schema (2020-12) of one line of the state file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lockwarden state",
        "description": "One line of the state file of a workspace; each adds to what those before it say.",
        **msgspec.json.schema(_Line),
    }


def _store(entry: Entry) -> _Line:
    match entry:
        case StoredWorker(worker, claim, earlier):
            return Worker(
                worker=worker,
                claim=store_claim(claim) if claim is not None else None,
                earlier=tuple(Earlier(store_claim(each.claim), each.evidence) for each in earlier),
            )
        case StoredAlert(number, alert, resolution):
            return Announced(number=number, alert=store_alert(alert), resolution=resolution)
        case _:
            return entry


def _load(line: _Line, mono: float) -> Entry:
    match line:
        case Worker():
            claim = load_claim(line.claim, mono) if line.claim is not None else None
            earlier = (EarlierClaim(load_claim(each.claim, mono), each.evidence) for each in line.earlier)
            return StoredWorker(line.worker, claim, tuple(earlier))
        case Announced():
            return StoredAlert(line.number, load_alert(line.alert, mono), line.resolution)
        case _:
            return line
