from pathlib import Path

import pytest

from watcher.errors import UsageError
from watcher.settings import load


def write(path: Path) -> Path:
    """Make an empty config file."""
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def test_the_users_file_comes_before_the_systems(tmp_path: Path, no_system_config: Path) -> None:
    """`$XDG_CONFIG_HOME`, else `~/.config`, else the system's; and they are not joined."""
    system = write(no_system_config)
    assert load({}, {}).path == str(system)
    environ = {"HOME": str(tmp_path / "home")}
    assert load({}, environ).path == str(system)
    user = write(tmp_path / "home" / ".config" / "lockwarden" / "config.toml")
    assert load({}, environ).path == str(user)
    xdg = write(tmp_path / "xdg" / "lockwarden" / "config.toml")
    assert load({}, environ | {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}).path == str(xdg)
    assert load({}, environ | {"XDG_CONFIG_HOME": "xdg"}).path == str(user)


def test_a_file_inside_the_workspace_is_passed_over(tmp_path: Path, no_system_config: Path) -> None:
    """Agents can write there; the next place is taken, and what was passed over is named."""
    user = write(tmp_path / "town" / ".config" / "lockwarden" / "config.toml")
    user.write_text("nonsense", encoding="utf-8")
    environ = {"HOME": str(tmp_path / "town")}
    loaded = load({}, environ, workspace=str(tmp_path / "town"))
    assert (loaded.path, loaded.ignored) == ("", str(user))
    assert loaded.reload().ignored == str(user)
    system = write(no_system_config)
    assert load({}, environ, workspace=str(tmp_path / "town")).path == str(system)


def test_a_link_into_or_out_of_the_workspace_is_passed_over(tmp_path: Path, no_system_config: Path) -> None:
    """What agents can write decides, and they can also replace a link that lies in the workspace."""
    town = tmp_path / "town"
    inside = write(town / "config.toml")
    no_system_config.parent.mkdir()
    no_system_config.symlink_to(inside)
    assert load({}, {}, workspace=str(town)).ignored == str(no_system_config)
    outside = write(tmp_path / "elsewhere" / "config.toml")
    user = town / ".config" / "lockwarden" / "config.toml"
    user.parent.mkdir(parents=True)
    user.symlink_to(outside)
    no_system_config.unlink()
    assert load({}, {"HOME": str(town)}, workspace=str(town)).ignored == str(user)


def test_a_file_that_is_named_may_lie_anywhere(tmp_path: Path) -> None:
    """Whoever names a file has decided to trust it."""
    named = write(tmp_path / "town" / "config.toml")
    assert load({}, {}, str(named), workspace=str(tmp_path / "town")).path == str(named)


def test_a_file_that_is_there_and_unusable_is_an_error(no_system_config: Path) -> None:
    """A config file that cannot be read is not the same as none."""
    no_system_config.mkdir(parents=True)
    with pytest.raises(UsageError, match="is a directory"):
        load({}, {})
