"""`lockwarden clean`: removes stale locks, and says which and why."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import click

from watcher import parts
from watcher.cli.facts import json_object, plain, record_fields, worker_fields
from watcher.cli.options import settings_options, workspace_argument
from watcher.cli.table import age, plural, table
from watcher.errors import one_line
from watcher.library.clean import StaleLock, remove, stale_locks
from watcher.paths import lock_path_of
from watcher.settings import Loaded, Settings
from watcher.survey import judge, survey, workspace_at

_HEAD = ("WORKER", "PROCESS", "SESSION", "AGE", "WHY")
_LEFT, _FAILURE = 1, 4


class _Outcome(StrEnum):
    """What became of a stale lock; one that was rewritten or released meanwhile has `CHANGED`."""

    KEPT = "kept"
    REMOVED = "removed"
    CHANGED = "changed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class _Result:
    """One stale lock and its outcome, with the `trouble` of one that could not be removed."""

    lock: StaleLock
    outcome: _Outcome
    trouble: str = ""


@click.command()
@workspace_argument
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask, on a terminal either.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options("clean")
def command(workspace: str, loaded: Loaded, *, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Remove the stale locks in WORKSPACE, and only those; say which, and why.

    A lock is stale where its process is dead, and its session is dead too or it names none. What is not known for
    certain stays, and so does what changes meanwhile.

    Exit codes: 0 no stale lock is left; 1 some are, after --dry-run or a "no"; 4 one could not be removed, or
    WORKSPACE cannot be looked at.

    Example: lockwarden clean ~/town --dry-run
    """
    root, settings = workspace_at(workspace), loaded.settings
    surveyed = survey(root, settings)
    stale = stale_locks(surveyed)
    asks = bool(stale) and not dry_run and not yes and sys.stdin.isatty()
    if stale and (asks or not as_json):
        click.echo(f"{table(_HEAD, map(_row, stale))}\n", err=as_json)
    if dry_run or (asks and not click.confirm(f"Remove {plural(len(stale), 'stale lock')}?", err=True)):
        results = [_Result(lock, _Outcome.KEPT) for lock in stale]
    else:
        results = [_remove(lock, settings) for lock in stale] if not asks else _remove_anew(root, stale, settings)
    for result in results:
        if result.outcome is _Outcome.FAILED:
            where = lock_path_of(result.lock.directory)
            print(f"lockwarden: {one_line(f'{where}: {result.trouble}')}; it is still there", file=sys.stderr)
    click.echo(json_object(_as_json(root, results)) if as_json else _summary(results, len(surveyed.locks)))
    outcomes = {result.outcome for result in results}
    return _FAILURE if _Outcome.FAILED in outcomes else _LEFT if _Outcome.KEPT in outcomes else 0


def _remove_anew(root: str, shown: Sequence[StaleLock], settings: Settings) -> list[_Result]:
    """Remove what was shown a while ago: a session may have come back since."""
    judged = judge(root, (lock.worker for lock in shown), settings)
    results = []
    for lock in shown:
        now = judged.get(lock.worker)
        again = StaleLock.of(now.view, now.file) if now is not None and now.file.is_same(lock.file) else None
        results.append(_remove(again, settings) if again is not None else _Result(lock, _Outcome.CHANGED))
    return results


def _remove(lock: StaleLock, settings: Settings) -> _Result:
    try:
        removed = remove(lock, parts.this_host(settings))
    except OSError as error:
        return _Result(lock, _Outcome.FAILED, (error.strerror or str(error)).lower())
    return _Result(lock, _Outcome.REMOVED if removed else _Outcome.CHANGED)


def _row(lock: StaleLock) -> tuple[str, ...]:
    record = lock.record
    taken = record.acquired_at.timestamp() if record.acquired_at is not None else None
    return (
        lock.worker,
        str(record.pid) if record.pid > 0 else "none",
        record.session_id or "none",
        age(time.time() - taken) if taken is not None else "",
        lock.why,
    )


def _summary(results: Iterable[_Result], locks: int) -> str:
    counts = Counter(result.outcome for result in results)
    if not counts:
        return f"no stale lock among {plural(locks, 'lock')}"
    words = {
        _Outcome.REMOVED: "removed",
        _Outcome.KEPT: "not removed",
        _Outcome.CHANGED: "changed meanwhile, not removed",
        _Outcome.FAILED: "could not be removed",
    }
    return "; ".join(f"{plural(counts[each], 'stale lock')} {word}" for each, word in words.items() if counts[each])


def _as_json(root: str, results: Iterable[_Result]) -> dict[str, Any]:
    return {
        "workspace": root,
        "locks": [
            {
                **worker_fields(result.lock.worker),
                "lock_path": lock_path_of(result.lock.directory),
                **record_fields(result.lock.record),
                "outcome": result.outcome,
                **plain({"reason": result.lock.why, "trouble": result.trouble}),
            }
            for result in results
        ],
    }
