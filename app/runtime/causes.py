"""Why effects wait for somebody: the retry queue, the dead letters and the unknowns, grouped by tool, effect and error code.

It refuses to be: a queue. Its rows are counted here, never moved.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlmodel import col
from typing_extensions import TypedDict  # pydantic takes typing's own from Python 3.12 on only

from app.access.permissions import use_case
from app.core.actor import Actor
from app.core.clock import iso
from app.core.db import Database
from app.core.errors import Invalid
from app.core.indexes import in_index
from app.core.pages import page
from app.runtime.models import QUEUED_EFFECTS, Effect
from app.runtime.repository.bulk import NO_CODE, newest_event
from app.runtime.repository.effects import effects
from app.runtime.views import QUEUES
from app.runtime.visibility import seen_by


class Causes(TypedDict):
    """A page of causes. `mark` goes with a decision about what is shown here: what has moved since is left out of it."""

    items: list[dict[str, Any]]
    next_cursor: str | None
    mark: int


@use_case(None)
def list_causes(
    actor: Actor, database: Database, *, state: str, tool: str | None = None, cursor: str | None = None, limit: int = 50
) -> Causes:
    """The causes in one queue, by tool, effect and code: `{"tool", "effect", "error_code", "count", "oldest", "newest", "example"}`.

    `oldest` and `newest` say when effects came into the queue; the example is the one planned last. Raises Invalid `state_unknown`.
    """
    if state not in QUEUES:
        raise Invalid("state_unknown", f"{state!r} is no queue of effects.", fix=f"Use one of {', '.join(sorted(QUEUES))}.")
    with database.reading() as session:
        mark = newest_event(session)
    code = sa.func.coalesce(effects.c.error_code, NO_CODE).label("error_code")
    names = [effects.c.tool, effects.c.effect, code]
    figures = [sa.func.count().label("count"), sa.func.min(effects.c.updated_at).label("oldest")]
    figures += [sa.func.max(effects.c.updated_at).label("newest"), sa.func.max(effects.c.seq).label("example")]
    query = sa.select(*names, *figures).where(seen_by(actor, Effect), effects.c.state == state, in_index("effect", QUEUED_EFFECTS))
    query = query.where(effects.c.tool == tool) if tool else query
    found = page(database, query.group_by(*names), names, _cause, cursor=cursor, limit=limit)
    examples = _examples(database, [item["example"] for item in found["items"]])
    items = [{**item, "example": examples.get(item["example"])} for item in found["items"]]
    return {"items": items, "next_cursor": found["next_cursor"], "mark": mark}


def _cause(row: Any) -> dict[str, Any]:
    return {
        "tool": row.tool,
        "effect": row.effect,
        "error_code": row.error_code,
        "count": row[3],
        "oldest": iso(row.oldest),
        "newest": iso(row.newest),
        "example": row.example,
    }


def _examples(database: Database, seqs: list[int]) -> dict[int, dict[str, Any]]:
    columns = (col(Effect.seq), col(Effect.id), col(Effect.subject), col(Effect.error), col(Effect.version))
    with database.reading() as session:
        rows = session.connection().execute(sa.select(*columns).where(col(Effect.seq).in_(seqs))).all()
    return {
        row.seq: {
            "effect_id": row.id,
            "subject": row.subject,
            "version": row.version,
            "error": json.loads(row.error) if row.error else None,
        }
        for row in rows
    }
