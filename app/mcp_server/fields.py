"""Short ways to write the strict input schemas of management tools.

It refuses to be: a schema library. Five shapes are all that the table needs.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def obj(properties: dict[str, Schema], *required: str) -> Schema:
    """An object of these properties and no others."""
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


def text(about: str, longest: int) -> Schema:
    return {"type": "string", "maxLength": longest, "description": about}


def one_of(about: str, *values: str) -> Schema:
    return {"type": "string", "enum": list(values), "description": about}


def integer(about: str, least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most, "description": about}


def number(about: str, least: float, most: float) -> Schema:
    return {"type": "number", "minimum": least, "maximum": most, "description": about}


def boolean(about: str) -> Schema:
    return {"type": "boolean", "description": about}
