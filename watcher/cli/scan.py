"""`lockwarden scan`: one look, a table, an exit code."""

import time
from typing import Any

import click

from rules.model import Finding, Kind, Liveness, LockView, Severity, Verdict
from watcher.cli.facts import json_object, plain, worker_fields
from watcher.cli.options import settings_options, workspace_argument
from watcher.cli.progress import Elapsing
from watcher.cli.table import age, plural, table
from watcher.report import lock_fields
from watcher.settings import Loaded
from watcher.sources.processes.watch import describe
from watcher.survey import Survey, Surveyed, survey, workspace_at

_SEVERITIES = {severity: rank for rank, severity in enumerate(reversed(Severity))}
_KINDS = {kind: rank for rank, kind in enumerate((Kind.COLLISION, Kind.ORPHAN, Kind.STALE, Kind.INVALID))}
_HEAD = ("WORKER", "VERDICT", "PROCESS", "SESSION", "AGE", "WHAT IS WRONG")


@click.command()
@workspace_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options("scan")
def command(workspace: str, loaded: Loaded, *, as_json: bool) -> int:
    """Look once at every lock in WORKSPACE, and say who holds it and what is wrong.

    Exit codes: 0 all is well, 1 something is not, 4 WORKSPACE cannot be looked at.

    Example: lockwarden scan ~/town
    """
    root = workspace_at(workspace)
    with Elapsing():
        surveyed = survey(root, loaded.settings)
    click.echo(json_object(_as_json(surveyed)) if as_json else _as_text(surveyed))
    return int(any(surveyed.findings))


def _as_text(surveyed: Survey) -> str:
    rows = sorted(surveyed.locks.values(), key=_worst_first)
    findings = sum(len(each.findings) for each in rows)
    summary = (
        f"{plural(len(rows), 'lock')}, {plural(findings, 'finding')};"
        f" {surveyed.directories:,} directories looked at, {surveyed.skipped:,} skipped, {surveyed.seconds:.2f} s"
    )
    return f"{table(_HEAD, map(_row, rows))}\n\n{summary}" if rows else summary


def _worst_first(surveyed: Surveyed) -> tuple[int, int, str]:
    worst = min(
        ((_SEVERITIES[each.severity], _KINDS.get(Kind(each.kind), len(_KINDS))) for each in surveyed.findings),
        default=(len(_SEVERITIES), 0),
    )
    return *worst, surveyed.view.worker


def _row(surveyed: Surveyed) -> tuple[str, ...]:
    view, claim = surveyed.view, surveyed.view.claim
    wrong = "; ".join(finding.reason for finding in surveyed.findings)
    if claim is None or view.verdict is Verdict.INVALID:
        return view.worker, view.verdict, "", "", "", wrong or view.unreadable
    record = claim.record
    name = describe(record.pid).partition(" ")[0] if claim.process is Liveness.ALIVE else ""
    taken = record.acquired_at.timestamp() if record.acquired_at is not None else None
    return (
        view.worker,
        view.verdict,
        f"{record.pid} {name}".strip() if record.pid > 0 else "none",
        record.session_id or "none",
        age(time.time() - taken) if taken is not None else "",
        wrong,
    )


def _as_json(surveyed: Survey) -> dict[str, Any]:
    return {
        "workspace": surveyed.root,
        "directories": surveyed.directories,
        "skipped": surveyed.skipped,
        "seconds": round(surveyed.seconds, 6),
        "locks": [
            {**_lock(each.view), "findings": [_finding(finding) for finding in each.findings]}
            for each in sorted(surveyed.locks.values(), key=_worst_first)
        ],
    }


def _lock(view: LockView) -> dict[str, Any]:
    return plain({**lock_fields(view), **worker_fields(view.worker)})


def _finding(finding: Finding) -> dict[str, Any]:
    other = finding.other.record if finding.other is not None else None
    return plain(
        {
            "kind": finding.kind,
            "severity": finding.severity,
            "reason": finding.reason,
            "hint": finding.hint,
            "evidence": finding.evidence,
            "other_worker": finding.other_worker,
            "other_pid": other.pid if other is not None else None,
            "other_session_id": other.session_id if other is not None else None,
            "occupied_by": finding.occupied_by,
        }
    )
