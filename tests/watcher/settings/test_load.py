import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

import jsonschema
import pytest

from rules.policy import Policy
from watcher.errors import UsageError
from watcher.settings import Settings, as_toml, changed, load, schema
from watcher.settings.keys import KEYS
from watcher.settings.load import value_of

# For every key: how it is written in TOML and in an environment variable, and the value that both mean.
WRITTEN: Mapping[str, tuple[str, str, object]] = {
    "host_aliases": ('["a", "b"]', "a:b", ("a", "b")),
    "log.file": ('"/tmp/log"', "/tmp/log", "/tmp/log"),
    "log.quiet": ("true", "yes", True),
    "log.format": ('"ecs"', "ecs", "ecs"),
    "log.level": ('"error"', "error", "error"),
    "log.alerts_only": ("true", "1", True),
    "observe.skip_dirs": ('["out", ".cache"]', "out,.cache", ("out", ".cache")),
    "observe.default_skips": ("false", "off", False),
    "observe.max_depth": ("3", "3", 3),
    "observe.backend": ('"polling"', "polling", "polling"),
    "observe.rescan": ('"2m"', "2m", 120.0),
    "observe.poll": ("0.25", "250ms", 0.25),
    "tmux.enabled": ("false", "False", False),
    "tmux.sockets": ('["/run/t"]', "/run/t", ("/run/t",)),
    "tmux.socket_names": ('["town"]', "town", ("town",)),
    "tmux.descriptive": ('["*@*", "x/*"]', "*@*:x/*", ("*@*", "x/*")),
    "tmux.session_alias": ("true", "true", True),
    "state.dir": ('"/var/lib/x"', "/var/lib/x", "/var/lib/x"),
    "state.enabled": ("false", "0", False),
    "heartbeat.interval": ("0", "0", 0.0),
    "metrics.listen": ("9100", "9100", "9100"),
    "metrics.file": ('"/tmp/m.prom"', "/tmp/m.prom", "/tmp/m.prom"),
    "otlp.endpoint": ('"http://c:4318"', "http://c:4318", "http://c:4318"),
    "alertmanager.url": ('"https://a/am"', "https://a/am", "https://a/am"),
    "rules.ignore_workers": ('["a/*"]', "a/*", ("a/*",)),
    "rules.stale.require_dead_session": ("false", "no", False),
    "rules.collision.window": ('"3s"', "3", 3.0),
    "rules.collision.shared_pane": ("false", "false", False),
    "rules.invalid.grace": ('"5s"', "5s", 5.0),
    **{
        f"rules.{kind}.{name}": written
        for kind in ("stale", "orphan", "collision", "invalid")
        for name, written in {
            "enabled": ("false", "false", False),
            "hold": ('"1h30m"', "1h30m", 5400.0),
            "repeat": ("0", "0s", 0.0),
            "severity": ('"error"', "ERROR", "error"),
            "ignore_workers": ('["b", "c/*"]', "b,c/*", ("b", "c/*")),
        }.items()
    },
}


def test_every_key_is_tried_below() -> None:
    """The table of this file holds every setting there is."""
    assert set(WRITTEN) == set(KEYS)


def test_nothing_given_means_the_defaults() -> None:
    """Without file, environment and options the settings are the defaults, and say so."""
    loaded = load({}, {})
    assert loaded.settings == Settings()
    assert set(loaded.origins) == set(KEYS)
    assert set(loaded.origins.values()) == {"default"}
    assert (loaded.path, loaded.ignored) == ("", "")


@pytest.mark.parametrize("path", WRITTEN)
def test_a_key_is_set_by_the_file(path: str, config: Path) -> None:
    """A key in the file changes its setting, and no other."""
    parent, _, name = path.rpartition(".")
    config.write_text((f"[{parent}]\n" if parent else "") + f"{name} = {WRITTEN[path][0]}\n", encoding="utf-8")
    loaded = load({}, {}, str(config))
    assert value_of(loaded.settings, path) == WRITTEN[path][2]
    assert changed(Settings(), loaded.settings) == (path,)
    assert {key for key, origin in loaded.origins.items() if origin == str(config)} == {path}


