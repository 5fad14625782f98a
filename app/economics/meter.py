"""The usage meter: what a provider says that a call used, stored as it said it, in the caller's transaction.

It refuses to be: an adder. Sums are made when they are asked for (`costs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session

from app.core import ids
from app.core.db import now
from app.economics import repository
from app.economics.models import Usage
from app.economics.prices import price_of

GENERATION = "generation"


def record_usage(session: Session, *, tenant: str, kind: str, subject: str, tool: str, model: str, raw: Mapping[str, Any]) -> Usage:
    """Meter one call: `kind` (`generation`), `subject` (the id that it was made for), `raw` the provider's usage object."""
    price = price_of(model, raw)
    row = Usage(
        id=ids.new("usage"),
        tenant=tenant,
        kind=kind,
        subject=subject,
        tool=tool,
        model=model,
        raw=dict(raw),
        usd=price.text,
        prices=price.prices,
        at=now(session),
    )
    repository.add(session, row)
    return row
