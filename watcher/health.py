"""How each part of the watcher is doing: one state a component, each change of mind told once. Pure."""

from dataclasses import dataclass, field

from watcher.records import Component, Record, WatcherDegraded, WatcherRecovered

REPEAT = 3600.0
"""Seconds before the same trouble of the same part is told again: what flaps must not fill the log."""


@dataclass(slots=True)
class _State:
    """One component. `troubles`: what is wrong now, by subject. `quiet`: it was told not long ago."""

    troubles: dict[str, str] = field(default_factory=dict)
    told: dict[tuple[str, str], float] = field(default_factory=dict)
    announced: bool = False


class Health:
    """Turns what the sources report into `watcher.degraded` and `watcher.recovered`.

    A component is degraded while any of its subjects (a socket, a directory, ...) is in trouble, and has
    recovered when none is.
    """

    def __init__(self, repeat: float = REPEAT) -> None:
        self._repeat = repeat
        self._states: dict[Component, _State] = {component: _State() for component in Component}

    def degraded(self) -> dict[str, str]:
        """Say what is wrong now, by component; empty where all is well."""
        return {
            component: "; ".join(state.troubles.values()) for component, state in self._states.items() if state.troubles
        }

    def note(self, component: Component, subject: str, reason: str, hint: str, now: float) -> list[Record]:
        """Take in how a subject is: in trouble for a reason, or well where that is empty.

        `now` is in monotonic seconds. Returns the lines to write.
        """
        state = self._states[component]
        before = state.troubles.pop(subject, "")
        if reason:
            state.troubles[subject] = reason
            return self._degraded(component, state, subject, hint, now) if reason != before else []
        if before and not state.troubles and state.announced:
            state.announced = False
            return [WatcherRecovered(component=component, reason=f"no longer so: {before}")]
        return []

    def _degraded(self, component: Component, state: _State, subject: str, hint: str, now: float) -> list[Record]:
        trouble = subject, state.troubles[subject]
        state.told = {told: at for told, at in state.told.items() if now - at < self._repeat}
        if trouble in state.told:
            return []
        state.told[trouble] = now
        state.announced = True
        return [WatcherDegraded(component=component, reason=trouble[1], hint=hint)]
