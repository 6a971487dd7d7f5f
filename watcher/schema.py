"""The JSON Schema of the log: what a line of the json format may hold, and nothing else."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from watcher.records import RECORDS, AlertFields, Envelope, Record

JsonSchema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


@cache
def record_schema() -> JsonSchema:
    """Build the JSON Schema, draft 2020-12, of one line of the log in the json format.

    A line is one of the records, told apart by `event`, together with the envelope that all have. A field that
    does not apply is absent, never null. Do not change what is returned: it is made once.
    """
    _, parts = msgspec.json.schema_components([Envelope, *RECORDS], ref_template="#/$defs/{name}")
    envelope = parts.pop(Envelope.__name__)
    for record in RECORDS:
        parts[record.__name__] = _line(record, envelope, parts[record.__name__])
    return {
        "$schema": _DIALECT,
        "title": "lockwarden log record",
        "description": "One line of lockwarden's log, one of these by its event.",
        "oneOf": [{"$ref": f"#/$defs/{record.__name__}"} for record in RECORDS],
        "$defs": parts,
    }


def _line(record: type[Record], envelope: Mapping[str, Any], body: Mapping[str, Any]) -> JsonSchema:
    """Join what every line has with what this record adds."""
    properties = envelope["properties"] | body["properties"]
    event = properties["event"].pop("enum")
    properties["event"] = {"const": event[0], "description": envelope["properties"]["event"]["description"]}
    required = dict.fromkeys([*envelope["required"], *body["required"]])
    if issubclass(record, AlertFields):
        properties["status"] = {"const": record.status, "description": "Whether it holds now."}
        required["status"] = None
    return {
        "title": record.__struct_config__.tag,
        "description": record.__doc__,
        "type": "object",
        "properties": {name: _present(value) for name, value in properties.items()},
        "required": list(required),
        "additionalProperties": False,
    }


def _present(field: Mapping[str, Any]) -> JsonSchema:
    """Take null and defaults out of a field's schema: what does not apply is absent."""
    kept = {key: value for key, value in field.items() if key not in {"default", "anyOf"}}
    for choice in field.get("anyOf", ()):
        if choice != {"type": "null"}:
            kept |= choice
    return kept
