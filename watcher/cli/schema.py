"""`lockwarden schema`: what the log, the config file and the state file look like."""

import json
from importlib import import_module

import click

_MAKERS = {
    "record": ("watcher.schema", "record_schema"),
    "config": ("watcher.settings", "schema"),
    "state": ("watcher.state", "schema"),
}


@click.command()
@click.argument("what", type=click.Choice(list(_MAKERS)), default="record")
def command(what: str) -> None:
    """Print the JSON Schema of a log record, of the config file or of the state file.

    Example: lockwarden schema config > lockwarden.schema.json
    """
    module, function = _MAKERS[what]
    click.echo(json.dumps(getattr(import_module(module), function)(), indent=2))
