"""`lockwarden config`: whether the settings can be, and what they are."""

import click

from watcher.cli.options import settings_options
from watcher.errors import one_line
from watcher.settings import Loaded, as_toml


@click.group(no_args_is_help=False)
def command() -> None:
    """Check or show the settings: those of the config file and of the environment.

    Example: lockwarden config show --config ./lockwarden.toml
    """


@command.command()
@settings_options("config")
def check(loaded: Loaded) -> None:
    """Name the first thing that is wrong.

    Exit codes: 0 nothing is, 2 something is.

    Example: lockwarden config check --config ./lockwarden.toml && systemctl reload lockwarden
    """
    click.echo(f"{one_line(loaded.path)}: fine" if loaded.path else "no config file: fine")


@command.command()
@settings_options("config")
def show(loaded: Loaded) -> None:
    """Print what is in force, and where it came from.

    The output is a config file that says the same.

    Example: lockwarden config show > lockwarden.toml
    """
    click.echo(as_toml(loaded), nl=False)
