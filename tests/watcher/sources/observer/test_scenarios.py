from collections.abc import Callable
from pathlib import Path

import pytest

from tests.watcher.sources.observer.script import Script
from tests.watcher.sources.observer.view import View

_SCENARIOS = sorted((Path(__file__).parents[3] / "scenarios").glob("*.txt"))


@pytest.mark.parametrize("scenario", _SCENARIOS, ids=[path.stem for path in _SCENARIOS])
def test_scenario(scenario: Path, root: Path, backend: str, watching: Callable[..., View]) -> None:
    """Each backend tells what the scenario says, and knows in the end what is on the disk."""
    # watchdog's own observers lose events; the slow rescan is their safety net.
    rescan_interval = 0.1 if backend == "native" else 3600.0
    script = Script(root, backend, lambda: watching(root, backend=backend, rescan_interval=rescan_interval))
    script.run(scenario.read_text())
