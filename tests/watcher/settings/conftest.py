from pathlib import Path

import pytest

import watcher.settings.file


@pytest.fixture(autouse=True)
def no_system_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the system's config file be one that is not there."""
    path = tmp_path / "etc" / "config.toml"
    monkeypatch.setattr(watcher.settings.file, "SYSTEM_CONFIG", path)
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Give the path of a config file that is still to be written."""
    return tmp_path / "lockwarden.toml"
