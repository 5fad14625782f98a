"""Who calls: from the text of a key to an Actor.

A verified digest is believed for one second in this process, so that the hot path costs one hash and one look-up and a
revocation takes effect everywhere within about a second. Nothing is kept about texts that were refused.

It refuses to be: a use case. It makes the actor that use cases ask for.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from app.access import repository
from app.access.models import ApiKey
from app.core.actor import DEFAULT_TENANT, Actor
from app.core.db import Database
from app.core.errors import Unauthenticated
from app.observability import audit

BELIEVED_MS = 1000
USE_STAMP_MS = 60_000
REFUSAL_EVENT_MS = 60_000
MOST_BELIEVED = 10_000
MOST_TEXT = 512


@dataclass(frozen=True, slots=True)
class _Belief:
    actor: Actor
    checked_at: int
    expires_at: int | None


@dataclass(slots=True)
class _Memory:
    """What this process remembers of one database: verified digests, and when it last recorded a refusal of a key."""

    beliefs: dict[str, _Belief] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)


_memories: WeakKeyDictionary[Database, _Memory] = WeakKeyDictionary()
_making = threading.Lock()


def authenticate(database: Database, key_text: str | None) -> Actor:
    """The actor of a key; its id is the key's id.

    Raises Unauthenticated `key_missing`, `key_invalid`, `key_expired` or `key_revoked`: one detail for all, so that a caller
    learns nothing about a key that is not its own. May touch the database, so call it from a thread in asynchronous code,
    after `recall`.
    """
    if not key_text:
        raise _refusal("key_missing")
    if len(key_text) > MOST_TEXT:
        raise _refusal("key_invalid")
    actor = recall(database, key_text)
    if actor is not None:
        return actor
    digest = _digest(key_text)
    with database.reading() as session:
        row = repository.key_by_digest(session, digest)
    at = database.clock.now()
    code = _fault_of(row, digest, at)
    if row is None or code:
        _record_refusal(database, row, code)
        raise _refusal(code)
    return _believe(database, row, at)


def recall(database: Database, key_text: str) -> Actor | None:
    """The actor of a key that this process verified within the last second; never touches the database."""
    belief = _memory(database).beliefs.get(_digest(key_text))
    if belief is None or database.clock.monotonic() - belief.checked_at >= BELIEVED_MS:
        return None
    if belief.expires_at is not None and belief.expires_at <= database.clock.now():
        return None
    return belief.actor


def forget(database: Database, digest: str) -> None:
    """Believe a digest no longer in this process: its key was revoked or replaced."""
    _memory(database).beliefs.pop(digest, None)


def _digest(key_text: str) -> str:
    return hashlib.sha256(key_text.encode(errors="surrogatepass")).hexdigest()


def _fault_of(row: ApiKey | None, digest: str, at: int) -> str:
    if row is None or not hmac.compare_digest(row.digest, digest):
        return "key_invalid"
    if row.revoked_at is not None:
        return "key_revoked"
    return "key_expired" if row.expires_at is not None and row.expires_at <= at else ""


def _believe(database: Database, row: ApiKey, at: int) -> Actor:
    actor = Actor(row.id, row.name, row.tenant, frozenset(row.permissions))
    memory = _memory(database)
    with memory.guard:
        if len(memory.beliefs) >= MOST_BELIEVED:
            memory.beliefs.clear()
        memory.beliefs[row.digest] = _Belief(actor, database.clock.monotonic(), row.expires_at)
    if row.last_used_at is None or at - row.last_used_at >= USE_STAMP_MS:
        with database.writing() as session:
            repository.touch_key(session, row.id, at - USE_STAMP_MS + 1)
    return actor


def _refusal(code: str) -> Unauthenticated:
    fix = "Send `Authorization: Bearer KEY` with a key that is neither expired nor revoked."
    return Unauthenticated(code, "This needs a valid key.", fix=fix)


def _record_refusal(database: Database, row: ApiKey | None, code: str) -> None:
    """One event a minute, process and key: enough to see an attack, too few to fill the trail with one."""
    subject = row.id if row is not None else "unknown"
    memory = _memory(database)
    at = database.clock.monotonic()
    with memory.guard:
        last = memory.refusals.get(subject)
        if last is not None and at - last < REFUSAL_EVENT_MS:
            return
        memory.refusals[subject] = at
    tenant = row.tenant if row is not None else DEFAULT_TENANT
    with database.writing() as session:
        audit.record(session, Actor(subject, subject, tenant, frozenset()), "key.refused", subject, "refused", code=code)


def _memory(database: Database) -> _Memory:
    memory = _memories.get(database)
    if memory is None:
        with _making:
            memory = _memories.setdefault(database, _Memory())
    return memory
