"""What a record says to a person: one sentence, made of its fields."""

from rules.model import Kind, Verdict
from rules.resolution import Resolution
from watcher.records import (
    AlertFields,
    AlertFiring,
    AlertRepeated,
    AlertResolved,
    AlertUpdated,
    LockAcquired,
    LockFields,
    LockRefreshed,
    LockReleased,
    LockReplaced,
    LockVerdict,
    Record,
    WatcherDegraded,
    WatcherHeartbeat,
    WatcherRecovered,
    WatcherReloaded,
    WatcherStarted,
    WatcherStopped,
)

_ADJECTIVES: dict[str, str] = {Kind.ORPHAN: "orphaned", Kind.COLLISION: "contested"}

_VERDICTS = {
    Verdict.HELD: "held",
    Verdict.HELD_BY_SESSION: "held by its session",
    Verdict.HELD_BY_AGENT: "held by its agent",
    Verdict.ORPHAN: "orphaned",
    Verdict.STALE: "stale",
    Verdict.UNVERIFIABLE: "unverifiable",
    Verdict.INVALID: "unreadable",
}

_RESOLUTIONS = {
    Resolution.RELEASED: "the lock was released",
    Resolution.OWNER_ALIVE: "its owner is alive",
    Resolution.REFRESHED: "the lock was written again",
    Resolution.SESSION_RETURNED: "its session is back",
    Resolution.CLAIM_ENDED: "a claim has ended",
    Resolution.READABLE: "the file can be read again",
    Resolution.SUPERSEDED: "another alert takes its place",
    Resolution.DISABLED: "the rule was switched off",
}


def message(record: Record) -> str:
    """Say what a record says, in one sentence. It may hold whatever the fields hold, so escape it."""
    match record:
        case AlertFields():
            return f"{record.worker}: {_alert(record)}"
        case LockFields():
            return f"{record.worker}: {_lock(record)}"
        case _:
            return _watcher(record)


def _alert(record: AlertFields) -> str:
    trouble = _ADJECTIVES.get(record.kind, record.kind)
    match record:
        case AlertFiring():
            return f"lock is {trouble}: {record.reason}"
        case AlertUpdated():
            return f"lock is still {trouble}, in another way: {record.reason}"
        case AlertRepeated():
            return f"lock is still {trouble}: {record.reason}"
        case AlertResolved():
            return f"lock is no longer {trouble}: {_RESOLUTIONS[record.reason]}"
        case _:
            return record.reason


def _lock(record: LockFields) -> str:
    state = _VERDICTS[record.verdict]
    match record:
        case LockAcquired(initial=True) | LockAcquired(verdict=Verdict.INVALID):
            return f"lock found, {state}" + (f" ({_owner(record)})" if record.pid is not None else "")
        case LockReleased():
            return f"lock released, it was {state}"
        case LockVerdict():
            return f"lock is {state}, it was {_VERDICTS[record.previous]}"
        case LockRefreshed():
            return f"lock refreshed by {_owner(record)}"
        case LockReplaced():
            return f"lock taken over by {_owner(record)}"
        case _:
            return f"lock acquired by {_owner(record)}"


def _owner(record: LockFields) -> str:
    process = f"process {record.pid}" if record.pid and record.pid > 0 else "no process"
    if not record.session_id:
        return process
    return f"{process} in {'pane' if record.session_id.startswith('%') else 'session'} {record.session_id}"


def _watcher(record: Record) -> str:
    match record:
        case WatcherStarted():
            return (
                f"watching {record.directories} directories with {record.locks} locks,"
                f" armed by {record.backend} in {record.seconds:.2f} s"
            )
        case WatcherHeartbeat():
            firing = record.firing_stale + record.firing_orphan + record.firing_collision + record.firing_invalid
            return f"{record.locks} locks, {record.held} held, {firing} alerts firing"
        case WatcherReloaded():
            return f"configuration reloaded: {record.changed or 'nothing changed'}"
        case WatcherStopped():
            return f"stopped after {record.uptime_s:.0f} s: {record.reason}"
        case _:
            return _health(record)


def _health(record: Record) -> str:
    match record:
        case WatcherDegraded():
            return f"{record.component} is degraded: {record.reason}"
        case WatcherRecovered():
            lost = f"; {record.dropped} lines were dropped" if record.dropped else ""
            return f"{record.component} works again: {record.reason}{lost}"
        case _:
            return record.event
