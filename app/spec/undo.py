"""The way back that a spec declares for an effect: the item of the effect that reverses it, from what was done.

It refuses to be: the reversal. An undo is an effect like any other, performed under its own key by whoever asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.spec.expressions import compile_value
from app.spec.model import Undo

ROOTS = ("args", "item", "receipt")


def undo_item(undo: Undo, args: Mapping[str, Any], item: Mapping[str, Any], receipt: Mapping[str, Any]) -> dict[str, Any]:
    """The item that takes back what was done with `item` and answered with `receipt`. Raises Invalid `key_unusable` for a path that is not
    there."""
    roots = {"args": args, "item": item, "receipt": receipt}
    return {name: compile_value(text, ROOTS).evaluate(roots) for name, text in undo.item.items()}