@pytest.mark.parametrize("path", WRITTEN)
def test_a_key_is_set_by_its_variable(path: str) -> None:
    """The environment variable named after a key changes its setting, and no other."""
    variable = "LOCKWARDEN_" + path.upper().replace(".", "_")
    loaded = load({}, {variable: WRITTEN[path][1]})
    assert value_of(loaded.settings, path) == WRITTEN[path][2]
    assert changed(Settings(), loaded.settings) == (path,)
    assert loaded.origins[path] == variable


def test_no_two_keys_share_a_variable() -> None:
    """A dot and an underscore look the same in a variable, so the names are checked for being different."""
    assert len({key.variable for key in KEYS.values()}) == len(KEYS)


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(config: Path) -> None:
    """Each of the three places beats the one before, key by key."""
    config.write_text('log.format = "ecs"\nlog.level = "error"\nheartbeat.interval = "5s"\n', encoding="utf-8")
    environ = {"LOCKWARDEN_LOG_FORMAT": "logfmt", "LOCKWARDEN_LOG_LEVEL": "warning"}
    loaded = load({"log.format": "json"}, environ, str(config))
    assert (loaded.settings.log.format, loaded.settings.log.level) == ("json", "warning")
    assert loaded.settings.heartbeat.interval == 5
    assert [loaded.origins[path] for path in ("log.format", "log.level", "heartbeat.interval")] == [
        "--format",
        "LOCKWARDEN_LOG_LEVEL",
        str(config),
    ]


def test_skip_dirs_add_up_and_other_lists_are_replaced(config: Path) -> None:
    """Each place adds to the names that are skipped; of the sockets, only those of the strongest place count."""
    config.write_text('observe.skip_dirs = ["a", "b"]\ntmux.sockets = ["/file"]\n', encoding="utf-8")
    environ = {"LOCKWARDEN_OBSERVE_SKIP_DIRS": "b:c", "LOCKWARDEN_TMUX_SOCKETS": "/env"}
    loaded = load({"observe.skip_dirs": ("d",), "tmux.sockets": ("/x,y:z",)}, environ, str(config))
    assert loaded.settings.observe.skip_dirs == ("a", "b", "c", "d")
    assert loaded.origins["observe.skip_dirs"] == f"{config} and LOCKWARDEN_OBSERVE_SKIP_DIRS and --skip-dir"
    assert loaded.settings.tmux.sockets == ("/x,y:z",)


def test_the_names_that_are_skipped() -> None:
    """`skip_names` is one's own names and, unless they are switched off, the default ones."""
    assert {".git", "node_modules", ".dolt-backup"} <= Settings().observe.skip_names
    assert len(Settings().observe.skip_names) == 12
    own = load({"observe.skip_dirs": ("x",), "observe.default_skips": False}, {}).settings
    assert own.observe.skip_names == {"x"}


def test_an_empty_variable_counts_as_not_set() -> None:
    """A unit file or a compose file that passes an empty variable on changes nothing."""
    loaded = load({}, {key.variable: "" for key in KEYS.values()} | {"LOCKWARDEN_CONFIG": ""})
    assert loaded.settings == Settings()


def test_an_empty_option_switches_off_what_the_file_names(config: Path) -> None:
    """`--log-file ""` wins over the file's."""
    config.write_text('log.file = "/tmp/log"\n', encoding="utf-8")
    assert not load({"log.file": ""}, {}, str(config)).settings.log.file


