"""Text that can be stored and sent on: no NUL, which PostgreSQL refuses, and no half of a surrogate pair, which is no UTF-8.

Every front door asks here about what people and programs type.

It refuses to be: about meaning. What a field may say is for the room that takes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from app.core.errors import Problem

_FIX = "Send Unicode text without control characters."


def is_unicode(value: Any) -> bool:
    """Whether no text within a JSON value holds half of a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def text_problems(fields: Iterable[tuple[str, Any]]) -> list[Problem]:
    """What is wrong with those of the named fields that are text; other values are passed over."""
    return [Problem(f"$.{name}", fault, _FIX) for name, value in fields if isinstance(value, str) and (fault := _fault(value))]


def _fault(text: str) -> str:
    if "\0" in text:
        return "holds a NUL character"
    return "" if is_unicode(text) else "holds half of a surrogate pair"
