import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.watcher.sources.observer.view import View

# watchdog's own threads on Linux complain of, and die from, some renames; that must not matter to us.
_WATCHDOGS_OWN = (
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Callback with id:RuntimeWarning"),
)

BACKENDS = ("inotify", pytest.param("native", marks=_WATCHDOGS_OWN), "polling")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """An empty workspace. Some tests make tens of thousands of directories: they go at once."""
    workspace = tmp_path / "ws"
    workspace.mkdir()
    yield workspace
    shutil.rmtree(tmp_path)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend in turn: all of them keep the same contract."""
    return str(request.param)


@pytest.fixture
def watching() -> Iterator[Callable[..., View]]:
    """Starts views, and stops them at the end."""
    with ExitStack() as stack:

        def start(root: Path, **options: object) -> View:
            view = View(root, **options)  # type: ignore[arg-type]  # handed on as they came
            stack.callback(view.stop)
            return view.start()

        yield start
