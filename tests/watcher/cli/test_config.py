import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from watcher.cli import main
from watcher.settings.keys import KEYS


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for key in KEYS.values():
        monkeypatch.delenv(key.variable, raising=False)
    monkeypatch.delenv("LOCKWARDEN_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("watcher.settings.file.SYSTEM_CONFIG", tmp_path / "etc" / "config.toml")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Give a config file with one key."""
    path = tmp_path / "c.toml"
    path.write_text('[rules.orphan]\nhold = "2s"\n', encoding="utf-8")
    return path


def test_check_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no config file, nothing is wrong."""
    assert main(["config", "check"]) == 0
    assert capsys.readouterr() == ("no config file: fine\n", "")


def test_check_of_a_right_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file that was checked is named."""
    assert main(["config", "check", "--config", str(config)]) == 0
    assert capsys.readouterr() == (f"{config}: fine\n", "")


def test_check_of_a_wrong_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, nothing on stdout, one line on stderr."""
    config.write_text('[rules.orphan]\nhold = "soon"\n', encoding="utf-8")
    assert main(["config", "check", "--config", str(config)]) == 2
    said = f'config: rules.orphan.hold: expected a duration such as "0.5s", got "soon" ({config} line 2)'
    assert capsys.readouterr() == ("", f"lockwarden: {said}\n")


def test_check_of_a_wrong_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The environment is checked as well."""
    monkeypatch.setenv("LOCKWARDEN_LOG_FORMAT", "xml\x1b[2J")
    assert main(["config", "check"]) == 2
    said = "environment: LOCKWARDEN_LOG_FORMAT: expected one of auto, json, console, logfmt, ecs"
    assert capsys.readouterr() == ("", f'lockwarden: {said}, got "xml\\u001b[2J"\n')


def test_the_environment_names_the_file(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`LOCKWARDEN_CONFIG` is `--config`, and loses to it."""
    monkeypatch.setenv("LOCKWARDEN_CONFIG", str(config))
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out == f"{config}: fine\n"
    assert main(["config", "check", "--config", str(config.with_name("other.toml"))]) == 2


def test_show_says_what_is_in_force_and_why(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output is TOML with every key, its value and where it came from."""
    monkeypatch.setenv("LOCKWARDEN_LOG_LEVEL", "error")
    assert main(["config", "show", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    document = tomllib.loads(out)
    assert document["rules"]["orphan"]["hold"] == "2s"
    assert out.count("  # from ") == len(KEYS)
    lines = out.splitlines()
    assert f'hold = "2s"  # from {config}' in lines
    assert 'level = "error"  # from LOCKWARDEN_LOG_LEVEL' in lines
    assert 'format = "auto"  # from default' in lines


def test_schema_of_the_config(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `schema config` prints is a JSON Schema that the config file satisfies."""
    assert main(["schema", "config"]) == 0
    checker = jsonschema.Draft202012Validator(json.loads(capsys.readouterr().out))
    checker.validate(tomllib.loads(config.read_text(encoding="utf-8")))
    assert not checker.is_valid({"rules": {"orphan": {"hold": "soon"}}})


def test_schema_of_the_record(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a word, `schema` prints that of a log record."""
    assert main(["schema"]) == 0
    assert "watcher.started" in capsys.readouterr().out
