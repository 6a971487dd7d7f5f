"""`lockwarden run`: a command that holds its worker's lock for as long as it runs."""

import sys

import click

from watcher.cli.child import Child
from watcher.cli.options import settings_options
from watcher.cli.worker import locating, session_of, session_option, tell, worker_argument
from watcher.errors import LockwardenError, one_line
from watcher.library.lock import Lock
from watcher.locks.errors import LockError
from watcher.settings import Loaded


@click.command()
@worker_argument
@click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG]...")
@session_option
@settings_options("run")
def command(worker: str, cmd: tuple[str, ...], session: str | None, loaded: Loaded) -> int:
    """Hold the lock of WORKER while CMD runs, and remove it when CMD has ended, however it ended.

    The lock names the process of CMD, which does not begin before it has it. Signals are passed on to it. If this
    command is killed, CMD goes on, and so does its lock, until both are gone: then it is stale.

    Exit codes: that of CMD, 128 + N where signal N ended it; 1 somebody else holds the lock, and CMD did not run;
    126 CMD cannot be run, 127 there is no such command; 4 the lock cannot be written.

    Example: lockwarden run ~/town/rig/crew/ada -- claude --continue
    """
    with Child(cmd) as child:
        lock = Lock(worker, settings=loaded.settings, pid=child.pid, session_id=session_of(session))
        try:
            with locating(lock):
                lock.acquire()
        except LockError as refusal:
            tell(lock, refusal)
            return 1
        trouble = child.go()
        code = child.wait()
        _release(lock)
    if trouble is not None:
        print(f"lockwarden: {one_line(cmd[0])}: {(trouble.strerror or str(trouble)).lower()}", file=sys.stderr)
    return code


def _release(lock: Lock) -> None:
    """Remove the lock. What hinders that is told, and changes nothing of how the command ended."""
    try:
        with locating(lock):
            lock.release()
    except LockError as refusal:
        tell(lock, refusal)
    except LockwardenError as error:
        print(f"lockwarden: {one_line(error)}", file=sys.stderr)
