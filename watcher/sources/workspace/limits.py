"""What to say, and what to advise, when the system has no more watches or instances to give."""

import errno
import os
from pathlib import Path

_LIMITS = Path("/proc/sys/fs/inotify")


def out_of_watches(unwatched: int, directories: int, poll_interval: float) -> tuple[str, str]:
    """The reason and the hint where inotify_add_watch(2) said ENOSPC.

    All programs of a user draw on one limit, so a number that would do leaves them what they have.
    """
    enough = _rounded_up(max(2 * directories, _limit("max_user_watches") + unwatched))
    polled = f"{unwatched} of {directories} directories are looked at every {poll_interval:g} s instead"
    return f"out of inotify watches: {polled}", f"sysctl fs.inotify.max_user_watches={enough}"


def no_notifier(error: OSError, poll_interval: float) -> tuple[str, str]:
    """The reason and the hint where nothing would notify us: everything is polled."""
    instead = f"everything is looked at every {poll_interval:g} s instead"
    if error.errno != errno.EMFILE:
        return f"no notification of changes ({error}): {instead}", "it is tried again as long as it takes"
    if _open_files_are_out():
        return f"too many open files in this process: {instead}", "raise its limit (ulimit -n, LimitNOFILE=)"
    enough = _rounded_up(2 * _limit("max_user_instances"))
    return f"out of inotify instances: {instead}", f"sysctl fs.inotify.max_user_instances={enough}"


def _limit(name: str) -> int:
    try:
        return int((_LIMITS / name).read_text())
    except (OSError, ValueError):
        return 0


def _rounded_up(number: int) -> int:
    return 1 << max(number - 1, 1).bit_length()


def _open_files_are_out() -> bool:
    """inotify_init(2) has one error number for two limits."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return True
    return False
