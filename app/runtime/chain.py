"""The effects' events as part of the audit chain: the table and the columns that a link covers.

It refuses to be: a way to change events. They are only appended.
"""

from __future__ import annotations

from app.observability.chain import ChainSource
from app.runtime.models import EffectEvent

EFFECT_EVENTS = ChainSource(
    "effect_event",
    EffectEvent.__table__,  # type: ignore[attr-defined]  # SQLModel adds it to every table model
    ("seq", "effect_id", "before", "after", "at", "fence", "actor", "detail"),
)
