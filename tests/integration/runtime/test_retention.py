"""Retention: what is over and old goes in small pieces; effects, their events and the audit trail never do."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from app.core.db import Database
from app.core.errors import Conflict
from app.core.settings import Settings
from app.runtime import decisions, replay, retention, views
from app.runtime.repository.journal import store
from app.runtime.retention import DAY_MS, Keep
from app.sandbox.sandbox import Sandbox
from tests.support.worlds import CALLER, SENDER, World, world

pytestmark = pytest.mark.anyio
ADA, BOB = "ada@example.org", "bob@example.org"
MANY = [f"u{number}@example.org" for number in range(120)]
MONTH = Keep(30 * DAY_MS, 90 * DAY_MS)
LOGGED = SENDER.replace("    counts =", '    ctx.log("begun", group=args["group"])\n    counts =')
FOR_EVER = ("effect", "effect_event", "audit_event", "ledger")


def days(w: World, number: int) -> None:
    """Days go by: what there is of runs becomes older."""
    aged = {"run": ("created_at", "started_at", "finished_at"), "payload": ("created_at",), "run_identity": ("expires_at",)}
    with w.database.writing() as session:
        for table, columns in aged.items():
            changes = ", ".join(f"{column} = {column} - {number * DAY_MS}" for column in columns)
            session.connection().execute(sa.text(f"UPDATE {table} SET {changes}"))


def count(database: Database, table: str, where: str = "1 = 1") -> int:
    with database.reading() as session:
        return int(session.connection().execute(sa.text(f"SELECT count(*) FROM {table} WHERE {where}")).scalar_one())


def rows(database: Database, *tables: str) -> list[Any]:
    with database.reading() as session:
        return [list(session.connection().execute(sa.text(f"SELECT * FROM {table} ORDER BY 1"))) for table in tables]


def pruned(w: World, keep: Keep = MONTH) -> dict[str, int]:
    """Prune to the end; what must never go has not changed."""
    before = rows(w.database, *FOR_EVER)
    total: dict[str, int] = {}
    while found := retention.prune(w.database, keep, budget_s=5):
        total = {kind: total.get(kind, 0) + found.get(kind, 0) for kind in total | found}
    assert rows(w.database, *FOR_EVER) == before
    return total


async def test_a_journal_goes_after_its_time_and_the_answers_after_theirs(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, LOGGED) as w:
        await w.call(group="g", to=[ADA])
        begun, ending = await w.call(group="g", to=[ADA, *MANY])
        days(w, 29)
        assert pruned(w) == {} and count(database, "step") > 0
        days(w, 2)
        removed = pruned(w)
        assert (removed["journals"], removed["sightings"], removed["log_lines"]) == (2, 1, 2) and removed["payloads"] == 1
        assert [count(database, table) for table in ("step", "log_line", "sighting")] == [0, 0, 0]
        shown = w.run(begun.run_id)
        assert ending is not None and (shown["kept"], shown["result"], shown["effects"]) == ("answers", ending.result, ending.effects)
        with pytest.raises(Conflict, match="journal_pruned"):
            replay.request_replay(CALLER, database, begun.run_id)
        days(w, 60)
        assert pruned(w) == {"answers": 2, "payloads": count(database, "payload") or 4}
        shown = w.run(begun.run_id)
        assert (shown["kept"], shown["result"], shown["state"]) == ("nothing", None, "completed") and count(database, "payload") == 0
        assert views.read_ledger(CALLER, database, "notes", "g")["items"]


async def test_a_later_call_of_what_was_pruned_is_a_new_run_that_skips_every_effect(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        first, _ = await w.call(key="k", ttl_s=86_400, group="g", to=[ADA, BOB])
        again, _ = await w.call(key="k", ttl_s=86_400, group="g", to=[ADA, BOB])
        assert (again.how, again.run_id) == ("replay", first.run_id)
        days(w, 200)
        assert pruned(w)["identities"] == 1 and w.run(first.run_id)["kept"] == "nothing"
        later, ending = await w.call(key="k", ttl_s=86_400, group="g", to=[ADA, BOB])
        assert later.how == "begun" and ending is not None and ending.result is not None and ending.result["skipped"] == 2
        assert w.sent() == [ADA, BOB]


async def test_an_answer_that_may_still_be_asked_for_by_key_is_kept_whole(database: Database, sandbox: Sandbox) -> None:
    year = 365 * 86_400
    async with world(database, sandbox) as w:
        first, ending = await w.call(key="k", ttl_s=year, group="g", to=[ADA, *MANY])
        days(w, 300)
        assert pruned(w) == {}
        again, _ = await w.call(key="k", ttl_s=year, group="g", to=[ADA, *MANY])
        assert again.how == "replay" and ending is not None
        assert (w.run(again.run_id)["result"], w.run(again.run_id)["effects"]) == (ending.result, ending.effects)
        days(w, 70)
        assert pruned(w)["answers"] == 1 and w.run(first.run_id)["kept"] == "nothing"


async def test_a_run_that_is_not_over_or_whose_effects_may_still_move_keeps_all(database: Database, sandbox: Sandbox) -> None:
    script: list[dict[str, Any]] = [
        {"effect": "send", "when": {"to": ADA}, "answer": "lose_reply"},
        {"effect": "send", "when": {"to": BOB}, "answer": "refuse_now", "times": 9},
    ]
    async with world(database, sandbox, SENDER, script, on_unknown="hold") as w:
        doubtful, _ = await w.call(group="g", to=[ADA])
        waits, _ = await w.call(group="g", to=[BOB])
        open_, _ = await w.call(group="h", to=MANY, here=False)
        days(w, 400)
        assert pruned(w) == {}
        assert {w.run(run.run_id)["kept"] for run in (doubtful, waits, open_)} == {"all"}
        unknown = views.list_effects(CALLER, database, state="unknown")["items"][0]["effect_id"]
        decisions.resolve_effect(CALLER, database, unknown, "confirm_done", "the provider says so")
        assert pruned(w)["journals"] == 1 and w.run(doubtful.run_id)["kept"] == "nothing"
        assert w.run(waits.run_id)["kept"] == w.run(open_.run_id)["kept"] == "all"


async def test_a_text_that_two_runs_share_goes_with_the_last_of_them(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        first, _ = await w.call(group="g", to=MANY)
        days(w, 60)
        second, ending = await w.call(group="g", to=MANY)
        days(w, 60)
        pruned(w)
        assert (w.run(first.run_id)["kept"], w.run(second.run_id)["kept"]) == ("nothing", "answers")
        digest = rows(database, "run")[0][0].args
        assert (
            ending is not None
            and w.run(second.run_id)["result"] == ending.result
            and count(database, "payload", f"digest = '{digest}'") == 1
        )
        days(w, 60)
        pruned(w)
        assert count(database, "payload") == 0


async def test_a_text_that_was_stored_a_moment_ago_is_not_taken_from_under_its_run(database: Database, sandbox: Sandbox) -> None:
    """A call may have found the text there, and its run be not committed yet: PostgreSQL shows the pruner neither."""
    async with world(database, sandbox) as w:
        await w.call(group="g", to=MANY)
        days(w, 200)
        retention.prune(database, Keep(30 * DAY_MS, None), budget_s=5)
        args = count(database, "payload")
        with database.writing() as session:
            text = session.connection().execute(sa.text("SELECT p.digest, p.body FROM payload p JOIN run ON run.args = p.digest")).one()
            store(session, [(text.digest, text.body)], database.clock.now())
        retention.prune(database, MONTH, budget_s=5)
        assert args >= 2 and count(database, "payload", f"digest = '{text.digest}'") == 1


async def test_a_call_that_is_just_beginning_keeps_the_text_that_a_pruner_is_after(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        begun, _ = await w.call(group="g", to=MANY)
        days(w, 200)
        retention.prune(database, Keep(30 * DAY_MS, None), budget_s=5)
        with database.reading() as session:
            text = session.connection().execute(sa.text("SELECT p.digest, p.body FROM payload p JOIN run ON run.args = p.digest")).one()
        pruner = threading.Thread(target=retention.prune, args=(database, MONTH, 5))
        with database.writing() as session:
            store(session, [(text.digest, text.body)], database.clock.now())
            copied = "id, tenant, tool, version, digest, reason, actor, trace_id, source, dry_run, state, args, seed, fence, crashes, "
            copied += "due_at, steps, cpu_ms, rss_kb, bytes_in, bytes_out, created_at"
            taken = copied.replace("id,", "'run_zzz',", 1)
            session.connection().execute(sa.text(f"INSERT INTO run ({copied}) SELECT {taken} FROM run WHERE id = '{begun.run_id}'"))
            pruner.start()
            pruner.join(0.3)  # it has come to the text, and waits for us, or will not see it as old
        pruner.join()
        assert w.run(begun.run_id)["kept"] == "nothing" and count(database, "payload", f"digest = '{text.digest}'") == 1


async def test_pruning_goes_on_where_it_was_interrupted_and_lets_others_write_in_between(database: Database, sandbox: Sandbox) -> None:
    one_by_one = """
    def run(args, ctx):
        return {"done": sum(ctx.perform("send", {"to": to, "subject": "S", "text": "T"}).status == "done" for to in args["to"])}
    """
    async with world(database, sandbox, one_by_one) as w:
        begun, _ = await w.call(group="g", to=MANY)
        await w.call(group="g", to=MANY)
        days(w, 31)
        retention.prune(database, MONTH, budget_s=0.000001)
        written: list[int] = []
        pruner = threading.Thread(target=lambda: written.append(sum(pruned(w).values())))
        pruner.start()
        while pruner.is_alive():
            with database.writing() as session:
                session.connection().execute(sa.text("UPDATE run SET channel = 'stable'"))
            written.append(0)
            pruner.join(0.001)
        assert len(written) > 2 and count(database, "step") == 0 and w.run(begun.run_id)["kept"] == "answers"


async def test_two_workers_prune_at_once_without_harm(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        for _ in range(6):
            await w.call(group="g", to=MANY)
        days(w, 100)
        pruners = [threading.Thread(target=retention.prune, args=(database, MONTH, 5)) for _ in range(2)]
        for pruner in pruners:
            pruner.start()
        for pruner in pruners:
            pruner.join()
        pruned(w)
        assert count(database, "run", "kept = 'nothing'") == 6 and count(database, "payload") == count(database, "step") == 0


def test_settings_say_for_how_long_in_days_and_zero_is_for_ever() -> None:
    assert Keep.of(Settings()) == MONTH
    assert Keep.of(Settings(keep_journals_days=0)) == Keep(None, None)
    assert Keep.of(Settings(keep_journals_days=120, keep_answers_days=10)) == Keep(120 * DAY_MS, 120 * DAY_MS)
    assert Keep.of(Settings(keep_answers_days=0)) == Keep(30 * DAY_MS, None)
