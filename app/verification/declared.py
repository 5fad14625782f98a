"""What the declaration of an effect says to those who judge its runs: whether it is ours, may be repeated, and which records it writes.

It refuses to be: the runtime's rules. Those decide what happens; these say what a spec allows to have happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.connectors.port import is_local
from app.connectors.scripted import scripted
from app.spec.model import Effect, ExecutionSpec

SETTLED = frozenset({"done", "skipped", "duplicate"})
"""Statuses by which a tool hears that an item is done, by this run or before it."""

Place = tuple[str, str]
"""A record: its collection and key."""

_LOCAL = frozenset(name for name, port in scripted().effects.items() if is_local(port))


def declared(spec: ExecutionSpec, effect_id: str) -> Effect:
    """The effect of a row of a ledger. Raises RuntimeError where the spec declares none."""
    effect = spec.effect(effect_id)
    if effect is None:
        raise RuntimeError(f"the ledger holds the effect {effect_id!r}, which the spec does not declare")
    return effect


def is_local_effect(effect: Effect) -> bool:
    """Whether it commits in our own database, together with its record."""
    return effect.connector in _LOCAL


def may_repeat(effect: Effect) -> bool:
    """Whether a doubt about it is ended by doing it again."""
    return effect.on_unknown == "retry" and not is_local_effect(effect)


def is_repeated(effect: Effect, performed: int, before: int = 1) -> bool:
    """Whether it was performed more often than `before`, the times of a clean run, and than its policy for doubts allows."""
    return performed > max(1, before) and not may_repeat(effect)


def written(effect: Effect, item: Any) -> list[Place]:
    """The records that an item of this effect writes."""
    if not isinstance(item, Mapping) or effect.connector not in ("records.put", "records.put_many"):
        return []
    records = item.get("records", ()) if effect.connector == "records.put_many" else [item]
    collection = effect.config["collection"]
    return [(collection, record["key"]) for record in records if isinstance(record, Mapping) and "key" in record]
