"""What every test may ask for."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from watcher import testing


@pytest.fixture
def home() -> Iterator[Path]:
    """Give a directory with a short name, for a tmux socket must have one (108 bytes, unix(7))."""
    path = Path(tempfile.mkdtemp(prefix="lw-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def dead_pid() -> int:
    """Give a pid that no process bears any more."""
    return testing.dead_pid()


@pytest.fixture
def workspace(home: Path) -> Path:
    """Give an empty workspace."""
    path = home / "town"
    path.mkdir()
    return path
