"""Look at the state of a workspace from outside, and leave it as it is: for `status`."""

import os
import time
from dataclasses import dataclass

from rules.alerts import Alert
from rules.model import Liveness
from watcher.errors import JobError, one_line
from watcher.state import watch_lock
from watcher.state.codec import from_json
from watcher.state.ledger import Ledger
from watcher.state.place import Place
from watcher.state.reading import STATE_NAME, UnusableStateError, read_state
from watcher.state.vitals import DECODER, VITALS_NAME, Vitals
from watcher.state.watch_lock import Running

_MOST = 65_536


@dataclass(frozen=True, slots=True)
class Report:
    """What the state directory tells of a workspace.

    `watcher` says whether one runs; `running` who that is, else who was the last. `vitals` are its own words,
    None before it has said any. `alerts` fire, or fired when it ended, oldest first; `claims` is how many locks
    have an owner. `trouble` says why the alerts are not known.
    """

    watcher: Liveness
    running: Running | None = None
    vitals: Vitals | None = None
    alerts: tuple[Alert, ...] = ()
    claims: int = 0
    trouble: str = ""


def look(directory: str, workspace: str) -> Report:
    """Look at the state of `workspace` inside the state directory.

    Raises:
        JobError: it is there, and may not be looked at.
    """
    try:
        place = Place.open(directory, workspace)
    except FileNotFoundError:
        return Report(Liveness.DEAD)
    except OSError as error:
        raise _refusal(directory, error) from error
    try:
        watcher, running = watch_lock.look(place)
        ledger, trouble = _ledger(place, os.path.realpath(workspace))
        return Report(
            watcher=watcher,
            running=running,
            vitals=_vitals(place, running),
            alerts=tuple(sorted(ledger.alerts.values(), key=lambda alert: (alert.starts_at, alert.fingerprint))),
            claims=len(ledger.workers),
            trouble=trouble,
        )
    except OSError as error:
        raise _refusal(place.path, error) from error
    finally:
        place.close()


def _ledger(place: Place, workspace: str) -> tuple[Ledger, str]:
    try:
        descriptor = place.open_file(STATE_NAME, os.O_RDONLY)
    except FileNotFoundError:
        return Ledger(), ""
    try:
        return read_state(descriptor, workspace, time.monotonic()), ""
    except UnusableStateError as error:
        return Ledger(), f"{place.path}/{STATE_NAME}: {error}"
    finally:
        os.close(descriptor)


def _vitals(place: Place, running: Running | None) -> Vitals | None:
    """Read the last words; those of another run than the one that is asked for say nothing of it."""
    try:
        descriptor = place.open_file(VITALS_NAME, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        vitals = from_json(os.read(descriptor, _MOST), DECODER)
    except ValueError:
        return None
    finally:
        os.close(descriptor)
    return vitals if running is not None and vitals.pid == running.pid and vitals.at >= running.since else None


def _refusal(path: str, error: OSError) -> JobError:
    reason = (error.strerror or str(error)).lower()
    return JobError(f"state: cannot look at {one_line(path)}: {reason}; ask as the user that runs the watcher")
