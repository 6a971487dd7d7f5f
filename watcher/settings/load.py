"""Settings from the config file, the environment and the command line, and where each came from."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import msgspec

from watcher.errors import UsageError
from watcher.settings.file import ConfigFile, find
from watcher.settings.keys import KEYS, Key
from watcher.settings.section import Section
from watcher.settings.tree import Settings

CONFIG_VARIABLE = "LOCKWARDEN_CONFIG"
DEFAULT = "default"

_S = TypeVar("_S", bound=Section)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is in force.

    `origins` says for each key where its value came from, `path` is the config file ("" for none), `ignored`
    one that was found inside the workspace and passed over. `reload` reads everything again, with the same
    options and environment, and raises UsageError as `load` does.
    """

    settings: Settings
    origins: Mapping[str, str]
    path: str
    ignored: str
    reload: Callable[[], "Loaded"] = field(compare=False, repr=False)


def load(
    overrides: Mapping[str, object], environ: Mapping[str, str], config_path: str = "", *, workspace: str = ""
) -> Loaded:
    """Join the defaults, the config file, the environment and the command line; the later wins.

    `overrides` maps the paths of keys to what the command line gave. Lists that are marked so add up. An empty
    environment variable counts as not set. The config file is `config_path`, else the one that
    `LOCKWARDEN_CONFIG` names, else the first of the usual ones that is there and not inside `workspace`.

    Raises UsageError where one of them says what cannot be.
    """
    path, ignored = config_path or environ.get(CONFIG_VARIABLE, ""), ""
    if not path:
        path, ignored = find(environ, workspace)
    values: dict[str, object] = {}
    origins = dict.fromkeys(KEYS, DEFAULT)
    for key, value, origin in (*_from_file(path), *_from_environment(environ), *_from_options(overrides)):
        earlier = values.get(key.path)
        if key.adds and isinstance(earlier, tuple) and isinstance(value, tuple):
            values[key.path] = tuple(dict.fromkeys(earlier + value))
            origins[key.path] += f" and {origin}"
        else:
            values[key.path] = value
            origins[key.path] = origin
    return Loaded(
        settings=_build(Settings, values),
        origins=origins,
        path=path,
        ignored=ignored,
        reload=partial(load, overrides, environ, config_path, workspace=workspace),
    )


def changed(old: Settings, new: Settings) -> tuple[str, ...]:
    """Name the keys in which two settings differ."""
    return tuple(path for path in KEYS if value_of(old, path) != value_of(new, path))


def value_of(settings: Settings, path: str) -> object:
    """Give the value of the key at `path`."""
    value: object = settings
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _from_file(path: str) -> Iterator[tuple[Key, object, str]]:
    if path:
        for key, value in ConfigFile.open(path).settings():
            yield key, value, path


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[Key, object, str]]:
    for key in KEYS.values():
        if raw := environ.get(key.variable):
            try:
                yield key, key.read(raw, text=True), key.variable
            except ValueError as error:
                raise UsageError(f"environment: {key.variable}: {error}") from None


def _from_options(overrides: Mapping[str, object]) -> Iterator[tuple[Key, object, str]]:
    for path, raw in overrides.items():
        key = KEYS[path]
        origin = key.option.flag if key.option else path
        try:
            yield key, key.read(raw, text=False), origin
        except ValueError as error:
            raise UsageError(f"{origin}: {error}") from None


def _build(section: type[_S], values: Mapping[str, object], prefix: str = "") -> _S:
    given: dict[str, object] = {}
    for each in msgspec.structs.fields(section):
        path = prefix + each.name
        if isinstance(each.type, type) and issubclass(each.type, Section):
            given[each.name] = _build(each.type, values, f"{path}.")
        elif path in values:
            given[each.name] = values[path]
    return section(**given)
