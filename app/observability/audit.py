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
from app.core.db import now
from app.observability.models import AuditEvent
from app.observability.traces import current_trace

_INSERT = sa.insert(AuditEvent).inline()  # a plain statement: a unit of work costs three times as much, twice for each call of a tool


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
    row = {
        "at": now(session),
        "tenant": actor.tenant,
        "actor": actor.id,
        "action": action,
        "target": target,
        "outcome": outcome,
        "trace_id": trace_id or current_trace(),
        "body": detail,
        "body_digest": digest_of(detail),
    }
    session.connection().execute(_INSERT, row)
