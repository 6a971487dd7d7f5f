"""The store where no state is to be kept (`--no-state`)."""

from collections.abc import Iterable

from rules.alerts import Transition
from watcher.state.entries import StoredWorker
from watcher.state.store import Loaded
from watcher.state.vitals import Vitals
from watcher.state.watch_lock import Running


class NoStore:
    """Keeps nothing, and asks nobody: each call is the one of `StateStore`."""

    def claim_watch(self, about: Running) -> None:
        """Do not ask whether another watcher is there."""

    def load(self) -> Loaded:
        """Give nothing."""
        return Loaded()

    def intend(self, transitions: Iterable[Transition]) -> list[Transition]:
        """Give back the lines to write."""
        return list(transitions)

    def keep(self, workers: Iterable[StoredWorker] = ()) -> None:
        """Keep nothing."""

    def publish(self, vitals: Vitals) -> None:
        """Tell nobody."""

    def flush(self, timeout: float = 5.0) -> bool:  # noqa: ARG002 - as StateStore
        """Wait for nothing."""
        return True

    def close(self, timeout: float = 5.0) -> None:
        """Let go of nothing."""
