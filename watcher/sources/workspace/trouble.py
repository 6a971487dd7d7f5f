"""A component that is lost and found again: said once each way."""

from collections.abc import Callable

from watcher.sources.workspace.reports import Component, Condition, Health


class Trouble:
    """Remembers whether `component` is degraded, and tells of each change."""

    def __init__(self, component: Component, tell: Callable[[Health], None]) -> None:
        self.begun = False
        self._component = component
        self._tell = tell

    def begin(self, reason: str, hint: str) -> None:
        """It is degraded; said only if it was not before."""
        if not self.begun:
            self.begun = True
            self._tell(Health(self._component, Condition.DEGRADED, reason, hint))

    def over(self, reason: str) -> None:
        """It is whole again; said only if it was degraded."""
        if self.begun:
            self.begun = False
            self._tell(Health(self._component, Condition.RECOVERED, reason))
