"""What the operator decides: TOML, environment and options, joined into one frozen tree."""

from watcher.settings.load import Loaded, changed, load
from watcher.settings.show import as_toml, schema
from watcher.settings.tree import Backend, Format, Settings

__all__ = ["Backend", "Format", "Loaded", "Settings", "as_toml", "changed", "load", "schema"]
