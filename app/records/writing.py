"""Writing records one by one: the use case for the front doors, `store` and `store_many` for whoever already has a session.

It refuses to be: a bulk load; that is `imports`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session

from app.access.permissions import use_case
from app.core.actor import Actor
from app.core.db import Database, now
from app.core.errors import Conflict
from app.observability import audit
from app.records import repository
from app.records.documents import check_body, check_collection, check_key
from app.records.reading import RecordView


def store(session: Session, tenant: str, collection: str, key: str, body: dict[str, Any], expected_version: int | None = None) -> int:
    """Write one record in this transaction; returns its new version.

    `expected_version` makes the write conditional: 0 asks that there be no such record. Raises Conflict `version_conflict`,
    Invalid `collection_invalid`, `key_invalid` or `record_invalid`.
    """
    check_collection(collection)
    check_key(key)
    text = check_body(body)
    if expected_version is None:
        repository.upsert(session, tenant, collection, {key: text})
        return repository.versions(session, tenant, collection, [key])[key]
    version = repository.replace(session, tenant, collection, key, text, expected_version)
    if version is None:
        raise Conflict(
            "version_conflict",
            f"The record does not have version {expected_version}.",
            fix="Read the record again, apply the change to what it is now, and write with its present version.",
        )
    return version


def store_many(session: Session, tenant: str, collection: str, bodies: Mapping[str, dict[str, Any]]) -> dict[str, int]:
    """Write several records in this transaction; returns the version of each key. Raises Invalid as `store` does."""
    check_collection(collection)
    for key in bodies:
        check_key(key)
    repository.upsert(session, tenant, collection, {key: check_body(body) for key, body in bodies.items()})
    return repository.versions(session, tenant, collection, list(bodies))


def store_each(
    session: Session, tenant: str, collection: str, bodies: Mapping[str, dict[str, Any]], expected: Mapping[str, int], *, atomic: bool
) -> dict[str, int | None]:
    """Write several records, some only where they have the `expected` version; returns each one's version, None where it was not written.

    `atomic`: all or none; then raises Conflict `version_conflict`, and nothing of it stays, if one does not have its version.
    """
    if not expected:
        return dict(store_many(session, tenant, collection, bodies))
    with session.begin_nested():
        found = {key: _store_where(session, tenant, collection, key, bodies[key], expected.get(key)) for key in sorted(bodies)}
        missed = [place for place, key in enumerate(bodies, start=1) if found[key] is None]
        if atomic and missed:
            shown = ", ".join(map(str, missed[:5]))
            detail = f"{len(missed)} of {len(bodies)} records do not have the version that was expected (number {shown}); none was written."
            raise Conflict("version_conflict", detail, fix="Read these records again, and write with their present versions.")
    return found


def _store_where(session: Session, tenant: str, collection: str, key: str, body: dict[str, Any], expected: int | None) -> int | None:
    try:
        return store(session, tenant, collection, key, body, expected)
    except Conflict:
        return None


@use_case("records:write")
def put_record(
    actor: Actor, database: Database, collection: str, key: str, body: dict[str, Any], expected_version: int | None = None
) -> RecordView:
    """Create or replace one record; audited. Raises as `store` does."""
    with database.writing() as session:
        version = store(session, actor.tenant, collection, key, body, expected_version)
        audit.record(session, actor, "record.put", f"{collection}/{key}", "done", version=version)
        return RecordView(key, body, version, now(session))
