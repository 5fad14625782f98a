"""Audit events: written unlinked in the transaction of what they tell about; the sealer links them every second.

It refuses to be: a log. A log may be lost; an audit event commits or falls with the decision itself.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session

from app.core.actor import Actor
from app.core.db import insert_rows, now
from app.observability.models import AuditEvent
from app.observability.traces import current_trace

_events: sa.Table = AuditEvent.__table__  # type: ignore[attr-defined]  # SQLModel adds it to every table model


def digest_of(value: Any) -> str:
    """SHA-256 of the compact JSON with sorted keys; the digest that the chain covers."""
    return text_digest(value)[1]


def text_digest(value: Any) -> tuple[str, str]:
    """The compact ASCII JSON with sorted keys, and its SHA-256. ASCII, since half a surrogate fits no database."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return text, hashlib.sha256(text.encode()).hexdigest()


def record(session: Session, actor: Actor, action: str, target: str, outcome: str, *, trace_id: str | None = None, **detail: Any) -> None:
    """Record a decision in this transaction.

    `action` is `noun.verb` (`candidate.approved`), `target` the id or name that it concerns, `outcome` one of `done`,
    `refused`, `failed`. `trace_id` is that of the present work unless given, as in the group writer's thread, which has none.
    `detail` is JSON and must hold no secret; it may be erased later, its digest stays.
    """
    body, digest = text_digest(detail)
    row = {
        "at": now(session),
        "tenant": actor.tenant,
        "actor": actor.id,
        "action": action,
        "target": target,
        "outcome": outcome,
        "trace_id": trace_id or current_trace(),
        "body": body,
        "body_digest": digest,
    }
    insert_rows(session, _events, [row])
