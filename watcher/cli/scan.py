"""`lockwarden scan`: one look, a table, an exit code."""

import time
from shlex import quote
from typing import Any

import click

from rules.identity import Host
from rules.model import Finding, Liveness, LockView, Verdict
from watcher import parts
from watcher.cli.facts import NOTHING, badness, json_object, plain, worker_fields
from watcher.cli.options import settings_options, workspace_argument
from watcher.cli.progress import Elapsing
from watcher.cli.table import age, plural, table
from watcher.errors import one_line
from watcher.library.standing import doubt
from watcher.report import lock_fields
from watcher.settings import Loaded
from watcher.sources.processes.watch import describe
from watcher.survey import Survey, Surveyed, survey, workspace_at

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
    click.echo(json_object(_as_json(surveyed)) if as_json else _as_text(surveyed, parts.this_host(loaded.settings)))
    return int(any(surveyed.findings))


def _as_text(surveyed: Survey, host: Host) -> str:
    rows = sorted(surveyed.locks.values(), key=_worst_first)
    findings = sum(len(each.findings) for each in rows)
    summary = (
        f"{plural(len(rows), 'lock')}, {plural(findings, 'finding')};"
        f" {plural(surveyed.directories, 'directory', 'directories')} looked at,"
        f" {surveyed.skipped:,} skipped, {surveyed.seconds:.2f} s"
    )
    if any(each.view.verdict is Verdict.STALE for each in rows):
        summary += f"\nto remove what is stale: {one_line(f'lockwarden clean {quote(surveyed.root)}')}"
    return f"{table(_HEAD, (_row(each, host) for each in rows))}\n\n{summary}" if rows else summary


def _worst_first(surveyed: Surveyed) -> tuple[int, int, str]:
    return *min(map(badness, surveyed.findings), default=NOTHING), surveyed.view.worker


def _row(surveyed: Surveyed, host: Host) -> tuple[str, ...]:
    view, claim = surveyed.view, surveyed.view.claim
    wrong = "; ".join(finding.reason for finding in surveyed.findings)
    if claim is None or view.verdict is Verdict.INVALID:
        return view.worker, view.verdict, "", "", "", wrong or view.unreadable
    if view.verdict is Verdict.UNVERIFIABLE:
        wrong = wrong or f"nobody here can tell: {doubt(claim, host)}"
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
