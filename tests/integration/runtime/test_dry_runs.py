"""Dry runs: a plan of any length with one digest, an overlay of what is local, receipts marked simulated, and nothing left behind."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import Session, func, select

from app.connectors.outbox import OutboxEffect
from app.connectors.production import production
from app.connectors.scripted import scripted
from app.core.actor import SYSTEM
from app.core.db import Database
from app.core.settings import Settings
from app.records.models import Record
from app.records.reading import get_record
from app.records.writing import put_record
from app.runtime import dry_run, plans, views
from app.runtime.ending import Ending
from app.runtime.models import Effect, RunIdentity
from app.sandbox.sandbox import Sandbox
from tests.support.worlds import CALLER, World, world

pytestmark = pytest.mark.anyio
ADA, BOB = "ada@example.org", "bob@example.org"
RECORDS: dict[str, Any] = {"config": {"collection": "notes"}, "key": "[args.group, item.key]", "ledger": None}
READS: dict[str, Any] = {"_reads": [{"id": "note", "connector": "records.get", "config": {"collection": "notes"}}]}


async def planned(w: World, **args: Any) -> Ending:
    _, ending = await w.call(dry_run=True, **args)
    assert ending is not None and ending.state == "completed", ending
    return ending


def digest(ending: Ending) -> str:
    assert ending.plan_summary is not None
    return str(ending.plan_summary["digest"])


def count(database: Database, table: Any) -> int:
    with database.reading() as session:
        return session.exec(select(func.count()).select_from(table)).one()


async def test_a_plan_of_twelve_thousand_effects_is_counted_whole_and_listed_in_part(database: Database, sandbox: Sandbox) -> None:
    many = [f"u{number}@example.org" for number in range(12_000)]
    async with world(database, sandbox) as w:
        await w.call(group="g", to=many[:3])
        ending = await planned(w, group="g", to=[*many, many[0]])
        summary = ending.plan_summary
        assert summary is not None and ending.plan is not None
        assert (summary["total"], summary["counts"]) == (12_000, {"send": {"skip": 3, "perform": 11_997}})
        assert summary["listed"] == len(ending.plan) == plans.MOST_LISTED
        assert ending.result["duplicate"] == 1 and len(ending.marks) == 12_000 * plans.MARK
        assert count(database, Effect) == 3 and len(w.sent()) == 3


async def test_the_digest_of_a_plan_says_what_would_happen_in_which_order(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        first = await planned(w, group="g", to=[ADA, BOB])
        assert digest(first) == digest(await planned(w, group="g", to=[ADA, BOB]))
        others: list[dict[str, Any]] = [{"to": [BOB, ADA]}, {"to": [ADA]}, {"to": [ADA, BOB], "subject": "Bye"}]
        digests = {digest(await planned(w, group="g", **other)) for other in others}
        await w.call(group="g", to=[BOB])
        digests |= {digest(await planned(w, group="g", to=[ADA, BOB])), digest(first)}
        assert len(digests) == 5


async def test_a_dry_run_sees_what_it_would_have_written_and_leaves_nothing(database: Database, sandbox: Sandbox) -> None:
    source = """
def run(args, ctx):
    before = ctx.read("note", key="a")
    receipt = ctx.perform("send", {"key": "a", "body": {"n": before["n"] + 1}}).receipt
    after = ctx.read("note", key="a")
    refused = ctx.perform("send", {"key": "b", "body": {}, "expected_version": 7})
    ctx.log("seen", after=after, receipt=receipt, refused=refused.error)
    return {"done": after["n"], "failed": 1 if refused.status == "failed" else 0}
"""
    put_record(SYSTEM, database, "notes", "a", {"n": 1})
    async with world(database, sandbox, source, connector="records.put", **RECORDS, **READS) as w:
        begun, ending = await w.call(dry_run=True, group="g", to=[])
        assert ending is not None and ending.result == {"done": 2, "failed": 1}
        seen = views.read_logs(CALLER, database, begun.run_id)["items"][0]["fields"]
        assert seen["receipt"] == {"key": "a", "version": 2, "simulated": True}
        assert [(step["would"], step["may_differ"]) for step in ending.plan or []] == [("perform", False), ("fail", False)]
        assert (ending.plan or [])[1]["error"]["code"] == "version_conflict"
        assert get_record(SYSTEM, database, "notes", "a").version == 1
        assert (count(database, Effect), count(database, Record), count(database, RunIdentity)) == (0, 1, 0)


async def test_of_equal_keys_a_dry_run_does_the_first_and_tells_of_the_others_what_a_run_does(database: Database, sandbox: Sandbox) -> None:
    source = """
def run(args, ctx):
    first, refused = {"key": "a", "body": {"n": 1}}, {"key": "b", "body": {}, "expected_version": 7}
    items = [first, dict(first), {"key": "a", "body": {"n": 2}}, refused]
    items += [{"key": f"filler {number}", "body": {}} for number in range(60)]  # what follows is another chunk
    items += [{"key": "a", "body": {"n": 3}}, dict(refused)]
    told = [[each.status, each.differs, (each.error or {}).get("code")] for each in ctx.perform_many("send", items)]
    ctx.log("told", of=told[:4] + told[-2:], read=ctx.read("note", key="a"))
    return {"done": 0}
"""
    async with world(database, sandbox, source, connector="records.put", **RECORDS, **READS) as w:
        told = []
        for dry_run in (True, False):
            begun, _ = await w.call(dry_run=dry_run, group="g", to=[])
            told.append(views.read_logs(CALLER, database, begun.run_id)["items"][0]["fields"])
        differs, same, refused = ["duplicate", True, None], ["duplicate", False, None], "version_conflict"
        of = [["done", False, None], same, differs, ["failed", False, refused], differs, ["duplicate", False, refused]]
        assert told == [{"of": of, "read": {"n": 1}}] * 2


async def test_what_comes_after_the_overlay_is_full_may_differ(sqlite_database: Database, sandbox: Sandbox) -> None:
    source = """
