"""Rules that other packages bring, by the entry point group `lockwarden.rules`.

The name of the entry point is the kind of what the rule finds (`[a-z][a-z0-9_]*`); its object is a function of
a `rules.model.LockView` and a `rules.policy.Policy` that yields `Finding` and `Undecided` (`rules.evaluate.Find`).
In another package's `pyproject.toml`:

    [project.entry-points."lockwarden.rules"]
    overtime = "my_rules:overtime"
"""

import re
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from rules.evaluate import RULES, Rule

GROUP = "lockwarden.rules"

_KIND = re.compile(r"[a-z][a-z0-9_]*")


def load_rules() -> tuple[Sequence[Rule], dict[str, str]]:
    """Give our rules and those of other packages, and for each that cannot be had the reason, by its name."""
    kinds = {rule.kind for rule in RULES}
    rules, refused = list(RULES), dict[str, str]()
    for entry_point in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        if entry_point.name in kinds or not _KIND.fullmatch(entry_point.name):
            refused[entry_point.name] = "its name must be a word of its own, in small letters"
            continue
        try:
            rules.append(_load(entry_point))
            kinds.add(entry_point.name)
        except Exception as error:  # noqa: BLE001 - another package may raise anything, and must harm nothing
            refused[entry_point.name] = f"{type(error).__name__}: {error}"
    return rules, refused


def _load(entry_point: EntryPoint) -> Rule:
    find = entry_point.load()
    if not callable(find):
        raise TypeError(f"{entry_point.value} is no function")
    return Rule(entry_point.name, find)
