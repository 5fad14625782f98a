"""API keys: made, listed, revoked. The text of a key is shown once; only its SHA-256 is kept.

A key reads `tm_` + the 26 characters of its id + `_` + 43 characters of a secret (32 random bytes, base 64 url-safe), so that a
leaked one can be recognised, and named to an operator, without being usable.

It refuses to be: where a caller is recognised (`authentication`).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any

from app.access import repository
from app.access.authentication import forget
from app.access.models import ApiKey
from app.access.permissions import PERMISSIONS, use_case
from app.core import clock, ids
from app.core.actor import EVERYTHING, WITH_APPROVAL, Actor
from app.core.db import Database, now
from app.core.errors import Forbidden, Invalid, NotFound, Problem
from app.core.pages import Page, page
from app.observability import audit

PERMISSION = re.compile(r"^[a-z][a-z0-9_]{0,31}(:[a-z][a-z0-9_]{0,31}){1,3}$")  # the form that specs may name
MOST_NAME = 120
MOST_PERMISSIONS = 100


def digest_of(key_text: str) -> str:
    """What is kept of a key: the SHA-256 of its text, 64 hexadecimal digits."""
    return hashlib.sha256(key_text.encode()).hexdigest()


def key_text(key_id: str) -> str:
    """A fresh text for the key with this id."""
    return f"tm_{key_id.removeprefix('key_')}_{secrets.token_urlsafe(32)}"


@use_case("keys:manage")
def create_key(
    actor: Actor,
    database: Database,
    name: str,
    permissions: Iterable[str],
    expires_at: int | str | None = None,
    named: Collection[str] | None = None,
) -> dict[str, Any]:
    """Make a key in the actor's tenant: `{"id", "name", "key", "permissions", "expires_at", "warnings"}`; `key` is shown this once.

    `expires_at` is an RFC 3339 instant or milliseconds, None: never. `named` are the permissions that saved specs name (None: nobody
    looked): what neither they nor the service know is refused where it looks like one of the service's, else warned of.

    Raises Invalid `key_request_invalid`, and Forbidden `permission_escalation` where the actor would grant what it does not hold.
    """
    wanted = sorted(set(permissions))
    until = _checked(name, wanted, expires_at, database.clock.now(), frozenset(named or ()))
    beyond = [permission for permission in wanted if not _may_grant(actor, permission)]
    if beyond:
        with database.writing() as session:
            audit.record(session, actor, "key.created", name, "refused", beyond=beyond)
        raise Forbidden(
            "permission_escalation",
            f"You cannot grant what your own key does not hold: {', '.join(beyond)}.",
            fix="Leave these permissions out, or use a key that holds them.",
        )
    key_id = ids.new("key", database.clock.now())
    text = key_text(key_id)
    with database.writing() as session:
        row = ApiKey(
            id=key_id,
            tenant=actor.tenant,
            name=name.strip(),
            digest=digest_of(text),
            permissions=wanted,
            created_at=now(session),
            created_by=actor.id,
            expires_at=until,
        )
        repository.add_key(session, row)
        audit.record(session, actor, "key.created", key_id, "done", name=row.name, permissions=wanted, expires_at=until)
    return {
        "id": key_id,
        "name": row.name,
        "key": text,
        "permissions": wanted,
        "expires_at": clock.iso(until),
        "warnings": _warnings(wanted, named),
    }


@use_case("keys:manage")
def list_keys(actor: Actor, database: Database, cursor: str | None = None, limit: int = 50) -> Page:
    """`{"items": […], "next_cursor"}`, newest first; an item is the key without its text, with `last_used_at` and `revoked_at`."""
    query = repository.keys_of(actor.tenant)
    return page(database, query, [repository.KEY_ID], _shown, cursor=cursor, limit=limit, newest_first=True)


@use_case("keys:manage")
def revoke_key(actor: Actor, database: Database, key_id: str) -> dict[str, Any]:
    """Revoke a key of the actor's tenant for good; again is no error. It takes effect here at once, elsewhere within a second.

    Raises NotFound `key_not_found`, and Forbidden `permission_escalation` for a key with every permission (`*`) unless the actor
    has every permission, too. Any other key is revoked whatever it holds.
    """
    with database.writing() as session:
        row = repository.key_by_id(session, key_id)
        if row is None or row.tenant != actor.tenant:
            raise NotFound("key_not_found", f"There is no key {key_id!r}.", fix="List the keys to see their ids.")
        beyond = EVERYTHING in row.permissions and not _holds_all(actor)
        if not beyond and row.revoked_at is None:
            row.revoked_at = now(session)
            session.add(row)
        audit.record(session, actor, "key.revoked", key_id, "refused" if beyond else "done", name=row.name)
    if beyond:
        raise Forbidden("permission_escalation", "Only a key with every permission may revoke another.", fix="Use such a key.")
    forget(database, row.digest)
    return _shown(row)


def _may_grant(actor: Actor, permission: str) -> bool:
    """What it holds itself, and the same under the condition of an approval."""
    if permission == EVERYTHING:
        return _holds_all(actor)
    return actor.may(permission) or actor.may(permission.removeprefix(WITH_APPROVAL))


def _holds_all(actor: Actor) -> bool:
    return EVERYTHING in actor.permissions


def _shown(row: ApiKey) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "permissions": row.permissions,
        "created_at": clock.iso(row.created_at),
        "created_by": row.created_by,
        "expires_at": clock.iso(row.expires_at),
        "revoked_at": clock.iso(row.revoked_at),
        "last_used_at": clock.iso(row.last_used_at),
    }


def _warnings(permissions: list[str], named: Collection[str] | None) -> list[str]:
    if named is None:
        return []
    bare = [(permission, permission.removeprefix(WITH_APPROVAL)) for permission in permissions if permission != EVERYTHING]
    unknown = [permission for permission, name in bare if name not in PERMISSIONS and name not in named]
    known = f"Saved specs name: {', '.join(sorted(named))}." if named else "No saved spec names any."
    return [f"{permission}: neither the service nor a saved spec knows this permission. {known}" for permission in unknown]


def _looks_like_ours(permission: str, named: frozenset[str]) -> Problem | None:
    """A permission that nobody knows, of a noun that is the service's own: a slip of the pen."""
    name = permission.removeprefix(WITH_APPROVAL)
    if name in PERMISSIONS or name in named or name.partition(":")[0] not in {known.partition(":")[0] for known in PERMISSIONS}:
        return None
    near = get_close_matches(name, [*PERMISSIONS, *named], 1)
    meant = f"Did you mean {near[0]}? " if near else ""
    return Problem(
        "$.permissions", f"{permission!r} is no permission", f"{meant}The service knows {', '.join(PERMISSIONS)}; specs name more."
    )


