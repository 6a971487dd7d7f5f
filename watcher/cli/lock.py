"""`lockwarden lock`: the lock library, for scripts."""

import os
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TypeVar

import click

from watcher.cli.facts import json_object, plain, record_fields, worker_fields
from watcher.cli.options import settings_options
from watcher.cli.worker import locating, session_of, session_option, tell, worker_argument
from watcher.errors import UsageError, one_line
from watcher.library.lock import Lock
from watcher.library.standing import OURS, UNLOCKED
from watcher.locks.errors import InvalidLockError, LockError
from watcher.report import lock_fields
from watcher.settings import Loaded
from watcher.survey import judge

_Result = TypeVar("_Result")
_Function = Callable[..., _Result]

_SHOWN = ("verdict", "pid", "process_state", "session_id", "session_state", "lock_host", "acquired_at")
_WIDTH = max(map(len, _SHOWN)) + 2


@click.group(no_args_is_help=False)
def command() -> None:
    """Take, release, check or show the lock of one worker.

    The owner is the process that runs the command, or the one that --pid names, with its tmux pane. A lock is ours
    where it names that process, that pane, or that session.

    Example: lockwarden lock acquire . --pid $$ && trap 'lockwarden lock release . --pid $$' EXIT
    """


def _one_lock(function: _Function[_Result]) -> _Function[_Result]:
    """Add WORKER and the options; the function is given `lock` and `as_json`."""

    @worker_argument
    @click.option("--pid", type=click.IntRange(min=1), metavar="PID", help="The owner. [default: the parent process]")
    @session_option
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    @settings_options("lock")
    @wraps(function)
    def with_lock(*, worker: str, pid: int | None, session: str | None, loaded: Loaded, as_json: bool) -> _Result:
        pid = os.getppid() if pid is None else pid
        if pid <= 0:
            raise UsageError("--pid: the parent process cannot be seen from here; name the process to hold the lock")
        lock = Lock(worker, settings=loaded.settings, pid=pid, session_id=session_of(session))
        with locating(lock):
            return function(lock, as_json=as_json)

    return with_lock


@command.command()
@_one_lock
def acquire(lock: Lock, *, as_json: bool) -> int:
    """Take the lock of WORKER, or take it anew where it is ours.

    A lock that is there is replaced only where it is stale, or unreadable for longer than its grace.

    Exit codes: 0 it is ours, 1 it is another's, 2 the owner does not exist, 4 it cannot be written.

    Example: lockwarden lock acquire ~/town/rig/crew/ada --pid $$
    """
    try:
        record = lock.acquire()
    except LockError as refusal:
        return _refused(lock, refusal, as_json=as_json)
    text = one_line(f"acquired for PID {record.pid} (session: {record.session_id or 'none'})")
    return _done(lock, "acquired", OURS, text, record_fields(record), as_json=as_json)


@command.command()
@_one_lock
def release(lock: Lock, *, as_json: bool) -> int:
    """Remove the lock of WORKER if it is ours; that there is none is fine.

    Exit codes: 0 there is none now, 1 it is another's, 4 it cannot be removed.

    Example: lockwarden lock release ~/town/rig/crew/ada --pid $$
    """
    try:
        result = "released" if lock.release() else UNLOCKED
    except LockError as refusal:
        return _refused(lock, refusal, as_json=as_json)
    return _done(lock, result, UNLOCKED, result, as_json=as_json)


@command.command()
@_one_lock
def check(lock: Lock, *, as_json: bool) -> int:
    """Say whether anybody else holds the lock of WORKER; one that is stale is removed on the way.

    Exit codes: 0 nobody else does, 1 somebody does or may, 4 that cannot be told.

    Example: lockwarden lock check ~/town/rig/crew/ada || echo occupied
    """
    try:
        lock.check()
    except LockError as refusal:
        return _refused(lock, refusal, as_json=as_json)
    status = lock.status()
    return _done(lock, "free", status, status, as_json=as_json)


@command.command()
@_one_lock
def show(lock: Lock, *, as_json: bool) -> int:
    """Show the lock of WORKER: who holds it, and what is wrong with it. Nothing is changed.

    Exit codes: 0 it was shown, or there is none; 4 that cannot be told.

    Example: lockwarden lock show ~/town/rig/crew/ada
    """
    judged = judge(lock.worker, ["."], lock.settings).get(".")
    if judged is None:
        return _done(lock, UNLOCKED, UNLOCKED, UNLOCKED, as_json=as_json)
    status, wrong = lock.status(), [finding.reason for finding in judged.findings]
    facts = plain(lock_fields(judged.view))
    rows = [("status", status), *((name, facts[name]) for name in _SHOWN if name in facts)]
    rows += [("wrong", reason) for reason in wrong]
    text = "\n".join(f"{name:{_WIDTH}}{one_line(value)}" for name, value in rows)
    return _done(lock, "shown", status, text, {**facts, "findings": wrong}, as_json=as_json)


def _done(
    lock: Lock, result: str, status: str, text: str, facts: Mapping[str, object] | None = None, *, as_json: bool
) -> int:
    """Print what came of it, as `text` or as an object."""
    click.echo(_object(lock, result, status, facts or {}) if as_json else text)
    return 0


def _refused(lock: Lock, refusal: LockError, *, as_json: bool) -> int:
    """Print who is in the way."""
    if as_json:
        facts = record_fields(refusal.record) if refusal.record is not None else {}
        result = "invalid" if isinstance(refusal, InvalidLockError) else "locked"
        click.echo(_object(lock, result, refusal.reason, {**facts, **plain({"verdict": refusal.verdict})}))
    else:
        tell(lock, refusal)
    return 1


def _object(lock: Lock, result: str, status: str, facts: Mapping[str, object]) -> str:
    about = {**worker_fields(lock.worker), "lock_path": lock.path}
    return json_object({"result": result, "status": status, **facts, **about})
