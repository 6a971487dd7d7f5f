"""The options of a command that are settings, made from the table of settings."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import click

from watcher.errors import one_line
from watcher.settings import load
from watcher.settings.keys import KEYS, Key
from watcher.settings.section import Option

_Result = TypeVar("_Result")
_Function = Callable[..., _Result]

workspace_argument = click.argument("workspace", default=".", type=click.Path(readable=False))
"""WORKSPACE; the current directory where none is named."""


def settings_options(command: str) -> Callable[[_Function[_Result]], _Function[_Result]]:
    """Add `--config` and the options of the settings that `command` takes.

    The function is given `loaded`, a `watcher.settings.Loaded`; no config file is looked for inside a `workspace`
    that it takes as well. UsageError is raised when the command runs with settings that cannot be.
    """
    options = [(key, key.option) for key in KEYS.values() if key.option and command in key.option.commands]

    def decorate(function: _Function[_Result]) -> _Function[_Result]:
        @wraps(function)
        def with_settings(*args: object, config: str, **parameters: object) -> _Result:
            overrides: dict[str, object] = {}
            for key, option in options:
                given = parameters.pop(_parameter(key))
                if key.switch and given:
                    overrides[key.path] = not option.flag.startswith("--no-")
                elif not key.switch and given not in (None, ()):
                    overrides[key.path] = given
            loaded = load(overrides, dict(os.environ), config, workspace=str(parameters.get("workspace", "")))
            if loaded.ignored:
                note = f"config: {loaded.ignored} is inside the workspace, where agents can write: not read"
                print(f"lockwarden: {one_line(note)}; --config reads it all the same", file=sys.stderr)
            return function(*args, loaded=loaded, **parameters)

        decorated: _Function[_Result] = with_settings
        for key, option in reversed(options):
            decorated = _click_option(key, option)(decorated)
        return click.option("--config", default="", metavar="FILE", help=_CONFIG_HELP)(decorated)

    return decorate


_CONFIG_HELP = (
    "Read settings from this file. Each key in brackets below is one of its keys, and an environment variable: "
    "log.format is LOCKWARDEN_LOG_FORMAT."
)


def _parameter(key: Key) -> str:
    return key.path.replace(".", "_")


def _click_option(key: Key, option: Option) -> Callable[[_Function[_Result]], _Function[_Result]]:
    default = key.show(key.default)
    known = "" if key.switch or default in ("", []) else f"; default: {default}"
    text = f"{option.help or key.description} [{key.path}{known}]"
    if key.switch:
        return click.option(option.flag, _parameter(key), is_flag=True, help=text)
    return click.option(option.flag, _parameter(key), metavar=option.metavar, multiple=key.many, help=text)
