"""What a table of the config file is made of."""

from dataclasses import dataclass

import msgspec


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the config file."""


@dataclass(frozen=True, slots=True)
class Option:
    """The command-line option of a setting, and the commands that take it.

    A flag that begins with `--no-` switches its setting off, and says so in a `help` of its own.
    """

    flag: str
    metavar: str = ""
    help: str = ""
    commands: tuple[str, ...] = ("watch",)


@dataclass(frozen=True, slots=True)
class Adds:
    """Marks a list to which every place that names it adds, where another list is replaced."""
