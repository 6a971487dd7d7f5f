from typing import Any

import pytest

from rules.model import Severity, Verdict
from rules.resolution import Resolution
from watcher import records
from watcher.messages import message
from watcher.records import Component, Record

LOCK: dict[str, Any] = {
    "worker": "rig/ada",
    "lock_path": "/srv/town/rig/ada/.runtime/agent.lock",
    "process_state": "dead",
    "session_state": "dead",
    "agent_state": "unknown",
    "verdict": Verdict.HELD_BY_SESSION,
}
ALERT: dict[str, Any] = LOCK | {
    "verdict": Verdict.STALE,
    "kind": "stale",
    "severity": Severity.WARNING,
    "fingerprint": "0" * 16,
    "episode": "1" * 16,
    "starts_at": records.utc(0),
    "hint": "lockwarden clean /srv/town/rig/ada",
    "reason": "process 4242 is gone and session gt-ada does not exist",
}


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (
            records.AlertFiring(**ALERT),
            "rig/ada: lock is stale: process 4242 is gone and session gt-ada does not exist",
        ),
        (
            records.AlertRepeated(**ALERT | {"kind": "orphan", "reason": "why"}),
            "rig/ada: lock is still orphaned: why",
        ),
        (
            records.AlertUpdated(**ALERT | {"kind": "collision", "reason": "why"}),
            "rig/ada: lock is still contested, in another way: why",
        ),
        (
            records.AlertResolved(**ALERT | {"reason": Resolution.SUPERSEDED}, ends_at=records.utc(1)),
            "rig/ada: lock is no longer stale: another alert takes its place",
        ),
        (
            records.AlertFiring(**ALERT | {"kind": "idle", "reason": "nothing moves"}),
            "rig/ada: lock is idle: nothing moves",
        ),
        (
            records.LockAcquired(**LOCK, pid=7, session_id="%5"),
            "rig/ada: lock acquired by process 7 in pane %5",
        ),
        (
            records.LockAcquired(**LOCK, pid=7, session_id="gt-ada", initial=True),
            "rig/ada: lock found, held by its session (process 7 in session gt-ada)",
        ),
        (
            records.LockAcquired(**LOCK | {"verdict": Verdict.INVALID}, initial=True),
            "rig/ada: lock found, unreadable",
        ),
        (records.LockRefreshed(**LOCK, pid=7), "rig/ada: lock refreshed by process 7"),
        (records.LockReplaced(**LOCK, pid=0), "rig/ada: lock taken over by no process"),
        (records.LockReleased(**LOCK, pid=7), "rig/ada: lock released, it was held by its session"),
        (
            records.LockVerdict(**LOCK | {"verdict": Verdict.STALE}, previous=Verdict.HELD),
            "rig/ada: lock is stale, it was held",
        ),
        (
            records.WatcherStarted(
                version="1", pid=1, backend="inotify", directories=9, watches=9, skipped=2, locks=3, seconds=0.5
            ),
            "watching 9 directories with 3 locks, armed by inotify in 0.50 s",
        ),
        (
            records.WatcherDegraded(component=Component.LOG, reason="stdout: nobody reads it"),
            "log is degraded: stdout: nobody reads it",
        ),
        (
            records.WatcherRecovered(component=Component.LOG, reason="stdout: nobody reads it", dropped=3),
            "log works again: stdout: nobody reads it; 3 lines were dropped",
        ),
        (records.WatcherReloaded(changed=""), "configuration reloaded: nothing changed"),
        (records.WatcherStopped(reason="SIGTERM", uptime_s=61.4), "stopped after 61 s: SIGTERM"),
    ],
)
def test_a_record_says_what_happened_in_one_sentence(record: Record, sentence: str) -> None:
    """The message of each event is a sentence for a person, made of its fields."""
    assert message(record) == sentence


@pytest.mark.parametrize("reason", Resolution)
def test_each_resolution_has_words(reason: Resolution) -> None:
    """No reason for which an alert resolves is without its sentence."""
    assert message(records.AlertResolved(**ALERT | {"reason": reason}, ends_at=records.utc(1)))


@pytest.mark.parametrize("verdict", Verdict)
def test_each_verdict_has_words(verdict: Verdict) -> None:
    """No verdict is without its word."""
    assert message(records.LockReleased(**LOCK | {"verdict": verdict}))
