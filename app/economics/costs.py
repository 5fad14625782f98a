"""What was spent on each tool, from the meter.

It refuses to be: a forecast. That is `baseline`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlmodel import Session

from app.access.permissions import use_case
from app.core import clock
from app.core.actor import Actor
from app.core.db import Database
from app.economics import repository
from app.economics.models import Usage


@use_case("audit:read")
def read_costs(actor: Actor, database: Database) -> dict[str, Any]:
    """`{"items": [{"tool", "kind", "model", "calls", "unpriced_calls", "usd", "last_at"}], "next_cursor": null}` of the actor's tenant.

    `usd` is text rounded to six digits; null where no call had a known price.
    """
    with database.reading() as session:
        rows = repository.sums(session, actor.tenant)
    items = [
        {
            "tool": tool,
            "kind": kind,
            "model": model,
            "calls": calls,
            "unpriced_calls": int(unpriced),
            "usd": None if usd is None else f"{usd:.6f}",
            "last_at": clock.iso(last_at),
        }
        for tool, kind, model, calls, unpriced, usd, last_at in rows
    ]
    return {"items": items, "next_cursor": None}


def spent_on(session: Session, tenant: str, subject: str) -> dict[str, Any]:
    """What one generation used: `{"calls": [{"model", "raw", "usd", "prices"}], "usd"}`; `usd` null if any call has no price."""
    rows = repository.of_subject(session, tenant, subject)
    calls = [{"model": row.model, "raw": row.raw, "usd": row.usd, "prices": row.prices} for row in rows]
    total = total_usd(rows)
    return {"calls": calls, "usd": None if total is None else format(total.normalize(), "f")}


def total_usd(rows: Sequence[Usage]) -> Decimal | None:
    """The exact sum; None if there is nothing to add or a price is unknown."""
    amounts = [row.usd for row in rows]
    if not amounts or None in amounts:
        return None
    return sum((Decimal(amount) for amount in amounts if amount is not None), Decimal(0))


def generation_usd(database: Database, tenant: str, generation_id: str | None) -> Decimal | None:
    """What writing a candidate cost; None for one that was submitted, or whose price is unknown."""
    if generation_id is None:
        return None
    with database.reading() as session:
        return total_usd(repository.of_subject(session, tenant, generation_id))
