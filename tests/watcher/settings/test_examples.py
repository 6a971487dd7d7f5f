import re
import tomllib
from pathlib import Path

import msgspec

from watcher.settings import Settings, changed, load
from watcher.settings.keys import KEYS

DEPLOY = Path(__file__).parents[3] / "deploy"


def test_the_example_lists_every_key_with_its_default() -> None:
    """`deploy/lockwarden.toml`, with its keys uncommented, is the defaults, all of them."""
    text = (DEPLOY / "lockwarden.toml").read_text(encoding="utf-8")
    assert load({}, {}, str(DEPLOY / "lockwarden.toml")).settings == Settings()
    document = tomllib.loads(re.sub(r"(?m)^#(?=\w+ = )", "", text))
    for path, key in KEYS.items():
        value: object = document
        for part in path.split("."):
            assert isinstance(value, dict)
            assert part in value, path
            value = value[part]
        assert value == msgspec.to_builtins(key.show(key.default)), path


def test_the_example_names_every_option() -> None:
    """Who reads the example learns the options too."""
    text = (DEPLOY / "lockwarden.toml").read_text(encoding="utf-8")
    for key in KEYS.values():
        if key.option:
            assert key.option.flag in text


def test_the_preset_for_a_town() -> None:
    """`deploy/gastown.toml` waits a minute before it calls a lock stale, and says it once; no more."""
    loaded = load({}, {}, str(DEPLOY / "gastown.toml"))
    assert changed(Settings(), loaded.settings) == ("rules.stale.hold", "rules.stale.repeat")
    assert (loaded.settings.rules.stale.hold, loaded.settings.rules.stale.repeat) == (60, 0)
