from collections.abc import Mapping
from pathlib import Path

import click
import pytest

from watcher.cli.options import settings_options, workspace_argument
from watcher.errors import UsageError
from watcher.settings import Loaded, Settings, changed
from watcher.settings.keys import KEYS
from watcher.settings.load import value_of

# The options of `watch` that are settings: how each is given, the key that it sets, and what it sets it to.
OPTIONS: Mapping[str, tuple[list[str], str, object]] = {
    "--log-file": (["--log-file", "/tmp/log"], "log.file", "/tmp/log"),
    "--quiet": (["--quiet"], "log.quiet", True),
    "--format": (["--format", "logfmt"], "log.format", "logfmt"),
    "--level": (["--level", "WARNING"], "log.level", "warning"),
    "--alerts-only": (["--alerts-only"], "log.alerts_only", True),
    "--orphan-hold": (["--orphan-hold", "2.5"], "rules.orphan.hold", 2.5),
    "--skip-dir": (["--skip-dir", "a,b", "--skip-dir", "c"], "observe.skip_dirs", ("a,b", "c")),
    "--no-default-skips": (["--no-default-skips"], "observe.default_skips", False),
    "--max-depth": (["--max-depth", "2"], "observe.max_depth", 2),
    "--backend": (["--backend", "native"], "observe.backend", "native"),
    "--tmux-socket": (["--tmux-socket", "/a", "--tmux-socket", "/b"], "tmux.sockets", ("/a", "/b")),
    "--tmux-socket-name": (["--tmux-socket-name", "t"], "tmux.socket_names", ("t",)),
    "--no-tmux": (["--no-tmux"], "tmux.enabled", False),
    "--state-dir": (["--state-dir", "/s"], "state.dir", "/s"),
    "--no-state": (["--no-state"], "state.enabled", False),
    "--heartbeat": (["--heartbeat", "0"], "heartbeat.interval", 0),
    "--metrics": (["--metrics", "0.0.0.0:9100"], "metrics.listen", "0.0.0.0:9100"),
    "--metrics-file": (["--metrics-file", "/m"], "metrics.file", "/m"),
    "--otlp": (["--otlp", "http://c:4318"], "otlp.endpoint", "http://c:4318"),
    "--alertmanager": (["--alertmanager", "http://a:9093"], "alertmanager.url", "http://a:9093"),
}


@click.command()
@workspace_argument
@settings_options("watch")
def watch(workspace: str, loaded: Loaded) -> tuple[str, Loaded]:
    """Stand in for the real command: give what it was given."""
    return workspace, loaded


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for key in KEYS.values():
        monkeypatch.delenv(key.variable, raising=False)
    monkeypatch.delenv("LOCKWARDEN_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("watcher.settings.file.SYSTEM_CONFIG", tmp_path / "etc" / "config.toml")


def run(*arguments: str) -> tuple[str, Loaded]:
    """Give the workspace and the settings with which the command is called."""
    with watch.make_context("watch", list(arguments)) as context:
        workspace, loaded = watch.invoke(context)
    assert isinstance(loaded, Loaded)
    return str(workspace), loaded


def test_every_option_is_tried_below() -> None:
    """The table of this file holds every option that a setting has."""
    assert set(OPTIONS) == {key.option.flag for key in KEYS.values() if key.option}


def test_without_options_the_settings_are_the_defaults() -> None:
    """No option is no override; the workspace is the current directory."""
    workspace, loaded = run()
    assert (workspace, loaded.settings) == (".", Settings())
    assert set(loaded.origins.values()) == {"default"}


@pytest.mark.parametrize("flag", OPTIONS)
def test_an_option_sets_its_key(flag: str) -> None:
    """Each option changes the setting that it is for, and no other."""
    arguments, path, value = OPTIONS[flag]
    workspace, loaded = run("town", *arguments)
    assert workspace == "town"
    assert value_of(loaded.settings, path) == value
    assert changed(Settings(), loaded.settings) == (path,)
    assert loaded.origins[path] == flag


@pytest.mark.parametrize("flag", OPTIONS)
def test_an_option_wins_over_the_environment(flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a variable that says otherwise, the option decides, or adds."""
    arguments, path, value = OPTIONS[flag]
    key = KEYS[path]
    others = {"format": "ecs", "level": "error", "backend": "polling", "max_depth": "9", "listen": "1", "hold": "9s"}
    other = others.get(path.rpartition(".")[2], "http://o:1" if "http" in str(value) else "1")
    monkeypatch.setenv(key.variable, ("true" if value is False else "false") if key.switch else other)
    found = value_of(run(*arguments)[1].settings, path)
    assert found == (("1", "a,b", "c") if key.adds else value)


def test_the_config_file_is_read(tmp_path: Path) -> None:
    """`--config` names it, and `reload` reads it again with the same options."""
    path = tmp_path / "c.toml"
    path.write_text('log.level = "error"\n', encoding="utf-8")
    loaded = run("--config", str(path), "--quiet")[1]
    assert (loaded.settings.log.level, loaded.settings.log.quiet, loaded.path) == ("error", True, str(path))
    path.write_text("", encoding="utf-8")
    assert changed(loaded.settings, loaded.reload().settings) == ("log.level",)


def test_a_config_file_inside_the_workspace_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The one at the usual place is passed over if agents can write it, and stderr says so in one line."""
    path = tmp_path / "xdg" / "lockwarden" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('log.level = "error"\n', encoding="utf-8")
    assert run(str(tmp_path))[1].settings == Settings()
    note = f"config: {path} is inside the workspace, where agents can write: not read; --config reads it all the same"
    assert capsys.readouterr().err == f"lockwarden: {note}\n"
    assert run(str(tmp_path / "town"))[1].settings.log.level == "error"
    assert run(str(tmp_path), "--config", str(path))[1].settings.log.level == "error"


def test_a_wrong_value_names_the_option() -> None:
    """A value that cannot be is refused in the words of the settings."""
    with pytest.raises(UsageError) as caught:
        run("--format", "xml")
    assert str(caught.value) == '--format: expected one of auto, json, console, logfmt, ecs, got "xml"'


def test_help_names_key_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    """The help of each option tells its key, and the default where there is one to tell."""
    with pytest.raises(click.exceptions.Exit):
        run("--help")
    words = " ".join(capsys.readouterr().out.split())
    for flag, (_, path, _) in OPTIONS.items():
        assert f"{flag} " in words
        assert f"[{path}" in words
    assert "[rules.orphan.hold; default: 500ms]" in words


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("watch", set(OPTIONS)),
        *(
            (
                command,
                {
                    "--skip-dir",
                    "--no-default-skips",
                    "--max-depth",
                    "--tmux-socket",
                    "--tmux-socket-name",
                    "--no-tmux",
                },
            )
            for command in ("scan", "clean")
        ),
        ("status", {"--state-dir"}),
        ("config", set()),
    ],
)
def test_a_command_takes_what_makes_sense_to_it(command: str, flags: set[str]) -> None:
    """Besides `--config`, each command has the options that change what it does."""

    @click.command()
    @settings_options(command)
    def made(loaded: Loaded) -> None:
        """Stand in for the real command."""

    assert {option for parameter in made.params for option in parameter.opts} == {*flags, "--config"}
