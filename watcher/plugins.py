"""Rules that other packages bring, by the entry point group `lockwarden.rules`.

The name of the entry point is the kind of what the rule finds (`[a-z][a-z0-9_]*`); its object is a function of
a `rules.model.LockView` and a `rules.policy.Policy` that yields `Finding` and `Undecided` (`rules.evaluate.Find`).
In another package's `pyproject.toml`:

    [project.entry-points."lockwarden.rules"]
    overtime = "my_rules:overtime"
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

from rules.evaluate import RULES, Rule

GROUP = "lockwarden.rules"

_FORMS = ("*.dist-info/entry_points.txt", "*.egg-info/entry_points.txt")
_KIND = re.compile(r"[a-z][a-z0-9_]*")


def load_rules() -> tuple[Sequence[Rule], dict[str, str]]:
    """Give our rules and those of other packages, and for each that cannot be had the reason, by its name."""
    kinds = {rule.kind for rule in RULES}
    rules, refused = list(RULES), dict[str, str]()
    for entry_point in _entry_points():
        if entry_point.name in kinds or not _KIND.fullmatch(entry_point.name):
            refused[entry_point.name] = "its name must be a word of its own, in small letters"
            continue
        try:
            rules.append(_load(entry_point))
            kinds.add(entry_point.name)
        except Exception as error:  # noqa: BLE001 - another package may raise anything, and must harm nothing
            refused[entry_point.name] = f"{type(error).__name__}: {error}"
    return rules, refused


def _entry_points() -> "Sequence[EntryPoint]":
    """Give what packages offer, by name. `importlib.metadata` takes 3 MB: only where a package may have something."""
    if not any(_may_offer(Path(place)) for place in sys.path):
        return ()
    from importlib.metadata import entry_points  # noqa: PLC0415 - see above

    return sorted(entry_points(group=GROUP), key=lambda each: each.name)


def _may_offer(place: Path) -> bool:
    if not place.is_dir():
        return place.is_file()  # a zip file: let the standard library look into it
    return any(_names_the_group(path) for form in _FORMS for path in place.glob(form))


def _names_the_group(path: Path) -> bool:
    try:
        return GROUP.encode() in path.read_bytes()
    except OSError:
        return True


def _load(entry_point: "EntryPoint") -> Rule:
    find = entry_point.load()
    if not callable(find):
        raise TypeError(f"{entry_point.value} is no function")
    return Rule(entry_point.name, find)