def test_reload_reads_the_file_again(config: Path) -> None:
    """`reload` keeps the options and the environment, and sees what the file says now."""
    config.write_text('log.level = "error"\n', encoding="utf-8")
    first = load({"log.quiet": True}, {"LOCKWARDEN_LOG_FORMAT": "ecs"}, str(config))
    config.write_text('log.level = "warning"\nheartbeat.interval = 1\n', encoding="utf-8")
    second = first.reload()
    assert changed(first.settings, second.settings) == ("log.level", "heartbeat.interval")
    assert second.settings.log.quiet
    config.write_text("log.level = 1\n", encoding="utf-8")
    with pytest.raises(UsageError):
        second.reload()


def test_the_home_directory_may_be_written_as_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell expands `~` in a config file, so paths do."""
    monkeypatch.setenv("HOME", "/home/x")
    assert load({"log.file": "~/log"}, {}).settings.log.file == "/home/x/log"
    assert load({"tmux.sockets": ("~/s", "/t")}, {}).settings.tmux.sockets == ("/home/x/s", "/t")


def test_what_is_shown_says_the_same_when_it_is_read(config: Path) -> None:
    """`as_toml` is a config file with the same settings, and says where each came from."""
    loaded = load(
        {"log.file": 'a"\x1b\u202e😀'}, {"LOCKWARDEN_RULES_STALE_HOLD": "90s", "LOCKWARDEN_HOST_ALIASES": "a,b"}
    )
    text = as_toml(loaded)
    config.write_text(text, encoding="utf-8")
    assert load({}, {}, str(config)).settings == loaded.settings
    assert 'hold = "90s"  # from LOCKWARDEN_RULES_STALE_HOLD\n' in text
    assert 'descriptive = ["*/*"]  # from default\n' in text


def test_a_variable_may_hold_bytes_that_are_not_utf8() -> None:
    """A path from the environment is the path that the system means, and can be shown."""
    loaded = load({}, {"LOCKWARDEN_LOG_FILE": os.fsdecode(b"/tmp/\xff")})
    assert os.fsencode(loaded.settings.log.file) == b"/tmp/\xff"
    assert as_toml(loaded).isascii()


def test_the_schema_accepts_what_load_accepts() -> None:
    """The JSON Schema takes every value of the table above, and the defaults; it refuses what load refuses."""
    checker = jsonschema.Draft202012Validator(schema())
    checker.check_schema(checker.schema)
    for path, (written, _, _) in WRITTEN.items():
        checker.validate(tomllib.loads(f"{path} = {written}"))
    checker.validate(tomllib.loads(as_toml(load({}, {}))))
    for wrong in ('log.format = "xml"', "rules.orphan.hold = -1", 'rules.orphan.hold = "soon"', "log.x = 1", "x = 1"):
        assert not checker.is_valid(tomllib.loads(wrong)), wrong


def test_each_setting_is_described() -> None:
    """Every key in the schema has a description and a default."""
    definitions = schema()["$defs"]
    for path in KEYS:
        *parents, name = path.split(".")
        section = definitions[parents[-1].capitalize() if parents else "Settings"]
        assert {"description", "default"} <= set(section["properties"][name]), path


def test_the_policy_follows_the_settings(config: Path) -> None:
    """What `[rules]` says reaches the rules, and by default is what they have by themselves."""
    assert Settings().rules.policy() == Policy()
    config.write_text(
        '[rules]\nignore_workers = ["x/*"]\nstale.enabled = false\n'
        '[rules.collision]\nwindow = "2s"\nseverity = "error"\n',
        encoding="utf-8",
    )
    policy = load({}, {}, str(config)).settings.rules.policy()
    assert (policy.collision.window, policy.collision.severity) == (2, "error")
    assert policy.exempts("stale", "a")
    assert policy.exempts("orphan", "x/y")
    assert not policy.exempts("orphan", "y/x")


def test_each_policy_can_be_set() -> None:
    """No field of a policy is out of the operator's reach."""
    for kind in fields(Policy):
        value = getattr(Policy(), kind.name)
        for name in asdict(value) if kind.name != "ignore_workers" else ():
            assert f"rules.{kind.name}.{name}" in KEYS
