"""From a line to its bytes: a structlog chain that ends in one of the formats."""

from collections.abc import Callable
from typing import cast

import structlog
from structlog.typing import EventDict, WrappedLogger

from watcher.sinks import limit
from watcher.sinks.console import Console
from watcher.sinks.ecs import ecs_line
from watcher.sinks.formats import Format, json_line, logfmt_line
from watcher.sinks.line import Fields, Line, Origin

FORMATS = ("json", "console", "logfmt", "ecs")


class Renderer:
    """Renders the lines of one run in one format, newline included. One renderer serves one sink.

    The chain is: all fields of the line, their texts cleaned, then the format, on shortened fields where the line
    would be too long.
    """

    def __init__(self, name: str, origin: Origin, *, colour: bool = False) -> None:
        form, measure = _format(name, colour=colour)
        self._chain: _Chain = structlog.wrap_logger(
            structlog.ReturnLogger(),
            processors=[_expand, _clean, _Form(form, measure)],
            wrapper_class=_Chain,
            context_class=dict,
            origin=origin,
        ).bind()

    def __call__(self, line: Line) -> bytes:
        """Render one line."""
        return self._chain.render(line)


def _format(name: str, *, colour: bool) -> tuple[Format, Format]:
    """Give a format, and the one to measure its lines by: it must count each character as what JSON makes of it."""
    match name:
        case "json":
            return json_line, json_line
        case "console":
            return Console(colour=colour), json_line
        case "logfmt":
            return logfmt_line, json_line
        case "ecs":
            return ecs_line, ecs_line
        case _:
            raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {name}")


class _Chain(structlog.BoundLoggerBase):
    def render(self, line: Line) -> bytes:
        rendered: bytes = self._proxy_to_logger("msg", None, line=line)
        return rendered


def _expand(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    line: Line = event["line"]
    return line.fields(event["origin"])


def _clean(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return limit.clean(cast("Fields", event))


class _Form:
    def __init__(self, form: Format, measure: Format) -> None:
        self._form = form
        self._size: Callable[[Fields], int] = lambda fields: len(measure(fields)) + 1

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
        fields = cast("Fields", event)
        data = self._form(fields).encode()
        if len(data) >= limit.USUAL:
            data = self._form(limit.fit(fields, self._size)).encode()
        return data + b"\n"
