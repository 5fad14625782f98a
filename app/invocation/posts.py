"""Idempotency of every POST that is no call of a tool: the first answer for a caller's key, given again.

An answer is kept for a day. One that never came (the process died) holds its key for two minutes, then the next one may try; a
request that ended in an error holds nothing.

It refuses to be: a cache. Without a key nothing is kept, and runs have identities of their own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from app.access.permissions import use_case
from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import Conflict, Invalid
from app.invocation import repository
from app.invocation.identity import check_key
from app.spec.canonical import digest

KEPT_MS = 86_400_000
HELD_MS = 120_000
FORMAT = "post/1"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to answer: `settle` or `release` it."""

    id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Given:
    """The answer that was given before."""

    status: int
    body: Any


@use_case(None)
def claim_post(actor: Actor, database: Database, where: str, key: str, fingerprint: str) -> Claim | Given:
    """Ask to answer a POST to `where` (method and path) with this key; `fingerprint` is a digest of its body.

    Raises Conflict `request_in_flight`, Invalid `idempotency_conflict`, `idempotency_key_invalid`.
    """
    post_id = digest([FORMAT, actor.tenant, actor.id, where, check_key(key) or ""])
    with database.writing() as session:
        if repository.claim(session, post_id, fingerprint):
            return Claim(post_id, fingerprint)
        known = repository.held(session, post_id)
        age = database.clock.now() - known.created_at
        if age > (KEPT_MS if known.answer is not None else HELD_MS):
            fresh = {"fingerprint": fingerprint, "status": None, "answer": None, "created_at": database.clock.now()}
            repository.change(session, post_id, known.fingerprint, fresh)
            return Claim(post_id, fingerprint)
    if known.fingerprint != fingerprint:
        raise Invalid("idempotency_conflict", "This key was used for another request.", fix="Send the first request again, or another key.")
    if known.answer is None or known.status is None:
        raise Conflict(
            "request_in_flight", "The first request with this key is being answered.", fix="Send it again in a moment.", retryable=True
        )
    return Given(known.status, json.loads(known.answer))


def settle(database: Database, claim: Claim, status: int, body: Any) -> None:
    """Keep the answer. `body` is JSON and must hold no secret."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    with database.writing() as session:
        repository.change(session, claim.id, claim.fingerprint, {"status": status, "answer": text})


def release(database: Database, claim: Claim) -> None:
    """Give the key back: the request ended in an error and may be sent again."""
    with database.writing() as session:
        repository.forget(session, claim.id, claim.fingerprint)


def expire_posts(database: Database) -> int:
    """For the sweeper: forget answers older than a day; returns how many."""
    with database.writing() as session:
        return repository.expire(session, database.clock.now() - KEPT_MS)