def run(args, ctx):
    return {"done": len(ctx.perform_many("send", ({"key": str(n), "body": {}} for n in range(700))))}
"""
    async with world(sqlite_database, sandbox, source, connector="records.put", **RECORDS, **READS) as w:
        summary = (await planned(w, group="g", to=[])).plan_summary
        assert summary is not None and summary["counts"] == {"send": {"perform": 700}}
        assert 700 - dry_run.MOST_LAID <= summary["may_differ"] < 700


async def test_a_dry_run_that_would_pass_the_limit_of_the_spec_is_refused_as_the_run_would_be(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, limits={"per_run": 2}) as w:
        assert (await planned(w, group="g", to=[ADA, BOB, ADA])).result["duplicate"] == 1
        _, ending = await w.call(dry_run=True, group="g", to=[ADA, BOB, "cat@example.org"])
        assert ending is not None and ending.error is not None and ending.error["code"] == "effect_limit_exceeded"


async def test_items_that_no_connector_takes_stand_in_the_plan_with_the_reason(sqlite_database: Database, sandbox: Sandbox) -> None:
    async with world(sqlite_database, sandbox) as w:
        ending = await planned(w, group="g", to=["no address", ADA])
        assert [(step["would"], step["key"], step.get("error", {}).get("code")) for step in ending.plan or []] == [
            ("fail", None, "item_invalid"),
            ("perform", ["g", ADA], None),
        ]


ITEMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "email.send": ({"from_domain": "example.com"}, {"to": ADA, "subject": "Hello", "text": "Hi"}),
    "records.put": ({"collection": "notes"}, {"key": "a", "body": {}}),
    "records.put_many": ({"collection": "notes"}, {"records": [{"key": "a", "body": {}}]}),
    "records.snapshot": ({"collection": "notes"}, {}),
    "http.request": ({"hosts": ["api.example.com"], "methods": ["POST"]}, {"method": "POST", "url": "https://api.example.com/x"}),
    "notify.send": (
        {"channels": {"sales": {"email": {"to": ADA, "from_domain": "example.com"}}}},
        {"channel": "sales", "subject": "Hello", "text": "Hi"},
    ),
}


def test_every_connector_that_this_installation_has_is_rehearsed_below(sqlite_database: Database, tmp_path: Any) -> None:
    installed = production(Settings(home=tmp_path), sqlite_database)
    assert isinstance(installed.effects["email.send"], OutboxEffect)
    assert set(installed.effects) == set(scripted().effects) == set(ITEMS)


@pytest.mark.parametrize("connector", sorted(ITEMS))
async def test_each_connector_is_rehearsed_without_a_trace(sqlite_database: Database, sandbox: Sandbox, connector: str) -> None:
    config, item = ITEMS[connector]
    source = f"""
def run(args, ctx):
    found = ctx.perform("send", {item!r})
    return {{"done": 1 if found.status == "done" and found.receipt["simulated"] else 0}}
"""
    put_record(SYSTEM, sqlite_database, "notes", "z", {})
    before = _rows(sqlite_database)
    async with world(sqlite_database, sandbox, source, connector=connector, config=config, key="[args.group]", ledger=None) as w:
        ending = await planned(w, group="g", to=[])
        assert ending.result == {"done": 1}
        assert [step["would"] for step in ending.plan or []] == ["perform"]
        assert w.sent() == [] if connector == "email.send" else w.connectors.performed == []
    assert {name: rows for name, rows in _rows(sqlite_database).items() if name in before} == before


async def test_a_rehearsal_is_told_no_more_than_a_run(sqlite_database: Database, sandbox: Sandbox) -> None:
    source = """
def run(args, ctx):
    ctx.log("told", receipt=ctx.perform("send", {"to": args["to"][0], "subject": "Hello", "text": "Hi"}).receipt)
    return {"done": 1}
"""
    async with world(sqlite_database, sandbox, source) as w:
        w.connectors = replace(w.connectors, effects={**w.connectors.effects, "email.send": OutboxEffect()})
        await w.runtime.stop()
        await w.boot()
        for dry_run, told in ((True, {"simulated": True}), (False, {})):
            begun, _ = await w.call(dry_run=dry_run, group="g", to=[ADA])
            (line,) = views.read_logs(CALLER, sqlite_database, begun.run_id)["items"]
            assert line["fields"]["receipt"] == told


def _rows(database: Database) -> dict[str, int]:
    """How many rows each table has, but for those that say that a run took place."""
    told = ("run", "payload", "owner", "audit_event", "change", "outbox", "log_line", "audit_link", "step")
    with database.reading() as session:
        names = [name for name in sa.inspect(session.connection()).get_table_names() if name not in told]
        return {name: _count(session, name) for name in names}


def _count(session: Session, name: str) -> int:
    return int(session.connection().exec_driver_sql(f'SELECT count(*) FROM "{name}"').scalar_one())


def test_a_plan_takes_no_more_memory_however_long_it_is_but_for_what_an_approval_needs() -> None:
    def peak(number: int) -> int:
        tracemalloc.start()
        book = plans.PlanBook()
        for index in range(number):
            entry = {"effect": "send", "key": [index], "item": {"to": str(index)}, "would": "perform", "may_differ": False}
            book.add(entry, f"{index:064x}", f"{index:064x}", 30)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert book.summary()["total"] == number
        return found

    assert peak(12_000) - peak(4_000) < 8_000 * plans.MARK * 3
