"""Connections: named by an operator, so that specs say which service they use and never how to sign in to it.

A secret goes in and never comes out: it is sealed, or only its place is kept, and no answer shows it. Whoever changes where a
connection goes must bring the secret again; otherwise a changed host would be a way to read it.

It refuses to be: a way to connect. Effects and tests open what is described here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session, col

from app.access.permissions import use_case
from app.connectors import repository
from app.connectors.connection_kinds import KINDS, NAME_PATTERN, check_config, destination
from app.connectors.models import Connection
from app.connectors.vault import MOST_SECRET, Vault, check_reference, is_reference
from app.core import pages
from app.core.actor import Actor
from app.core.clock import iso
from app.core.db import Database, now
from app.core.errors import Conflict, Invalid, NotFound, Problem
from app.observability import audit

MOST = 500
_NAME = re.compile(NAME_PATTERN.replace("$", r"\Z"))
_ALREADY = "Choose another name, or change that one with PUT /api/v1/connections/{name}."


@dataclass(frozen=True, slots=True)
class Connections:
    """The connections of an installation: the table, and the vault that opens their secrets."""

    database: Database
    vault: Vault


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection ready for use. The secret (empty: none) is in no repr."""

    tenant: str
    name: str
    kind: str
    config: dict[str, Any]
    version: int
    secret: str = field(default="", repr=False)


@use_case("connections:manage")
def list_connections(actor: Actor, connections: Connections, cursor: str | None = None, limit: int = 50) -> pages.Page:
    """By name, without secrets."""
    query = repository.connections_of(actor.tenant)
    return pages.page(connections.database, query, [col(Connection.name)], shown, cursor=cursor, limit=limit)


@use_case("connections:manage")
def read_connection(actor: Actor, connections: Connections, name: str) -> dict[str, Any]:
    """`{"name", "kind", "config", "secret": "none|sealed|env:…|file:…", "version", …, "test"}`. Raises NotFound `connection_not_found`."""
    with connections.database.reading() as session:
        return shown(_found(session, actor, name))


@use_case("connections:manage")
def create_connection(
    actor: Actor,
    connections: Connections,
    name: str,
    kind: str,
    config: dict[str, Any],
    secret: str | None = None,
    secret_ref: str | None = None,
) -> dict[str, Any]:
    """Name a new connection. Raises Invalid `connection_invalid`, `secret_reference_invalid`, Conflict `connection_exists`."""
    _check_name(name, kind)
    check_config(kind, config, secret=bool(secret or secret_ref))
    stored = _stored(connections, actor.tenant, name, kind, secret, secret_ref)
    with connections.database.writing() as session:
        if repository.find_connection(session, actor.tenant, name) is not None:
            raise Conflict("connection_exists", f"There is a connection {name!r} already.", fix=_ALREADY.format(name=name))
        if repository.count_connections(session, actor.tenant) >= MOST:
            raise Conflict("too_many_connections", f"There are {MOST} connections already.", fix="Delete one that nothing uses.")
        row = repository.add_connection(session, actor.tenant, name, kind, config, stored, actor.id)
        audit.record(session, actor, "connection.created", name, "done", kind=kind, config=config, secret=_secret(stored))
        return shown(row)


@use_case("connections:manage")
def change_connection(
    actor: Actor,
    connections: Connections,
    name: str,
    config: dict[str, Any],
    secret: str | None = None,
    secret_ref: str | None = None,
) -> dict[str, Any]:
    """Replace the settings; the secret stays unless one is given (an empty one: it has none from now on).

    Raises as `create_connection` does, and Invalid `secret_needed` where the settings would take the present secret elsewhere.
    """
    with connections.database.reading() as session:
        before = _found(session, actor, name)
    stays = secret is None and secret_ref is None
    check_config(before.kind, config, secret=bool(before.secret) if stays else bool(secret or secret_ref))
    if stays and before.secret and destination(before.kind, before.config) != destination(before.kind, config):
        fix = "Enter the secret again together with the new settings."
        problem = Problem("$.secret", "is needed, since these settings would send the present one elsewhere", fix)
        raise Invalid("secret_needed", "These settings would send the present secret to another place.", fix=fix, problems=[problem])
    stored = before.secret if stays else _stored(connections, actor.tenant, name, before.kind, secret, secret_ref)
    with connections.database.writing() as session:
        row = _found(session, actor, name, lock=True)
        if row.version != before.version:
            raise Conflict("connection_changed", "Somebody else has just changed it.", fix="Read it again, then change what it is now.")
        row.config, row.secret, row.version = config, stored, row.version + 1
        row.updated_at, row.updated_by = now(session), actor.id
        row.tested_at = row.tested_ok = row.tested_text = None
        session.add(row)
        audit.record(session, actor, "connection.changed", name, "done", config=config, secret=_secret(stored), replaced=not stays)
        return shown(row)


