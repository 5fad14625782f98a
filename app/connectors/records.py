"""The records connectors: reads, and local effects, over the collections of the caller's tenant.

It refuses to be: the records room. What a record may be, and all SQL, is decided there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from app.connectors import record_kinds
from app.connectors.port import Reply, Request, bad_item, check_item, check_query
from app.core.errors import Conflict, Invalid, Problem, TooLarge
from app.records import reading, snapshots, writing
from app.records.documents import body_text, check_filter, key_problem
from app.spec.catalog import ConnectorKind


@dataclass(frozen=True, slots=True)
class RecordsGet:
    """`records.get`: one record's body, or null."""

    kind: ConnectorKind = record_kinds.GET

    def read(self, session: Session, tenant: str, config: dict[str, Any], query: dict[str, Any]) -> dict[str, Any] | None:
        """Raises Invalid `query_invalid` or `key_invalid`."""
        check_query(self.kind, query)
        view = reading.fetch(session, tenant, config["collection"], query["key"])
        return None if view is None else view.body


@dataclass(frozen=True, slots=True)
class RecordsQuery:
    """`records.query`: one page of a declared collection, by key."""

    kind: ConnectorKind = record_kinds.QUERY

    def read(self, session: Session, tenant: str, config: dict[str, Any], query: dict[str, Any]) -> dict[str, Any]:
        """Raises Invalid `query_invalid`, `collection_not_declared`, `cursor_invalid`, `filter_invalid`, NotFound `snapshot_not_found`."""
        check_query(self.kind, query)
        if ("collection" in query) == ("snapshot" in query):
            problem = Problem("$.query", "names a collection and a snapshot, or neither", "Name one of the two.")
            raise Invalid("query_invalid", "A query reads a collection or a snapshot.", fix=problem.fix, problems=[problem])
        filter_, cursor, limit = query.get("filter"), query.get("cursor"), query.get("limit", record_kinds.DEFAULT_LIMIT)
        if "snapshot" in query:
            page = snapshots.page_of(session, tenant, query["snapshot"], config["collections"], filter_, cursor, limit)
        else:
            page = reading.page(session, tenant, self._declared(config, query["collection"]), filter_, cursor, limit)
        items = [{"key": view.key, "body": view.body, "version": view.version} for view in page.items]
        return {"items": items, "next_cursor": page.next_cursor}

    def _declared(self, config: dict[str, Any], collection: str) -> str:
        if collection in config["collections"]:
            return collection
        raise Invalid(
            "collection_not_declared",
            f"The spec does not declare the collection {collection!r} for this read.",
            fix=f"Use one of: {', '.join(config['collections'])}; or add it to the read's config.",
            problems=[Problem("$.query.collection", "is not declared")],
        )


@dataclass(frozen=True, slots=True)
class RecordsPut:
    """`records.put`: one record, whole; with `expected_version` only if nobody else has written it since."""

    kind: ConnectorKind = record_kinds.PUT

    def canonical(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        """The item itself once it is known to be storable. Raises Invalid `item_invalid`."""
        check_item(self.kind, item)
        _check_record(self.kind, item, "$.item")
        return item

    def message_id(self, effect_id: str, config: dict[str, Any]) -> str | None:
        """None: nobody outside knows of it."""
        return None

    def perform(self, session: Session, request: Request) -> Reply:
        """Receipt `{"key", "version"}`; refused with `version_conflict` where the expected version is not there."""
        item = request.item
        try:
            version = writing.store(
                session, request.tenant, request.config["collection"], item["key"], item["body"], item.get("expected_version")
            )
        except Conflict as conflict:
            return Reply("refused", code=conflict.code, message=conflict.detail)
        return Reply("done", receipt={"key": item["key"], "version": version})


@dataclass(frozen=True, slots=True)
class RecordsPutMany:
    """`records.put_many`: up to 500 records as one effect, with a receipt for each."""

    kind: ConnectorKind = record_kinds.PUT_MANY

    def canonical(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        """The item itself once it is known to be storable. Raises Invalid `item_invalid`."""
        check_item(self.kind, item)
        keys: set[str] = set()
        for index, record in enumerate(item["records"]):
            path = f"$.item.records[{index}]"
            _check_record(self.kind, record, path)
            if record["key"] in keys:
                raise bad_item(self.kind, Problem(f"{path}.key", "is the key of an earlier record too", "Name each key once."))
            keys.add(record["key"])
        return item

    def message_id(self, effect_id: str, config: dict[str, Any]) -> str | None:
        """None: nobody outside knows of it."""
        return None

    def perform(self, session: Session, request: Request) -> Reply:
        """Receipt `{"records": [{"key", "version"}]}` in the order of the item; refused where nothing could be written."""
        records, atomic = request.item["records"], request.item.get("atomic", False)
        bodies = {record["key"]: record["body"] for record in records}
        expected = {record["key"]: record["expected_version"] for record in records if "expected_version" in record}
        try:
            versions = writing.store_each(session, request.tenant, request.config["collection"], bodies, expected, atomic=atomic)
        except Conflict as conflict:
            return Reply("refused", code=conflict.code, message=conflict.detail)
        if all(version is None for version in versions.values()):
            return Reply("refused", code="version_conflict", message="no record has the version that was expected")
        return Reply("done", receipt={"records": [_told(key, versions[key]) for key in bodies]})


@dataclass(frozen=True, slots=True)
class RecordsSnapshot:
    """`records.snapshot`: the records of a collection, or those that a filter finds, kept as they are."""

    kind: ConnectorKind = record_kinds.SNAPSHOT

    def canonical(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        """The item without a null filter. Raises Invalid `item_invalid` or `filter_invalid`."""
        check_item(self.kind, item)
        check_filter(item.get("filter"))
        return {name: value for name, value in item.items() if value is not None}

    def message_id(self, effect_id: str, config: dict[str, Any]) -> str | None:
        """None: nobody outside knows of it."""
        return None

    def perform(self, session: Session, request: Request) -> Reply:
        """Receipt `{"snapshot", "count"}`; refused with `snapshot_too_large` beyond 200,000 records."""
        try:
            taken = snapshots.take(session, request.tenant, request.config["collection"], request.item.get("filter"), request.tool)
        except (TooLarge, Conflict) as error:
            return Reply("refused", code=error.code, message=error.detail)
        return Reply("done", receipt={"snapshot": taken["id"], "count": taken["count"]})


def _told(key: str, version: int | None) -> dict[str, Any]:
    if version is None:
        return {"key": key, "error": {"code": "version_conflict", "message": "the record does not have the version that was expected"}}
    return {"key": key, "version": version}


def _check_record(kind: ConnectorKind, record: dict[str, Any], path: str) -> None:
    problem = key_problem(record["key"])
    if problem:
        raise bad_item(kind, Problem(f"{path}.key", problem, "Use a key that can be stored."))
    try:
        body_text(record["body"])
    except ValueError as error:
        raise bad_item(kind, Problem(f"{path}.body", str(error), "Send a JSON object of at most 256 KiB.")) from None
