"""What a trial shows an author is what the connectors do: the same items taken and refused, the same receipts, the same reads."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from app.connectors.port import is_local, is_remote
from app.connectors.scripted import scripted
from app.connectors.told import told_error, told_receipt
from app.core.actor import SYSTEM
from app.core.db import Database
from app.core.errors import ToolmintError
from app.records.reading import list_records
from app.records.writing import put_record
from app.runtime.state import status_of
from generated_tools.toolkit._lifelike import error_of
from generated_tools.toolkit._world import LOCAL, Refused, World, canonical
from tests.support.requests import email_to, request_for

HOSTS = {"hosts": ["api.example.com"], "methods": ["POST"], "keep": {"headers": ["location"], "fields": ["id"]}}
NAMED = {"connection": "orders_api", "methods": ["POST", "PUT"]}
CHANNELS = {
    "channels": {"ops": {"email": {"to": "ops@example.com", "from_domain": "example.com"}}, "pager": {"webhook": {"connection": "p"}}}
}
POST = {"method": "POST", "url": "https://api.example.com/orders", "json": {"no": 1}}
ITEMS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("http.request", HOSTS, POST),
    ("http.request", HOSTS, {**POST, "method": "DELETE"}),
    ("http.request", HOSTS, {**POST, "url": "https://evil.example.com/orders"}),
    ("http.request", HOSTS, {**POST, "url": "http://api.example.com/orders"}),
    ("http.request", HOSTS, {**POST, "url": "/orders"}),
    ("http.request", HOSTS, {**POST, "url": "https://api.example.com/a/../b"}),
    ("http.request", HOSTS, {**POST, "text": "both"}),
    ("http.request", HOSTS, {"method": "POST"}),
    ("http.request", NAMED, {**POST, "url": "/orders?a=b", "method": "PUT"}),
    ("http.request", NAMED, POST),
    ("http.request", NAMED, {**POST, "url": "//evil.example.com/"}),
    ("http.request", NAMED, {**POST, "url": "/a%2Fb"}),
    ("notify.send", CHANNELS, {"channel": "ops", "subject": "S", "text": "T"}),
    ("notify.send", CHANNELS, {"channel": "pager", "subject": "S", "text": "T"}),
    ("notify.send", CHANNELS, {"channel": "boss", "subject": "S", "text": "T"}),
    ("notify.send", CHANNELS, {"channel": "ops", "subject": "S"}),
]


@pytest.mark.parametrize(("connector", "config", "item"), ITEMS)
def test_the_same_items_are_taken_in_the_same_spelling_with_the_same_receipt(
    connector: str, config: dict[str, Any], item: dict[str, Any]
) -> None:
    port = scripted().effects[connector]
    assert is_remote(port)
    try:
        expected: object = port.canonical(config, item)
    except ToolmintError as error:
        expected = error.code
    try:
        got: object = canonical(connector, config, item)
    except Refused as refusal:
        got = refusal.code
    assert got == expected
    if isinstance(got, dict):
        reply = asyncio.run(port.perform(request_for(port, config, item)))
        assert reply.receipt is not None
        assert World().perform("send", connector, config, got) == told_receipt(reply.receipt)


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("email.send", {"from_domain": "example.com"}, email_to("ann@example.com")),
    ("http.request", HOSTS, POST),
    ("notify.send", CHANNELS, {"channel": "ops", "subject": "S", "text": "T"}),
    ("notify.send", CHANNELS, {"channel": "pager", "subject": "S", "text": "T"}),
    ("records.put", {"collection": "people"}, {"key": "a", "body": {}, "expected_version": 4}),
    ("records.put_many", {"collection": "people"}, {"records": [{"key": "a", "body": {}}]}),
    ("records.snapshot", {"collection": "people"}, {}),
]


@pytest.mark.parametrize(("answer", "state"), [("refuse_now", "retry_wait"), ("refuse_for_good", "failed"), ("lose_reply", "unknown")])
@pytest.mark.parametrize(("connector", "config", "item"), REFUSED)
def test_an_author_s_script_is_answered_with_the_same_code_in_the_same_words(
    sqlite_database: Database, connector: str, config: dict[str, Any], item: dict[str, Any], answer: str, state: str
) -> None:
    port = scripted([{"effect": "send", "when": {}, "answer": answer}]).effects[connector]
    request = request_for(port, config, item)
    if is_remote(port):
        reply = asyncio.run(port.perform(request))
    elif is_local(port) and answer != "lose_reply":
        with sqlite_database.writing() as session:
            reply = port.perform(session, request)
    else:
        return  # what is local is never unknown
    assert reply.verdict == {"retry_wait": "refused_now", "failed": "refused", "unknown": "unknown"}[state]
    error = told_error({"code": reply.code, "message": reply.message}, status_of(state))
    assert error == error_of(connector, config, item, answer, state)


PEOPLE = {"collection": "people"}
QUERY = {"collections": ["people"]}
STEPS: list[tuple[str, dict[str, Any]]] = [
    ("records.put", {"key": "a", "body": {"n": 1}}),
    ("records.put", {"key": "a", "body": {"n": 2}, "expected_version": 4}),
    ("records.put_many", {"records": [{"key": "b", "body": {"n": 2}}, {"key": "a", "body": {"n": 3}, "expected_version": 1}]}),
    ("records.put_many", {"records": [{"key": "b", "body": {"n": 9}, "expected_version": 7}, {"key": "c", "body": {"n": 4}}]}),
    (
        "records.put_many",
        {"atomic": True, "records": [{"key": "d", "body": {"n": 9}}, {"key": "a", "body": {"n": 9}, "expected_version": 0}]},
    ),
    ("records.put_many", {"records": [{"key": "a", "body": {"n": 9}, "expected_version": 0}]}),
    ("records.put_many", {"atomic": True, "records": [{"key": "d", "body": {"n": 5}, "expected_version": 0}]}),
]


def test_records_come_to_the_same_in_a_trial_and_in_the_database(database: Database) -> None:
    world, twins = World(), scripted()
    for connector, item in STEPS:
        port = twins.effects[connector]
        assert is_local(port)
        with database.writing() as session:
            reply = port.perform(session, request_for(port, PEOPLE, item))
        try:
            got: Any = world.perform("send", connector, PEOPLE, copy.deepcopy(item))
        except Refused as refusal:
            got = (refusal.code, refusal.message)
        assert got == (reply.receipt if reply.receipt is not None else (reply.code, reply.message)), item
    kept = {view.key: view.body for view in list_records(SYSTEM, database, "people").items}
    assert kept == world.records["people"]


def test_a_snapshot_reads_the_same_in_a_trial_and_in_the_database(database: Database) -> None:
    world, twins = World(), scripted()
    port = twins.effects["records.snapshot"]
    assert is_local(port)
    for number in range(5):
        world.add("people", f"p{number}", {"n": number})
        put_record(SYSTEM, database, "people", f"p{number}", {"n": number})
    with database.writing() as session:
        real = port.perform(session, request_for(port, PEOPLE, {"filter": {"n": [1, 2, 3]}})).receipt
    trial = world.perform("send", "records.snapshot", PEOPLE, {"filter": {"n": [1, 2, 3]}})
    assert real is not None
    assert real["count"] == trial["count"] == 3
    world.add("people", "p2", {"n": "changed"})
    put_record(SYSTEM, database, "people", "p2", {"n": "changed"})

    def rows(page: Any) -> list[Any]:
        return [(row["key"], row["body"], row["version"]) for row in page["items"]]

    for query in ({}, {"filter": {"n": 3}}, {"limit": 2}):
        with database.reading() as session:
            seen = twins.reads["records.query"].read(session, "default", QUERY, {"snapshot": real["snapshot"], **query})
        assert rows(seen) == rows(world.read("records.query", QUERY, {"snapshot": trial["snapshot"], **query}))


def test_what_a_trial_takes_for_local_is() -> None:
    assert {name for name, port in scripted().effects.items() if is_local(port)} == LOCAL
