"""Watch the identity locks of a workspace of agents, and say at once when one goes wrong.

What other programs use is at hand here by name, and imported when it is first asked for (PEP 562), so that
`import watcher` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watcher.embed import Watcher
    from watcher.library.clean import StaleLock, clean_stale_locks
    from watcher.library.find import detect_collisions, find_all_locks
    from watcher.library.lock import Lock
    from watcher.locks.errors import InvalidLockError, LockedError, LockError, NotLockedError

_HOMES = {
    "InvalidLockError": "watcher.locks.errors",
    "Lock": "watcher.library.lock",
    "LockError": "watcher.locks.errors",
    "LockedError": "watcher.locks.errors",
    "NotLockedError": "watcher.locks.errors",
    "StaleLock": "watcher.library.clean",
    "Watcher": "watcher.embed",
    "clean_stale_locks": "watcher.library.clean",
    "detect_collisions": "watcher.library.find",
    "find_all_locks": "watcher.library.find",
}

__all__ = [
    "InvalidLockError",
    "Lock",
    "LockError",
    "LockedError",
    "NotLockedError",
    "StaleLock",
    "Watcher",
    "clean_stale_locks",
    "detect_collisions",
    "find_all_locks",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
