"""What a tool is told of the world's answer: what it can act on, and nothing that would show it which world it is in.

A mail server's words and numbers differ from server to server, and are for people: they stand in the ledger. A tool gets the verdict, the
code, and of a receipt what the spec asked to keep. So a tool cannot know a server by its dialect, nor can a server's words reach a log, a
record or a model through it.

It refuses to be: a filter of secrets. There are none in a receipt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FOR_PEOPLE = frozenset({"reply", "queue_id", "outbox_id"})
_SPOKEN = ("smtp_", "http_")
_IN_OUR_WORDS = {"retrying": "it will be tried again", "failed": "refused for good", "unknown": "it may have happened, or not"}


def told_receipt(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a receipt that a tool is given."""
    return {name: value for name, value in receipt.items() if name not in _FOR_PEOPLE}


def told_error(error: Mapping[str, Any], status: str) -> dict[str, Any]:
    """`{"code", "message"}`, the message in our own words where it came from outside."""
    if not str(error.get("code", "")).startswith(_SPOKEN):
        return dict(error)
    return {"code": error["code"], "message": _IN_OUR_WORDS.get(status, "")}
