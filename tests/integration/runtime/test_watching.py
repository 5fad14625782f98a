"""Who sees what tools did, and who may stop it: callers and operators; to any other key nothing has ever run."""

from __future__ import annotations

import pytest

from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import Forbidden, NotFound
from app.observability.trail import page
from app.runtime import decisions, views
from app.sandbox.sandbox import Sandbox
from tests.support.worlds import CALLER, program_of, sender_spec, world

pytestmark = pytest.mark.anyio
ADA, BOB = "ada@example.org", "bob@example.org"


def actor(name: str, *permissions: str) -> Actor:
    return Actor(f"key_{name}", name, CALLER.tenant, frozenset(permissions))


@pytest.mark.parametrize("permissions", [(), ("records:read",), ("specs:write", "candidates:submit"), ("keys:manage",)])
async def test_a_key_that_neither_calls_nor_operates_sees_nothing_of_what_ran(
    sqlite_database: Database, sandbox: Sandbox, permissions: tuple[str, ...]
) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "lose_reply"}]
    nosy = actor("nosy", *permissions)
    async with world(sqlite_database, sandbox, script=script) as w:
        begun, _ = await w.call(group="g", to=[ADA, BOB])
        (unknown,) = views.list_effects(CALLER, sqlite_database, state="unknown")["items"]
        lists = [
            views.list_runs(nosy, sqlite_database)["items"],
            views.list_ledgers(nosy, sqlite_database)["items"],
            views.list_effects(nosy, sqlite_database, state="unknown")["items"],
            views.count_effects(nosy, sqlite_database),
        ]
        assert lists == [[], [], [], []] and views.count_ledger(nosy, sqlite_database, "notes", "g") == {}
        for look in (
            lambda: views.read_run(nosy, sqlite_database, begun.run_id),
            lambda: views.read_steps(nosy, sqlite_database, begun.run_id),
            lambda: views.read_logs(nosy, sqlite_database, begun.run_id),
            lambda: views.read_ledger(nosy, sqlite_database, "notes", "g"),
            lambda: views.export_ledger(nosy, sqlite_database, "notes", "g"),
            lambda: views.read_effect(nosy, sqlite_database, unknown["effect_id"]),
        ):
            with pytest.raises(NotFound):
                look()


async def test_a_run_is_stopped_by_its_caller_or_an_operator_and_by_nobody_else(sqlite_database: Database, sandbox: Sandbox) -> None:
    async with world(sqlite_database, sandbox) as w:
        first, _ = await w.call(here=False, group="g", to=[ADA])
        second, _ = await w.call(here=False, group="h", to=[ADA])
        with pytest.raises(Forbidden) as caught:
            decisions.cancel_run(actor("other", "tools:call"), sqlite_database, first.run_id)
        assert caught.value.code == "run_of_another" and views.read_run(CALLER, sqlite_database, first.run_id)["state"] == "available"
        refused = page(sqlite_database, CALLER.tenant, action="run.cancel_requested", outcome="refused")["items"]
        assert [(event["actor"], event["target"]) for event in refused] == [("key_other", first.run_id)]
        assert decisions.cancel_run(CALLER, sqlite_database, first.run_id)["state"] == "cancelled"
        operator = actor("operator", "tools:call", "effects:resolve")
        assert decisions.cancel_run(operator, sqlite_database, second.run_id)["state"] == "cancelled"


async def test_a_caller_sees_nothing_of_a_tool_whose_permissions_it_lacks(sqlite_database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "lose_reply"}]
    asked = ["campaigns:send", "tools:call"]
    plain, sender = actor("plain", "tools:call"), actor("sender", "tools:call", "campaigns:send")
    async with world(sqlite_database, sandbox, script=script, _permissions=asked) as w:
        begun, _ = await w.call(group="g", to=[ADA, BOB])
        waiting, _ = await w.call(here=False, group="h", to=[ADA])
        for watcher in (sender, actor("auditor", "audit:read")):
            assert len(views.list_runs(watcher, sqlite_database)["items"]) == views.open_runs(watcher, sqlite_database) + 1 == 2
            (unknown,) = views.list_effects(watcher, sqlite_database, state="unknown")["items"]
            assert views.read_effect(watcher, sqlite_database, unknown["effect_id"])["effect"] == "send"
            assert len(views.read_ledger(watcher, sqlite_database, "notes", "g")["items"]) == 2
        lists = [
            views.list_runs(plain, sqlite_database)["items"],
            views.list_ledgers(plain, sqlite_database)["items"],
            views.list_effects(plain, sqlite_database, state="unknown")["items"],
            views.count_effects(plain, sqlite_database),
        ]
        assert lists == [[], [], [], []] and views.open_runs(plain, sqlite_database) == 0
        assert views.count_ledger(plain, sqlite_database, "notes", "g") == {}
        for look in (
            lambda: views.read_run(plain, sqlite_database, begun.run_id),
            lambda: views.read_steps(plain, sqlite_database, begun.run_id),
            lambda: views.read_logs(plain, sqlite_database, begun.run_id),
            lambda: views.read_ledger(plain, sqlite_database, "notes", "g"),
            lambda: views.export_ledger(plain, sqlite_database, "notes", "g"),
            lambda: views.read_effect(plain, sqlite_database, unknown["effect_id"]),
            lambda: decisions.cancel_run(plain, sqlite_database, waiting.run_id),
        ):
            with pytest.raises(NotFound):
                look()


async def test_what_a_later_version_asks_for_hides_nothing_that_an_earlier_one_did(sqlite_database: Database, sandbox: Sandbox) -> None:
    plain = actor("plain", "tools:call")
    async with world(sqlite_database, sandbox) as w:
        first, _ = await w.call(group="g", to=[ADA])
        w.programs[2] = program_of(sender_spec(_permissions=["campaigns:send"]), version=2)
        await w.call(version=2, group="h", to=[ADA])
        assert [run["id"] for run in views.list_runs(plain, sqlite_database)["items"]] == [first.run_id]
        with pytest.raises(NotFound):
            views.read_ledger(plain, sqlite_database, "notes", "h")
