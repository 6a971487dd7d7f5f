"""What `lock` and `run` have in common: the worker, the session, and how a lock's trouble is told."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote

import click

from watcher.errors import JobError, UsageError, one_line
from watcher.library.lock import Lock
from watcher.locks.errors import LockError

worker_argument = click.argument("worker", type=click.Path(exists=True, file_okay=False))
"""WORKER: a directory that is there, so that a slip of the pen makes no new one."""

session_option = click.option(
    "--session",
    metavar="S",
    help='The tmux session, "$N" or pane "%N" by which the owner is reached, "" for none. [default: $TMUX_PANE]',
)
"""--session; None where it is not given (see `session_of`)."""


def session_of(given: str | None) -> str:
    """Give the session to record: the one that was given, else the pane that we run in, if any."""
    return os.environ.get("TMUX_PANE", "") if given is None else given


def tell(lock: Lock, refusal: LockError) -> None:
    """Say in one line on stderr what is in the way."""
    line = one_line(f"{refusal}; see lockwarden lock show {quote(lock.worker)}")
    print(f"lockwarden: {line}", file=sys.stderr)


@contextmanager
def locating(lock: Lock) -> Iterator[None]:
    """Say of what goes wrong on the way to a lock which lock it was.

    Raises UsageError where its owner does not exist, JobError where the file system refuses.
    """
    try:
        yield
    except ProcessLookupError:
        raise UsageError(f"--pid: there is no process {lock.owner.pid} to hold the lock; name one that lives") from None
    except TimeoutError as error:
        raise JobError(
            f"{error.filename}: {error.strerror}; try again, or see who it is: fuser {error.filename}"
        ) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise JobError(f"{lock.path}: {reason}; see what is there: ls -la {os.path.dirname(lock.path)}") from None  # noqa: PTH120
