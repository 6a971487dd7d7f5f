"""The config file: where it is, what it says, and what is wrong with it."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from watcher.errors import UsageError
from watcher.settings.keys import KEYS, Key
from watcher.settings.toml import line_of, quote

SYSTEM_CONFIG = Path("/etc/lockwarden/config.toml")

_LARGEST = 1 << 20
_SECTIONS = frozenset(path[:at] for path in KEYS for at, char in enumerate(path) if char == ".")


def find(environ: Mapping[str, str], workspace: str) -> tuple[str, str]:
    """Give the config file to read where none is named, and one that must not be read; "" for none.

    It is `$XDG_CONFIG_HOME/lockwarden/config.toml` (by the XDG rules: an absolute path, else `~/.config`), else
    the system's. One inside the workspace is passed over: agents can write there.
    """
    places = [SYSTEM_CONFIG]
    if Path(home := environ.get("XDG_CONFIG_HOME", "")).is_absolute():
        places.insert(0, Path(home, "lockwarden", "config.toml"))
    elif home := environ.get("HOME", ""):
        places.insert(0, Path(home, ".config", "lockwarden", "config.toml"))
    ignored = ""
    for path in places:
        if _is_there(path):
            if not _is_inside(path, workspace):
                return str(path), ignored
            ignored = str(path)
    return "", ignored


def _is_there(path: Path) -> bool:
    """Say whether to use `path`: one that is there and cannot be read is an error, not an absence."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _is_inside(path: Path, workspace: str) -> bool:
    """Say whether the file, or a link that leads to it, lies inside the workspace: either can be replaced there."""
    root = os.path.realpath(workspace)
    places = (path, os.path.realpath(path.parent), os.path.realpath(path))
    return bool(workspace) and any(Path(place).is_relative_to(root) for place in places)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The text of one config file."""

    path: str
    text: str

    @classmethod
    def open(cls, path: str) -> "ConfigFile":
        """Read the file. Raises UsageError."""
        try:
            with Path(path).open("rb") as file:
                content = file.read(_LARGEST + 1)
            if len(content) > _LARGEST:
                raise UsageError(f"config: more than {_LARGEST} bytes ({path})")
            return cls(path, content.decode())
        except OSError as error:
            raise UsageError(f"config: cannot be read: {(error.strerror or str(error)).lower()} ({path})") from None
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise UsageError(f"config: not UTF-8 ({path} line {line})") from None

    def settings(self) -> Iterator[tuple[Key, object]]:
        """Give every setting in the file with its value. Raises UsageError at the first that is wrong."""
        try:
            document = tomllib.loads(self.text)
        except ValueError as error:
            raise self._syntax_error(str(error)) from None
        except RecursionError:
            raise UsageError(f"config: nested too deeply ({self.path})") from None
        yield from self._walk(document, ())

    def _walk(self, table: Mapping[str, object], parents: tuple[str, ...]) -> Iterator[tuple[Key, object]]:
        for name, raw in table.items():
            parts = (*parents, name)
            path = ".".join(parts)
            if "." in name or (path not in KEYS and path not in _SECTIONS):
                raise self._error(parts, f"unknown key; {_nearest(path)}")
            if path in KEYS:
                try:
                    yield KEYS[path], KEYS[path].read(raw, text=False)
                except ValueError as error:
                    raise self._error(parts, str(error)) from None
            elif isinstance(raw, dict):
                yield from self._walk(raw, parts)
            else:
                raise self._error(parts, f"expected a table, got {quote(raw)}")

    def _error(self, parts: tuple[str, ...], what: str) -> UsageError:
        line = line_of(self.text, parts)
        name = ".".join(quote(part) if "." in part else part for part in parts)
        return UsageError(f"config: {name}: {what} ({self.path} line {line})")

    def _syntax_error(self, what: str) -> UsageError:
        """Tell tomllib's "Expected ... (at line 3, column 5)" in the words of the other errors."""
        said = re.fullmatch(r"(.*) \(at (.*)\)", what, re.DOTALL)
        what, where = (said[1], " " + said[2].replace(",", "")) if said else (what, "")
        return UsageError(f"config: {what[:1].lower()}{what[1:]} ({self.path}{where})")


def _nearest(path: str) -> str:
    near = difflib.get_close_matches(path, [*KEYS, *_SECTIONS], n=1)
    return f"did you mean {near[0]}?" if near else "`lockwarden config show` lists them all"
