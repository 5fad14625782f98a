"""The shape of every message that a guest may send, checked before anybody else sees it.

It refuses to be: a schema of what a tool declares. Ids, queries and items are the runtime's to authorise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from generated_tools.toolkit.wire import MAX_CHUNK_ITEMS, Message

Check = Callable[[Any], bool]

_ID_LENGTH = 64
_TEXT_LENGTH = 2000
_COUNT = 1 << 53


def _text(length: int) -> Check:
    return lambda value: isinstance(value, str) and len(value) <= length


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _COUNT


def _total(value: Any) -> bool:
    return value is None or _count(value)


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _anything(value: Any) -> bool:
    return True


def _items(value: Any) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= MAX_CHUNK_ITEMS


def _cursor(value: Any) -> bool:
    return value is None or _text(_TEXT_LENGTH)(value)


def _frames(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 50 and all(_frame(each) for each in value)


def _frame(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"line", "function"} and _total(value["line"]) and _text(200)(value["function"])


_id = _text(_ID_LENGTH)
_words = _text(_TEXT_LENGTH)

SHAPES: dict[str, dict[str, Check]] = {
    "read": {"step": _count, "id": _id, "query": _object},
    "perform": {"step": _count, "chunk": _count, "first": _count, "id": _id, "items": _items, "last": _truth, "each": _truth},
    "log": {"event": _text(200), "fields": _object},
    "progress": {"done": _count, "total": _total},
    "result": {"value": _anything},
    "tool_error": {"code": _text(100), "message": _words},
    "cancelled": {},
    "crash": {"type": _text(200), "message": _words, "traceback": _frames},
}
_OPTIONAL: dict[str, dict[str, Check]] = {"read": {"cursor": _cursor}}

REQUESTS = frozenset({"read", "perform"})
NOISE = frozenset({"log", "progress"})
CLOSING = frozenset({"result", "tool_error", "cancelled", "crash"})


def fault(message: Message) -> str | None:
    """What is wrong with the shape of a guest's message, or None."""
    kind = message.get("t")
    if not isinstance(kind, str) or kind not in SHAPES:
        return "an unknown kind of message"
    required, optional = SHAPES[kind], _OPTIONAL.get(kind, {})
    for name, check in required.items():
        if name not in message:
            return f"{kind} without {name}"
        if not check(message[name]):
            return f"{kind} with a wrong {name}"
    for name in message.keys() - required.keys() - {"t"}:
        if name not in optional:
            return f"{kind} with an unknown field"
        if not optional[name](message[name]):
            return f"{kind} with a wrong {name}"
    return None
