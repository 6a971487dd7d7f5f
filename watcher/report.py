"""From what the detector says to the records of the log."""

from collections.abc import Callable
from typing import Any

from rules.alerts import Step, Transition
from rules.model import Claim, Liveness, LockView, Verdict
from rules.resolution import Resolution
from rules.verdict import verdict_of
from watcher import records
from watcher.paths import lock_path_of
from watcher.registry.changes import ChangeKind, LockChange

_NONE = "none"


def lock_record(change: LockChange) -> records.Record:
    """Make the line that a change of a lock has earned."""
    fields = lock_fields(change.view)
    match change.kind:
        case ChangeKind.ACQUIRED:
            return records.LockAcquired(**fields, initial=change.initial)
        case ChangeKind.REFRESHED:
            return records.LockRefreshed(**fields)
        case ChangeKind.REPLACED:
            return records.LockReplaced(**fields)
        case ChangeKind.RELEASED:
            return records.LockReleased(**fields)
        case ChangeKind.VERDICT:
            return records.LockVerdict(**fields, previous=change.previous or Verdict.UNVERIFIABLE)


def lock_fields(view: LockView) -> dict[str, Any]:
    """Give what every line says about a lock; a file that cannot be read says nothing about an owner."""
    return _lock_fields(view.worker, view.directory, _readable_claim(view), view.verdict)


def alert_record(
    transition: Transition, directory: str, view: LockView | None, describe: Callable[[int], str]
) -> records.Record:
    """Make the line of one step of an alert.

    `directory` is the worker's absolute path; `view` its lock as it is now, None where that is gone: then the
    line shows it as it was. `describe` names a living process for the reason.
    """
    alert = transition.alert
    finding = alert.finding
    claim, verdict = finding.claim, _verdict(finding.claim)
    if transition.step is Step.RESOLVED and view is not None:
        claim, verdict = _readable_claim(view), view.verdict
    fields: dict[str, Any] = {
        **_lock_fields(finding.worker, directory, claim, verdict),
        "kind": finding.kind,
        "severity": finding.severity,
        "fingerprint": alert.fingerprint,
        "episode": alert.episode,
        "starts_at": records.utc(alert.starts_at),
        "hint": finding.hint,
        "evidence": finding.evidence,
        "other_worker": finding.other_worker,
        "occupied_by": finding.occupied_by,
    }
    if finding.other is not None:
        fields["other_pid"] = finding.other.record.pid
        fields["other_session_id"] = finding.other.record.session_id
        fields["other_acquired_at"] = finding.other.record.acquired_at
    if transition.step is Step.RESOLVED:
        ends_at = records.utc(alert.ends_at if alert.ends_at is not None else alert.starts_at)
        reason = transition.resolution or Resolution.CLAIM_ENDED
        return records.AlertResolved(**fields, ends_at=ends_at, reason=reason)
    fields["reason"] = finding.reason + _processes(finding.claim, finding.other, describe)
    match transition.step:
        case Step.FIRING:
            return records.AlertFiring(**fields, initial=alert.initial, restored=alert.restored)
        case Step.UPDATED:
            return records.AlertUpdated(**fields)
        case Step.REPEATED:
            return records.AlertRepeated(**fields)


def _readable_claim(view: LockView) -> Claim | None:
    return None if view.verdict is Verdict.INVALID else view.claim


def _verdict(claim: Claim | None) -> Verdict:
    return verdict_of(claim) if claim is not None else Verdict.INVALID


def _lock_fields(worker: str, directory: str, claim: Claim | None, verdict: Verdict) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "worker": worker,
        "lock_path": lock_path_of(directory),
        "process_state": _NONE,
        "session_state": _NONE,
        "agent_state": _NONE,
        "verdict": verdict,
    }
    if claim is not None:
        fields |= {
            "pid": claim.record.pid,
            "session_id": claim.record.session_id,
            "lock_host": claim.record.hostname,
            "acquired_at": claim.record.acquired_at,
            "process_state": claim.process,
            "session_state": claim.session,
            "agent_state": claim.agent,
            "agent_pid": claim.agent_identity.pid if claim.agent_identity is not None else None,
        }
    return fields


def _processes(claim: Claim | None, other: Claim | None, describe: Callable[[int], str]) -> str:
    """Name the living processes that an alert is about, where that may be known."""
    alive = (each for each in (claim, other) if each is not None and each.process is Liveness.ALIVE)
    pids = [each.record.pid for each in alive]
    named = [f"{pid} is {name}" for pid in dict.fromkeys(pids) if (name := describe(pid))]
    return f" ({'; '.join(named)})" if named else ""
