"""The house: who may import whom, and which rooms no world comes into. Read from the source, not from what runs."""

import ast
import builtins
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

Layer = Mapping[str, tuple[str, ...]]

SHELL: tuple[Layer, ...] = (
    {"the command line": ("watcher.cli", "watcher.__main__"), "fakes": ("watcher.testing",)},
    {"the library": ("watcher", "watcher.embed", "watcher.library")},
    {"the daemon": ("watcher.daemon",), "one look": ("watcher.survey",)},
    {"what joins": ("watcher.inbox", "watcher.owners", "watcher.parts", "watcher.plugins", "watcher.probes")},
    {
        "sources": ("watcher.sources",),
        "sinks": ("watcher.sinks",),
        "locks": ("watcher.locks",),
        "state": ("watcher.state",),
        "settings": ("watcher.settings",),
    },
)
CORE: tuple[Layer, ...] = (
    {"detector": ("watcher.detector", "watcher.report", "watcher.health")},
    {"registry": ("watcher.registry",)},
    {"what is said": ("watcher.messages", "watcher.schema")},
    {"nouns": ("watcher.events", "watcher.records")},
    {"words": ("watcher.errors", "watcher.paths", "watcher.version")},
    {"rules": ("rules",)},
)
LAYERS = SHELL + CORE
"""From top to bottom: who is above may import who is below, and members of one house each other. Houses side by
side know nothing of each other. A name stands for the module or package and all below it (`watcher` for itself)."""

PURE = frozenset(
    {
        *("bisect", "collections", "dataclasses", "datetime", "enum", "fnmatch", "functools", "hashlib", "heapq"),
        *("itertools", "shlex", "typing"),
    }
)
"""What the core may import from outside: nothing that reads a clock, a file, the environment or another thread."""

NOUNS_OF_OTHERS = frozenset({"msgspec"})
"""And what the core may import of other packages, above `rules`."""

WORLDLY = frozenset({"breakpoint", "compile", "eval", "exec", "input", "open", "print", "__import__"})
CLOCKS = frozenset({"now", "utcnow", "today"})


@cache
def modules() -> Mapping[str, ast.Module]:
    """Parse every module of the two packages, by its dotted name."""
    found = {}
    for package in ("rules", "watcher"):
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imports(name: str) -> Iterator[tuple[str, int]]:
    """Give what a module imports and in which line: also inside functions, and by name in a string."""
    for node in ast.walk(modules()[name]):
        match node:
            case ast.Import(names=aliases):
                yield from ((alias.name, node.lineno) for alias in aliases)
            case ast.ImportFrom(module=str(source), names=aliases):
                for alias in aliases:
                    whole = f"{source}.{alias.name}"
                    yield whole if whole in modules() else source, node.lineno
            case ast.Constant(value=str(text)) if text in modules() and "." in text:
                yield text, node.lineno
            case _:
                pass


def places(name: str) -> list[tuple[int, str]]:
    """Say in which layers a module is, from 0 at the top, and in which houses of them."""
    return [
        (depth, house)
        for depth, layer in enumerate(LAYERS)
        for house, members in layer.items()
        if any(name == member or (member != "watcher" and name.startswith(f"{member}.")) for member in members)
    ]


def ours(name: str) -> list[tuple[str, int]]:
    """Give what a module imports of the two packages."""
    return [(target, line) for target, line in imports(name) if target.partition(".")[0] in {"rules", "watcher"}]


@pytest.mark.parametrize("name", sorted(modules()))
def test_every_module_has_one_place(name: str) -> None:
    """A new module is put into `LAYERS` by whoever makes it."""
    assert len(places(name)) == 1


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_point_downward(name: str) -> None:
    """A module imports its own house and what is below, never what is above or beside it."""
    [(depth, house)] = places(name)
    for target, line in ours(name):
        [(deeper, other)] = places(target)
        assert deeper > depth or (deeper, other) == (depth, house), f"{name} line {line}: {target} is in {other}"


@pytest.mark.parametrize("name", sorted(name for name in modules() if places(name) >= [(len(SHELL), "")]))
def test_the_core_is_pure(name: str) -> None:
    """No clock, no file, no thread, no logging: time and facts are arguments."""
    allowed = PURE if name.startswith("rules") else PURE | NOUNS_OF_OTHERS
    for target, line in imports(name):
        top = target.partition(".")[0]
        assert top in allowed | {"rules", "watcher"}, f"{name} line {line}: {target}"
    for node in ast.walk(modules()[name]):
        match node:
            case ast.Call(func=ast.Name(id=called)):
                assert called not in WORLDLY, f"{name} line {node.lineno}: {called}()"
            case ast.Call(func=ast.Attribute(attr=called)):
                assert called not in CLOCKS, f"{name} line {node.lineno}: .{called}()"
            case _:
                pass


def test_no_module_needs_itself() -> None:
    """Inside a house too, imports make no circle."""
    tuple(TopologicalSorter({name: {target for target, _ in ours(name)} - {name} for name in modules()}).static_order())


def test_the_lists_name_what_there_is() -> None:
    """A member that is no module and a worldly function that does not exist would hold nobody to anything."""
    members = {member for layer in LAYERS for house in layer.values() for member in house}
    assert members <= modules().keys()
    assert all(hasattr(builtins, name) for name in WORLDLY)
