"""The records connectors on both databases: what a tool reads and writes, and what it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from app.connectors.port import Connectors, EffectPort, Reply, is_local
from app.connectors.production import production
from app.core.actor import SYSTEM
from app.core.db import Database
from app.core.errors import Invalid, NotFound
from app.core.settings import Settings
from app.records.reading import get_record, list_records
from app.records.writing import put_record
from tests.support.requests import request_for

GET = {"collection": "templates"}
QUERY = {"collections": ["customers", "suppressions"]}
PUT = {"collection": "customers"}


@pytest.fixture
def connectors(database: Database) -> Connectors:
    return production(Settings(), database)


def read(connectors: Connectors, database: Database, name: str, config: dict[str, Any], tenant: str = "default", **query: Any) -> Any:
    with database.reading() as session:
        return connectors.reads[name].read(session, tenant, config, query)


def perform(connectors: Connectors, database: Database, name: str, item: dict[str, Any]) -> Reply:
    port: EffectPort = connectors.effects[name]
    assert is_local(port)
    with database.writing() as session:
        return port.perform(session, request_for(port, PUT, item))


def test_get_answers_the_body_or_null(database: Database, connectors: Connectors) -> None:
    put_record(SYSTEM, database, "templates", "spring", {"subject": "Hi"})
    assert read(connectors, database, "records.get", GET, key="spring") == {"subject": "Hi"}
    assert read(connectors, database, "records.get", GET, key="autumn") is None
    assert read(connectors, database, "records.get", GET, tenant="other", key="spring") is None


def test_query_pages_through_a_declared_collection(database: Database, connectors: Connectors) -> None:
    for i in range(5):
        put_record(SYSTEM, database, "customers", f"k{i}", {"tier": "gold" if i % 2 else "tin", "i": i})
    first = read(connectors, database, "records.query", QUERY, collection="customers", limit=3)
    assert [item["key"] for item in first["items"]] == ["k0", "k1", "k2"]
    second = read(connectors, database, "records.query", QUERY, collection="customers", limit=3, cursor=first["next_cursor"])
    assert second["next_cursor"] is None
    assert second["items"][1] == {"key": "k4", "body": {"tier": "tin", "i": 4}, "version": 1}
    assert [item["key"] for item in second["items"]] == ["k3", "k4"]
    gold = read(connectors, database, "records.query", QUERY, collection="customers", filter={"tier": "gold"}, cursor=None)
    assert [item["key"] for item in gold["items"]] == ["k1", "k3"]
    assert read(connectors, database, "records.query", QUERY, collection="suppressions", filter=None)["items"] == []


@pytest.mark.parametrize(
    ("name", "config", "query", "code"),
    [
        ("records.query", QUERY, {"collection": "templates"}, "collection_not_declared"),
        ("records.query", QUERY, {"collection": "../customers"}, "query_invalid"),
        ("records.query", QUERY, {}, "query_invalid"),
        ("records.query", QUERY, {"collection": "customers", "limit": 1001}, "query_invalid"),
        ("records.query", QUERY, {"collection": "customers", "order": "x"}, "query_invalid"),
        ("records.query", QUERY, {"collection": "customers", "filter": {"a": {"$gt": 1}}}, "query_invalid"),
        ("records.query", QUERY, {"collection": "customers", "cursor": "**"}, "cursor_invalid"),
        ("records.get", GET, {"key": 7}, "query_invalid"),
        ("records.get", GET, {"key": "a\x00"}, "key_invalid"),
    ],
)
def test_reads_that_are_refused(sqlite_database: Database, name: str, config: dict[str, Any], query: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid, match=code):
        read(production(Settings(), sqlite_database), sqlite_database, name, config, **query)


def test_put_writes_and_answers_with_the_version(database: Database, connectors: Connectors) -> None:
    item = {"key": "ann", "body": {"n": 1}}
    assert perform(connectors, database, "records.put", item) == Reply("done", {"key": "ann", "version": 1})
    assert perform(connectors, database, "records.put", {**item, "expected_version": 1}).receipt == {"key": "ann", "version": 2}
    refused = perform(connectors, database, "records.put", {"key": "ann", "body": {"n": 9}, "expected_version": 1})
    assert (refused.verdict, refused.code) == ("refused", "version_conflict")
    assert get_record(SYSTEM, database, "customers", "ann").body == {"n": 1}


def test_put_many_writes_each_record_and_answers_in_order(database: Database, connectors: Connectors) -> None:
    put_record(SYSTEM, database, "customers", "b", {})
    records = [{"key": key, "body": {"of": key}} for key in ("c", "a", "b")]
    reply = perform(connectors, database, "records.put_many", {"records": records})
    assert reply.receipt == {"records": [{"key": "c", "version": 1}, {"key": "a", "version": 1}, {"key": "b", "version": 2}]}
    assert get_record(SYSTEM, database, "customers", "b").body == {"of": "b"}


def test_an_effect_in_a_transaction_that_falls_leaves_nothing(database: Database, connectors: Connectors) -> None:
    port = connectors.effects["records.put"]
    assert is_local(port)
    with pytest.raises(RuntimeError), database.writing() as session:
        port.perform(session, request_for(port, PUT, {"key": "ann", "body": {}}))
        raise RuntimeError("fallen")
    assert read(connectors, database, "records.get", PUT, key="ann") is None


@pytest.mark.parametrize(
    ("name", "item"),
    [
        ("records.put", {"key": "a"}),
        ("records.put", {"key": "", "body": {}}),
        ("records.put", {"key": "a\n", "body": {}}),
        ("records.put", {"key": "a", "body": {"x": "y" * 300_000}}),
        ("records.put", {"key": "a", "body": {"x": 2**60}}),
        ("records.put", {"key": "a", "body": {}, "expected_version": -1}),
        ("records.put", {"key": "a", "body": {}, "more": 1}),
        ("records.put_many", {"records": []}),
        ("records.put_many", {"records": [{"key": "a", "body": {}}, {"key": "a", "body": {}}]}),
        ("records.put_many", {"records": [{"key": str(i), "body": {}} for i in range(501)]}),
        ("email.send", {"to": "ann@example.com", "subject": "s"}),
        ("email.send", {"to": "ann", "subject": "s", "text": "t"}),
        ("email.send", {"to": "ann@example.com", "subject": "s\r\nBcc: x@example.com", "text": "t"}),
        ("email.send", {"to": "ann@example.com", "subject": "s", "text": "t", "reply_to": "x"}),
        ("email.send", {"to": "ann@example.com", "subject": "s", "text": "t", "list_unsubscribe": "http://example.com"}),
        ("email.send", {"to": "ann@example.com", "subject": "s", "text": "t", "list_unsubscribe": "https://example.com/> x"}),
        ("email.send", {"to": "ann@example.com", "subject": "s", "text": "t", "bcc": "x@example.com"}),
    ],
)
def test_items_that_are_refused_say_where(sqlite_database: Database, name: str, item: dict[str, Any]) -> None:
    port = production(Settings(), sqlite_database).effects[name]
    with pytest.raises(Invalid, match="item_invalid") as refused:
        port.canonical({"from_domain": "example.com", "collection": "c"}, item)
    assert refused.value.problems
    assert all(problem.path.startswith("$.item") for problem in refused.value.problems)


def records_of(database: Database) -> dict[str, Any]:
    return {view.key: view.body["v"] for view in list_records(SYSTEM, database, "customers").items}


def test_put_many_writes_what_has_its_expected_version_and_tells_the_others(database: Database, connectors: Connectors) -> None:
    put_record(SYSTEM, database, "customers", "a", {"v": 0})
    records = [
        {"key": "b", "body": {"v": 1}},
        {"key": "a", "body": {"v": 1}, "expected_version": 1},
        {"key": "c", "body": {"v": 1}, "expected_version": 4},
    ]
    reply = perform(connectors, database, "records.put_many", {"records": records})
    assert reply.receipt is not None
    told = reply.receipt["records"]
    assert told[:2] == [{"key": "b", "version": 1}, {"key": "a", "version": 2}]
    assert (told[2]["key"], told[2]["error"]["code"]) == ("c", "version_conflict")
    assert records_of(database) == {"a": 1, "b": 1}


def test_an_atomic_put_many_writes_all_or_none(database: Database, connectors: Connectors) -> None:
    put_record(SYSTEM, database, "customers", "a", {"v": 0})
    good = [{"key": "b", "body": {"v": 1}, "expected_version": 0}, {"key": "a", "body": {"v": 1}, "expected_version": 1}]
    bad = {"records": [{"key": "b", "body": {"v": 9}}, {"key": "a", "body": {"v": 9}, "expected_version": 7}], "atomic": True}
    reply = perform(connectors, database, "records.put_many", bad)
    assert (reply.verdict, reply.code, reply.receipt) == ("refused", "version_conflict", None)
    assert "number 2" in reply.message
    assert records_of(database) == {"a": 0}
    done = perform(connectors, database, "records.put_many", {"records": good, "atomic": True})
    assert done == Reply("done", {"records": [{"key": "b", "version": 1}, {"key": "a", "version": 2}]})


def test_a_put_many_of_which_nothing_fits_is_refused(database: Database, connectors: Connectors) -> None:
    item = {"records": [{"key": "a", "body": {"v": 1}, "expected_version": 3}]}
    reply = perform(connectors, database, "records.put_many", item)
    assert (reply.verdict, reply.code) == ("refused", "version_conflict")


def test_a_snapshot_is_taken_by_an_effect_and_read_like_a_collection(database: Database, connectors: Connectors) -> None:
    for i in range(5):
        put_record(SYSTEM, database, "customers", f"k{i}", {"v": i})
    reply = perform(connectors, database, "records.snapshot", {"filter": {"v": [1, 2, 3]}})
    assert reply.receipt is not None
    assert reply.receipt["count"] == 3
    put_record(SYSTEM, database, "customers", "k2", {"v": "changed"})
    name = reply.receipt["snapshot"]
    first = read(connectors, database, "records.query", QUERY, snapshot=name, limit=2)
    assert [item["body"]["v"] for item in first["items"]] == [1, 2]
    second = read(connectors, database, "records.query", QUERY, snapshot=name, limit=2, cursor=first["next_cursor"])
    assert (second["items"], second["next_cursor"]) == ([{"key": "k3", "body": {"v": 3}, "version": 1}], None)
    with pytest.raises(NotFound, match="snapshot_not_found"):
        read(connectors, database, "records.query", {"collections": ["others"]}, snapshot=name)
    for query in ({}, {"snapshot": name, "collection": "customers"}):
        with pytest.raises(Invalid, match="query_invalid"):
            read(connectors, database, "records.query", QUERY, **query)
