"""A signed-in browser: who it acts as. It signs in with a key's text and is known by the key's id from then on.

It refuses to be: a session store. The dashboard keeps a signed cookie; whether its key still counts is asked here each time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from app.access import repository
from app.access.authentication import authenticate
from app.access.keys import digest_of
from app.access.permissions import use_case
from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import Unauthenticated
from app.observability import audit


def sign_in(database: Database, key_text: str) -> Actor:
    """The actor of a key that a person typed; recorded. Raises Unauthenticated as `authenticate` does."""
    actor = authenticate(database, key_text.strip())
    with database.writing() as session:
        audit.record(session, actor, "session.opened", actor.id, "done")
    return actor


def mark_of(key_text: str) -> str:
    """What a session remembers of the text that opened it: enough to notice that the key's text was replaced, no help in guessing it."""
    return _mark(digest_of(key_text.strip()))


def signed_in(database: Database, key_id: str, mark: str) -> Actor:
    """The actor of a key by its id. Raises Unauthenticated `session_over` once the key is revoked, expired or has another text."""
    with database.reading() as session:
        row = repository.key_by_id(session, key_id)
    over = row is None or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= database.clock.now())
    if row is None or over or not hmac.compare_digest(_mark(row.digest), mark):
        raise Unauthenticated("session_over", "Your session is over: its key is no longer valid.", fix="Sign in with a valid key.")
    return Actor(row.id, row.name, row.tenant, frozenset(row.permissions))


def _mark(digest: str) -> str:
    return hashlib.sha256(f"session:{digest}".encode()).hexdigest()[:32]


@use_case(None)
def names_of(actor: Actor, database: Database, key_ids: Iterable[str]) -> dict[str, str]:
    """The names of keys of the actor's tenant by id, so that pages can say who did what; unknown ids are left out."""
    with database.reading() as session:
        rows = [repository.key_by_id(session, key_id) for key_id in key_ids]
    return {row.id: row.name for row in rows if row is not None and row.tenant == actor.tenant}