def _checked(name: str, permissions: list[str], expires_at: int | str | None, at: int, named: frozenset[str]) -> int | None:
    problems = []
    if not name.strip() or len(name) > MOST_NAME or not name.isprintable():
        problems.append(Problem("$.name", f"must be 1 to {MOST_NAME} printable characters", "Say in a few words who uses the key."))
    if len(permissions) > MOST_PERMISSIONS:
        problems.append(Problem("$.permissions", f"has more than {MOST_PERMISSIONS} entries", "Name fewer permissions."))
    for permission in permissions:
        if permission != EVERYTHING and not PERMISSION.match(permission):
            problems.append(Problem("$.permissions", f"{permission[:80]!r} is no permission", "Write it as in `tools:call`."))
        elif (slip := _looks_like_ours(permission, named)) is not None:
            problems.append(slip)
    until: int | None = None
    try:
        until = clock.from_iso(expires_at) if isinstance(expires_at, str) else expires_at
    except ValueError:
        problems.append(Problem("$.expires_at", "is no RFC 3339 instant with a time zone", "Write it as 2030-01-31T12:00:00Z."))
    if until is not None and until <= at:
        problems.append(Problem("$.expires_at", "has passed already", "Name a time to come, or null."))
    if problems:
        raise Invalid("key_request_invalid", "This key cannot be made.", problems=problems)
    return until
