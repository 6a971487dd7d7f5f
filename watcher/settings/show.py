"""The settings for people and for editors: as TOML with where each came from, and as a JSON Schema."""

from typing import Any

import msgspec

from watcher.errors import one_line
from watcher.settings.keys import KEYS
from watcher.settings.load import Loaded, value_of
from watcher.settings.toml import quote
from watcher.settings.tree import Settings


def as_toml(loaded: Loaded) -> str:
    """Write all that is in force as a config file that says the same, each key with its origin."""
    lines: list[str] = []
    table = ""
    for path, key in KEYS.items():
        parent, _, name = path.rpartition(".")
        if parent != table:
            lines += ["", f"[{parent}]"]
            table = parent
        value = quote(key.show(value_of(loaded.settings, path)))
        lines.append(f"{name} = {value}  # from {one_line(loaded.origins[path])}")
    return "\n".join(lines) + "\n"


def schema() -> dict[str, Any]:
    """Give the JSON Schema (2020-12) of the config file, for editors that complete and check TOML."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_with_alternatives(msgspec.json.schema(Settings)),
    }


def _with_alternatives(node: Any) -> Any:  # noqa: ANN401 - any JSON
    """Tell what msgspec cannot: that a duration may also be a string, a port also a number."""
    if isinstance(node, list):
        return [_with_alternatives(part) for part in node]
    if not isinstance(node, dict):
        return node
    if "otherwise" not in node:
        return {name: _with_alternatives(part) for name, part in node.items()}
    about = {name: part for name, part in node.items() if name in {"description", "default"}}
    typed = {name: part for name, part in node.items() if name not in {*about, "otherwise"}}
    return {**about, "anyOf": [typed, node["otherwise"]]}
