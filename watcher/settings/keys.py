"""The settings as a flat table: one `Key` each, with all the names it goes by."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, get_args, get_origin

import msgspec
from msgspec import Meta

from watcher.settings.forms import Form
from watcher.settings.section import Adds, Option, Section
from watcher.settings.toml import quote
from watcher.settings.tree import Settings

_BRIEF = 80
_SWITCH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True, slots=True)
class Key:
    """One setting.

    `path` is its place in the config file, with dots; `type` what msgspec checks; `form` how it is written, or
    for a list (`many`) one element of it. `adds`: each place that names it adds to the list.
    """

    path: str
    type: object
    default: object
    description: str
    form: Form
    many: bool
    switch: bool
    adds: bool
    least: float | None
    most: float | None
    option: Option | None

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "LOCKWARDEN_" + self.path.replace(".", "_").upper()

    def read(self, raw: object, *, text: bool) -> object:
        """Turn what was written into a value of this setting.

        `text` says that it comes from the environment, where a list is one text separated by `:` or `,` and a
        switch is a word. Raises ValueError that says "expected ..., got ...".
        """
        value = raw
        try:
            value = self._prepare(raw, text=text)
            return msgspec.convert(value, self.type)
        except (ValueError, msgspec.ValidationError):  # the latter is the former only in later versions
            raise ValueError(f"expected {self._expected(value)}, got {_brief(quote(raw))}") from None

    def show(self, value: object) -> object:
        """Give a value of this setting as TOML may hold it."""
        return [self.form.show(part) for part in value] if isinstance(value, tuple) else self.form.show(value)

    def _prepare(self, raw: object, *, text: bool) -> object:
        if text and isinstance(raw, str):
            if self.many:
                raw = [part.strip() for part in re.split("[:,]", raw) if part.strip()]
            elif self.switch:
                raw = _SWITCH.get(raw.strip().lower(), raw)
        if self.many and isinstance(raw, (list, tuple)):
            return [self.form.read(part) for part in raw]
        return raw if self.many else self.form.read(raw)

    def _expected(self, value: object) -> str:
        if isinstance(value, (int, float)) and not self.switch:
            if self.least is not None and value < self.least:
                return f"at least {self.show(self.least)}"
            if self.most is not None and value > self.most:
                return f"at most {self.show(self.most)}"
        return f"a list, each {self.form.expected}" if self.many else self.form.expected


def _brief(text: str) -> str:
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}..."


def _keys(section: type[Section], prefix: str = "") -> Iterator[Key]:
    for field in msgspec.structs.fields(section):
        path = f"{prefix}{field.name}"
        if isinstance(field.type, type) and issubclass(field.type, Section):
            yield from _keys(field.type, f"{path}.")
        else:
            yield _key(path, field.type, field.default)


def _key(path: str, declared: object, default: object) -> Key:
    bare, notes = _unwrap(declared)
    many = get_origin(bare) is tuple
    if many:
        bare, of_item = _unwrap(get_args(bare)[0])
        notes = (*notes, *of_item)
    metas = [note for note in notes if isinstance(note, Meta)]
    return Key(
        path=path,
        type=declared,
        default=default,
        description=next(meta.description for meta in metas if meta.description),
        form=next((note for note in notes if isinstance(note, Form)), None) or _form_of(bare),
        many=many,
        switch=bare is bool,
        adds=any(isinstance(note, Adds) for note in notes),
        least=next((meta.ge for meta in metas if meta.ge is not None), None),
        most=next((meta.le for meta in metas if meta.le is not None), None),
        option=next((note for note in notes if isinstance(note, Option)), None),
    )


def _unwrap(declared: Any) -> tuple[object, tuple[object, ...]]:  # noqa: ANN401 - typing has no type for annotations
    if get_origin(declared) is Annotated:
        return declared.__origin__, declared.__metadata__
    return declared, ()


def _form_of(bare: object) -> Form:
    if isinstance(bare, type) and issubclass(bare, StrEnum):
        return Form("one of " + ", ".join(bare), lambda raw: raw.lower() if isinstance(raw, str) else raw)
    return Form("true or false")


KEYS: Mapping[str, Key] = MappingProxyType({key.path: key for key in _keys(Settings)})
"""Every setting, by its path, in the order of the config file."""