@use_case("connections:manage")
def delete_connection(actor: Actor, connections: Connections, name: str) -> dict[str, Any]:
    """Forget a connection and its secret; effects that name it are refused from now on, and tried again later. Returns what it was."""
    with connections.database.writing() as session:
        row = _found(session, actor, name, lock=True)
        was = shown(row)
        session.delete(row)
        audit.record(session, actor, "connection.deleted", name, "done", kind=row.kind)
    return was


def opened(connections: Connections, tenant: str, name: str, kind: str) -> Opened:
    """A connection with its secret, for the connectors alone.

    Raises NotFound `connection_unknown`, Conflict `connection_of_other_kind`, Failed `secret_unreadable`.
    """
    with connections.database.reading() as session:
        row = repository.find_connection(session, tenant, name)
    if row is None:
        raise NotFound("connection_unknown", f"There is no connection {name!r}.", fix="Have an operator name it under /connections.")
    if row.kind != kind:
        fix = f"Name a connection of kind {kind}."
        raise Conflict("connection_of_other_kind", f"The connection {name!r} is of kind {row.kind}, not {kind}.", fix=fix)
    secret = connections.vault.open(row.secret, belongs_to(tenant, name, row.kind)) if row.secret else ""
    return Opened(tenant, name, kind, dict(row.config), row.version, secret)


def note_test(session: Session, actor: Actor, name: str, version: int, ok: bool, text: str) -> None:
    """Keep how the last test of this version went; audited."""
    repository.note_test(session, actor.tenant, name, version, ok, text)
    audit.record(session, actor, "connection.tested", name, "done" if ok else "failed", text=text)


def belongs_to(tenant: str, name: str, kind: str) -> str:
    """What a sealed secret is bound to."""
    return f"{tenant}\n{name}\n{kind}"


def shown(row: Connection) -> dict[str, Any]:
    """A connection as it is answered, without its secret."""
    test = None if row.tested_at is None else {"at": iso(row.tested_at), "ok": row.tested_ok, "text": row.tested_text}
    return {
        "name": row.name,
        "kind": row.kind,
        "config": row.config,
        "secret": _secret(row.secret),
        "version": row.version,
        "created_at": iso(row.created_at),
        "created_by": row.created_by,
        "updated_at": iso(row.updated_at),
        "updated_by": row.updated_by,
        "test": test,
    }


def _secret(stored: str | None) -> str:
    return "none" if not stored else stored if is_reference(stored) else "sealed"


def _found(session: Session, actor: Actor, name: str, *, lock: bool = False) -> Connection:
    row = repository.find_connection(session, actor.tenant, name, lock=lock)
    if row is None:
        raise NotFound("connection_not_found", f"There is no connection {name[:80]!r}.", fix="List the connections to see their names.")
    return row


def _check_name(name: str, kind: str) -> None:
    problems = []
    if not _NAME.match(name):
        problems.append(Problem("$.name", f"must match {NAME_PATTERN}", "Write lower-case letters, digits and _, such as orders_api."))
    if kind not in KINDS:
        problems.append(Problem("$.kind", f"is none of {', '.join(KINDS)}", "Choose one of these."))
    if problems:
        raise Invalid("connection_invalid", "This connection cannot be named.", problems=problems)


def _stored(connections: Connections, tenant: str, name: str, kind: str, secret: str | None, secret_ref: str | None) -> str | None:
    if secret and secret_ref:
        problem = Problem("$.secret_ref", "stands beside a secret", "Give one of the two.")
        raise Invalid("connection_invalid", "A secret is given, or where it is, not both.", problems=[problem])
    if secret_ref:
        check_reference(secret_ref)
        return secret_ref
    if not secret:
        return None
    if len(secret) > MOST_SECRET or any(ord(letter) < 32 or ord(letter) == 127 for letter in secret):
        problem = Problem("$.secret", "is no single line of text", f"Enter at most {MOST_SECRET} characters without control characters.")
        raise Invalid("connection_invalid", "This secret cannot be used.", problems=[problem])
    return connections.vault.seal(secret, belongs_to(tenant, name, kind))
