import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.watcher.sources.observer.script import exchange, link_lock, rewrite_lock
from tests.watcher.sources.observer.view import View, write_lock

_NAMES = st.sampled_from(["a", "b", "c", ".git", ".runtime"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)
_PLACES = st.tuples(st.sampled_from(["ws", "ws", "ws", "out"]), _PATHS).map("/".join)


class Workspace(RuleBasedStateMachine):
    """Any operations on a workspace; whenever it is asked, the observer knows exactly the locks on the disk."""

    backend = "inotify"

    def __init__(self) -> None:
        super().__init__()
        self._top = Path(tempfile.mkdtemp(prefix="lockwarden-machine-")).resolve()
        (self._top / "ws").mkdir()
        (self._top / "out").mkdir()
        self._view = View(self._top / "ws", backend=self.backend, poll_interval=0.01).start()

    def teardown(self) -> None:
        """Compare once more, and leave nothing behind."""
        try:
            self._view.settle_as_on_disk()
            assert not self._view.health
        finally:
            self._view.stop()
            shutil.rmtree(self._top)

    @rule(place=_PLACES)
    def make(self, place: str) -> None:
        """Make a directory."""
        with suppress(OSError):
            (self._top / place).mkdir(parents=True)

    @rule(place=_PLACES)
    def lock(self, place: str) -> None:
        """Write a lock in place."""
        with suppress(OSError):
            write_lock(self._top / place)

    @rule(place=_PLACES)
    def relock(self, place: str) -> None:
        """Write a lock by renaming."""
        with suppress(OSError):
            rewrite_lock(self._top / place)

    @rule(place=_PLACES)
    def link(self, place: str) -> None:
        """Make a lock by linking."""
        with suppress(OSError):
            link_lock(self._top / place)

    @rule(place=_PLACES)
    def unlock(self, place: str) -> None:
        """Delete a lock."""
        with suppress(OSError):
            (self._top / place / ".runtime" / "agent.lock").unlink()

    @rule(place=_PLACES)
    def remove(self, place: str) -> None:
        """Remove a directory with all that is in it."""
        with suppress(OSError):
            shutil.rmtree(self._top / place)

    @rule(source=_PLACES, goal=_PLACES)
    def move(self, source: str, goal: str) -> None:
        """Move a directory, in, out or within."""
        with suppress(OSError):
            (self._top / source).rename(self._top / goal)

    @rule(source=_PLACES, goal=_PLACES)
    def exchange(self, source: str, goal: str) -> None:
        """Let two directories change places."""
        with suppress(OSError):
            exchange(self._top / source, self._top / goal)

    @rule(source=_PLACES, goal=_PLACES)
    def link_directory(self, source: str, goal: str) -> None:
        """Put a symbolic link to a directory somewhere."""
        with suppress(OSError):
            (self._top / goal).symlink_to(self._top / source)

    @rule()
    def compare(self) -> None:
        """Wait for the observer, and ask."""
        self._view.settle_as_on_disk()


class PolledWorkspace(Workspace):
    """The same by polling."""

    backend = "polling"


@pytest.mark.parametrize(("machine", "examples"), [(Workspace, 100), (PolledWorkspace, 10)])
def test_any_operations(machine: type[Workspace], examples: int) -> None:
    """Whatever is done to a workspace, the observer ends up with exactly the locks that are there."""
    test_case = machine.TestCase
    test_case.settings = settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    test_case().runTest()
