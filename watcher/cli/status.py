"""`lockwarden status`: whether a watcher runs here, how it is, and what is firing."""

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from rules.alerts import Alert
from rules.model import Liveness
from watcher.cli.facts import badness, json_object, worker_fields
from watcher.cli.options import settings_options, workspace_argument
from watcher.cli.table import age, plural, table
from watcher.errors import UsageError, one_line
from watcher.records import utc
from watcher.settings import Loaded
from watcher.sinks.line import rfc3339
from watcher.state import Vitals, state_directory
from watcher.state.report import Report, look
from watcher.survey import workspace_at

NO_WATCHER = 3

_HEAD = ("FIRING", "WORKER", "FOR", "SINCE", "WHY")


@click.command()
@workspace_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--live", is_flag=True, help="Draw it anew each second, until q or Ctrl-C.")
@settings_options("status")
def command(workspace: str, loaded: Loaded, *, as_json: bool, live: bool) -> int:
    """Say whether a watcher runs in WORKSPACE, since when, what it holds, and what is firing.

    Exit codes: 0 one runs, 3 none does (then what was firing when it ended is shown).

    Example: lockwarden status ~/town --live
    """
    root = os.path.realpath(workspace)
    directory = state_directory(loaded.settings.state.dir, os.environ)
    if live:
        return _live(directory, root, as_json=as_json)
    report = look(directory, root)
    if report.running is None:
        workspace_at(workspace)
    click.echo(json_object(_as_json(root, report)) if as_json else "\n".join(_as_text(root, report)))
    return 0 if report.watcher is Liveness.ALIVE else NO_WATCHER


def _live(directory: str, root: str, *, as_json: bool) -> int:
    if as_json:
        raise UsageError("status: --live draws for a person: leave out --json")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("status: --live needs a terminal: leave it out, or use --json")
    from watcher.cli.live import Live  # noqa: PLC0415 - there are no terminals (termios) on every system

    last = look(directory, root)

    def draw() -> list[str]:
        nonlocal last
        last = look(directory, root)
        return _as_text(root, last)

    Live(sys.stdin.fileno(), sys.stdout.fileno(), sys.stdout.encoding).show(draw)
    return 0 if last.watcher is Liveness.ALIVE else NO_WATCHER


def _as_text(root: str, report: Report) -> list[str]:
    now = time.time()
    facts = [f"{name:11}{one_line(fact)}" for name, fact in _facts(root, report, now)]
    alerts = sorted(report.alerts, key=lambda alert: (badness(alert.finding), alert.starts_at))
    if not alerts:
        return facts
    return [*facts, "", *table(_HEAD, (_row(alert, now) for alert in alerts)).splitlines()]


def _facts(root: str, report: Report, now: float) -> Iterator[tuple[str, str]]:
    """Give what there is to say beside the alerts, as a name and a sentence."""
    alive = report.watcher is Liveness.ALIVE
    yield "workspace", root
    yield "watcher", _who(report, now)
    if report.vitals is not None:
        yield from _how(report.vitals, now)
    elif alive:
        yield "locks", "not counted yet: it is starting"
    elif report.running is not None:
        yield "locks", f"{report.claims:,} when it ended"
    if report.trouble:
        yield "firing", f"not known: {report.trouble}"
    elif alive or report.running is not None:
        yield "firing", plural(len(report.alerts), "alert") + ("" if alive else " when it ended")


def _who(report: Report, now: float) -> str:
    running, vitals = report.running, report.vitals
    if running is None:
        return "running" if report.watcher is Liveness.ALIVE else "none has ever run here"
    if report.watcher is Liveness.ALIVE:
        since = f"since {_clock(running.since)} ({age(now - running.since)})"
        return f"running, process {running.pid}, {since}, version {running.version}"
    until = f", last seen {_clock(vitals.at)} ({age(now - vitals.at)} ago)" if vitals is not None else ""
    return f"none; the last was process {running.pid}{until}"


def _how(vitals: Vitals, now: float) -> Iterator[tuple[str, str]]:
    yield "backend", f"{vitals.backend}, {vitals.watches:,} watches on {vitals.directories:,} directories"
    if vitals.heartbeat_at:
        yield "heartbeat", f"{age(now - vitals.heartbeat_at)} ago"
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(vitals.verdicts.items()) if count)
    yield "locks", f"{sum(vitals.verdicts.values()):,}" + (f": {counts}" if counts else "")
    if vitals.dropped:
        yield "log", f"{plural(vitals.dropped, 'line')} lost"
    for component, reason in sorted(vitals.degraded.items()):
        yield "degraded", f"{component}: {reason}"


def _row(alert: Alert, now: float) -> tuple[str, ...]:
    finding = alert.finding
    return (
        f"{finding.severity} {finding.kind}",
        finding.worker,
        age(now - alert.starts_at),
        _clock(alert.starts_at),
        f"{finding.reason} -> {finding.hint}",
    )


def _as_json(root: str, report: Report) -> dict[str, Any]:
    found: dict[str, Any] = {"workspace": root, "running": report.watcher is Liveness.ALIVE}
    if (running := report.running) is not None:
        found |= {
            "pid": running.pid,
            "since": rfc3339(utc(running.since)),
            "version": running.version,
            "backend": running.backend,
        }
    if (vitals := report.vitals) is not None:
        found |= {
            "seen_at": rfc3339(utc(vitals.at)),
            "backend": vitals.backend,
            "directories": vitals.directories,
            "watches": vitals.watches,
            "locks": {str(verdict): count for verdict, count in sorted(vitals.verdicts.items())},
            "events": vitals.events,
            "overflows": vitals.overflows,
            "rescans": vitals.rescans,
            "dropped": vitals.dropped,
            "degraded": vitals.degraded,
        }
        if vitals.heartbeat_at:
            found["heartbeat_at"] = rfc3339(utc(vitals.heartbeat_at))
    if report.trouble:
        found["trouble"] = report.trouble
    return {**found, "firing": [_alert(alert) for alert in report.alerts]}


def _alert(alert: Alert) -> dict[str, Any]:
    finding = alert.finding
    fields: dict[str, Any] = {
        "kind": finding.kind,
        "severity": finding.severity,
        **worker_fields(finding.worker),
        "fingerprint": alert.fingerprint,
        "episode": alert.episode,
        "starts_at": rfc3339(utc(alert.starts_at)),
        "reason": finding.reason,
        "hint": finding.hint,
    }
    if finding.claim is not None:
        fields |= {"pid": finding.claim.record.pid, "session_id": finding.claim.record.session_id}
    return fields


def _clock(seconds: float) -> str:
    """Give a time as the clock on the wall has it."""
    return f"{utc(seconds).astimezone():%Y-%m-%d %H:%M:%S}"
