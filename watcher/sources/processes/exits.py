"""Who tells us that a process has ended: pidfds on Linux, kqueue on macOS and the BSDs, nobody elsewhere."""

import contextlib
import sys
from typing import Protocol

from watcher.sources.processes.sighting import Sighting

if sys.platform == "linux":
    from watcher.sources.processes.pidfd import PidfdNotifier, have_pidfds
elif sys.platform != "win32":
    from watcher.sources.processes.kqueue import KqueueNotifier

if sys.platform != "win32":
    import resource


class ExitNotifier(Protocol):
    """Holds processes and says when they end. Its descriptor is readable when one has."""

    def fileno(self) -> int:
        """Return the descriptor for the loop to wait on."""

    def take(self, pid: int) -> tuple[Sighting, bool]:
        """Look at `pid`, and hold its process if it lives and there is room; say whether it is held."""

    def release(self, pid: int) -> None:
        """Let go of `pid`; nothing where it is not held."""

    def ended(self) -> list[int]:
        """Return the pids whose held processes have ended since the last call, and let go of them."""

    def close(self) -> None:
        """Let go of all, and of the descriptor."""


def best_notifier() -> ExitNotifier | None:
    """Return the notifier for this system, None where processes can only be polled."""
    if sys.platform == "linux":
        return PidfdNotifier() if have_pidfds() else None
    elif sys.platform != "win32":  # noqa: RET505 (mypy follows the platform by branches only)
        return KqueueNotifier()
    else:
        return None


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard one: each distinct pid takes a pidfd."""
    if sys.platform != "win32":
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):  # macOS has a limit below an unlimited hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
