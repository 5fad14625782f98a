"""The records connectors as values: their names, and strict schemas for configuration, queries and items.

It refuses to be: code that reads or writes. That is `records`.
"""

from __future__ import annotations

from typing import Any

from app.records.documents import COLLECTION_PATTERN, FIELD_PATTERN, MAX_CHOICES, MAX_CONDITIONS, MAX_KEY
from app.records.reading import MAX_LIMIT
from app.records.snapshots import ID_PATTERN
from app.spec.catalog import ConnectorKind

MOST_RECORDS = 500
DEFAULT_LIMIT = 500


def _object(description: str, required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


_COLLECTION = {"type": "string", "pattern": COLLECTION_PATTERN, "maxLength": 64, "description": "Name of a collection of records."}
_KEY = {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "description": "The record's key within its collection."}
_BODY = {"type": "object", "description": "The whole record as a JSON object of at most 256 KiB; it replaces what was there."}
_SNAPSHOT = {
    "type": "string",
    "pattern": ID_PATTERN,
    "maxLength": 70,
    "description": "Id of a snapshot of a collection that the config names: its records as they were, however often they change.",
}
_EXPECTED = {
    "type": "integer",
    "minimum": 0,
    "maximum": 2**31 - 1,
    "description": "Write only if the record has this version; 0: only if there is none. Else refused with version_conflict.",
}
_SCALAR = {
    "anyOf": [{"type": "string", "maxLength": 4096}, {"type": "number"}, {"type": "boolean"}, {"type": "null"}],
    "description": "A value that the field equals; null matches a field that is null or absent.",
}
_FILTER = {
    "type": "object",
    "description": "Conditions that hold together, by top-level field: a value, or a list of values any of which will do.",
    "maxProperties": MAX_CONDITIONS,
    "propertyNames": {"pattern": FIELD_PATTERN},
    "additionalProperties": {
        "anyOf": [_SCALAR, {"type": "array", "minItems": 1, "maxItems": MAX_CHOICES, "items": _SCALAR}],
        "description": "The value, or the values, of this field.",
    },
}
_ONE_COLLECTION = _object("Which collection this may touch.", ["collection"], {"collection": _COLLECTION})

GET = ConnectorKind(
    name="records.get",
    role="read",
    config_schema=_ONE_COLLECTION,
    item_schema=_object("Which record to read. The value is its body, or null where there is none.", ["key"], {"key": _KEY}),
    local=True,
)
QUERY = ConnectorKind(
    name="records.query",
    role="read",
    config_schema=_object(
        "Which collections this may search.",
        ["collections"],
        {
            "collections": {
                "type": "array",
                "description": "The collections that a query may name.",
                "minItems": 1,
                "maxItems": 20,
                "uniqueItems": True,
                "items": _COLLECTION,
            }
        },
    ),
    item_schema=_object(
        "One page of records by key, of a collection or of a snapshot; name one of the two. The value is "
        '{"items": [{"key", "body", "version"}], "next_cursor"}; use ctx.read_pages for all.',
        [],
        {
            "collection": _COLLECTION,
            "snapshot": _SNAPSHOT,
            "filter": {"anyOf": [_FILTER, {"type": "null"}], "description": "Which records; all of them if absent or null."},
            "cursor": {
                "anyOf": [{"type": "string", "maxLength": 4096}, {"type": "null"}],
                "description": "next_cursor of the page before; absent or null for the first.",
            },
            "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "description": "At most so many records; 500 if absent."},
        },
    ),
    local=True,
)
PUT = ConnectorKind(
    name="records.put",
    role="effect",
    config_schema=_ONE_COLLECTION,
    item_schema=_object(
        'One record to write. The receipt is {"key", "version"}.',
        ["key", "body"],
        {
            "key": _KEY,
            "body": _BODY,
            "expected_version": _EXPECTED,
        },
    ),
    local=True,
)
PUT_MANY = ConnectorKind(
    name="records.put_many",
    role="effect",
    config_schema=_ONE_COLLECTION,
    item_schema=_object(
        'Records to write as one effect. The receipt is {"records": [{"key", "version"}]}, in the order given; a record that does not '
        'have its expected_version has {"key", "error"} there.',
        ["records"],
        {
            "records": {
                "type": "array",
                "description": "The records; each key once.",
                "minItems": 1,
                "maxItems": MOST_RECORDS,
                "items": _object("One record.", ["key", "body"], {"key": _KEY, "body": _BODY, "expected_version": _EXPECTED}),
            },
            "atomic": {
                "type": "boolean",
                "description": "All or none: if one record does not have its expected_version, none is written and the effect is refused.",
            },
        },
    ),
    local=True,
)
SNAPSHOT = ConnectorKind(
    name="records.snapshot",
    role="effect",
    config_schema=_ONE_COLLECTION,
    item_schema=_object(
        'Keep the records as they are now. The receipt is {"snapshot": id, "count"}; read it with records.query and snapshot=id.',
        [],
        {"filter": {"anyOf": [_FILTER, {"type": "null"}], "description": "Which records; all of them if absent or null."}},
    ),
    local=True,
)
