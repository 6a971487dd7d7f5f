"""What a log leaves firing: its alerts, played again from the first line to the last."""

from watcher.sinks.line import Fields, Value


class Firing:
    """Takes the lines of a log, of any runs, hosts and workspaces, and knows what fires after the last of them.

    A run says anew what it knows to fire, and what an earlier run had firing and has ended since (see
    `watcher.state`). An alert of which it says neither still fires: nobody knew better. In a log whose
    beginning is gone, an alert that is repeated has been firing, and one that resolves was not there.
    """

    def __init__(self) -> None:
        self._alerts: dict[str, Fields] = {}
        self._runs: dict[tuple[Value, Value], Value] = {}

    def take(self, line: Fields) -> None:
        """Take in one line."""
        self._runs[_place(line)] = line.get("run", "")
        match line:
            case {"status": "firing", "fingerprint": str(fingerprint), "starts_at": str()}:
                self._alerts[fingerprint] = line
            case {"status": "resolved", "fingerprint": str(fingerprint), "starts_at": str(starts_at)}:
                # It may be the second line on the end of an episode, with the next episode firing already.
                if fingerprint in self._alerts and str(self._alerts[fingerprint]["starts_at"]) <= starts_at:
                    del self._alerts[fingerprint]
            case _:
                pass

    def lines(self) -> list[Fields]:
        """Give the latest line on each alert that fires, dated to when that began; the oldest first."""
        alerts = sorted(
            self._alerts.values(), key=lambda alert: (str(alert["starts_at"]), str(alert.get("worker", "")))
        )
        return [self._as_of_its_start(alert) for alert in alerts]

    def _as_of_its_start(self, alert: Fields) -> Fields:
        message = alert.get("message", "")
        if alert.get("run", "") != self._runs[_place(alert)]:
            message = f"{message} (a later run has not mentioned it)"
        return {**alert, "event": "alert.firing", "timestamp": alert["starts_at"], "message": message}


def _place(line: Fields) -> tuple[Value, Value]:
    return line.get("hostname", ""), line.get("workspace", "")
