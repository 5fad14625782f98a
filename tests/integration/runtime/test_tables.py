"""What a second item with the same key gets, who may see it, and what the journal keeps: through the real runtime."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col

from app.core import feed
from app.core.actor import Actor
from app.core.db import Database, insert_missing
from app.core.errors import Invalid, NotFound
from app.core.feed import Feed, announce
from app.core.models import Change
from app.core.pages import encode
from app.core.writer import GroupWriter
from app.runtime import broker, decisions, views
from app.runtime.journal import digest_text
from app.runtime.models import Effect, Payload
from app.runtime.process import Call
from app.runtime.queue import next_due
from app.runtime.recovery import sweep
from app.runtime.repository import runs as repository
from app.sandbox.sandbox import Sandbox
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, world

pytestmark = pytest.mark.anyio
ADA, BOB, CAT = "ada@example.org", "bob@example.org", "cat@example.org"
STRANGER = Actor("key_stranger", "stranger", "elsewhere", CALLER.permissions)
TELLING = """
def run(args, ctx):
    for to in args["to"]:
        outcome = ctx.perform("send", {"to": to, "subject": "Hello", "text": "Hi"})
        ctx.log("outcome", status=outcome.status, code=outcome.error.get("code") if outcome.error else None)
    return {"done": 0}
"""


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("planned", ("done", None)),
        ("cancelled", ("done", None)),
        ("done", ("skipped", None)),
        ("claimed", ("retrying", "busy_elsewhere")),
        ("performing", ("retrying", "busy_elsewhere")),
        ("retry_wait", ("retrying", "before")),
        ("unknown", ("unknown", "before")),
        ("failed", ("failed", "before")),
        ("dead", ("failed", "before")),
        ("abandoned", ("failed", "before")),
    ],
)
async def test_each_row_of_the_table_of_existing_states(
    sqlite_database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, state: str, told: tuple[str, str | None]
) -> None:
    monkeypatch.setattr(broker, "WAIT_ELSEWHERE_S", 0.2)  # the same wait, only shorter
    async with world(sqlite_database, sandbox, TELLING) as w:
        await w.call(group="g", to=[ADA])
        error = None if state in ("planned", "cancelled", "done") else '{"code":"before","message":"before"}'
        with sqlite_database.writing() as session:
            owner = w.runtime.owner if state in ("claimed", "performing") else None
            session.connection().execute(sa.update(Effect).values(state=state, owner=owner, error=error))
        begun, ending = await w.call(group="g", to=[ADA, ADA])
        assert ending is not None and ending.state == "completed"
        lines = [
            (row["fields"]["status"], row["fields"]["code"]) for row in views.read_logs(CALLER, sqlite_database, begun.run_id)["items"]
        ]
        assert lines[0] == told and lines[1][0] == "duplicate"
        assert w.run(begun.run_id)["effects"]["send"]["distinct"] == 1


async def test_what_another_run_performs_is_waited_for_and_then_skipped(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        await w.call(group="g", to=[ADA])
        with database.writing() as session:
            session.connection().execute(sa.update(Effect).values(state="performing", owner=w.runtime.owner))
        calling = asyncio.create_task(w.call(group="g", to=[ADA, BOB]))
        await until(lambda: BOB in w.sent(), what="nothing that is free waits for others")
        with database.writing() as session:
            session.connection().execute(sa.update(Effect).where(col(Effect.subject) == ADA).values(state="done"))
        _, ending = await calling
        assert ending is not None and ending.result is not None and (ending.result["done"], ending.result["skipped"]) == (1, 1)


async def test_nobody_of_another_tenant_sees_or_decides_anything(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "lose_reply"}]
    async with world(database, sandbox, script=script) as w:
        begun, _ = await w.call(group="g", to=[ADA, BOB])
        (unknown,) = views.list_effects(CALLER, database, state="unknown")["items"]
        waiting, _ = await w.call(here=False, group="g", to=[CAT])
        lists = [
            views.list_runs(STRANGER, database)["items"],
            views.list_ledgers(STRANGER, database)["items"],
            views.list_effects(STRANGER, database, state="unknown")["items"],
            views.count_effects(STRANGER, database),
        ]
        assert lists == [[], [], [], []]
        assert views.count_ledger(STRANGER, database, "notes", "g") == {} and views.open_runs(STRANGER, database) == 0
        for look in (
            lambda: views.read_run(STRANGER, database, begun.run_id),
            lambda: views.read_steps(STRANGER, database, begun.run_id),
            lambda: views.read_logs(STRANGER, database, begun.run_id),
            lambda: views.read_ledger(STRANGER, database, "notes", "g"),
            lambda: views.export_ledger(STRANGER, database, "notes", "g"),
            lambda: views.read_effect(STRANGER, database, unknown["effect_id"]),
            lambda: decisions.resolve_effect(STRANGER, database, unknown["effect_id"], "abandon", "not mine at all"),
            lambda: decisions.cancel_run(STRANGER, database, waiting.run_id),
        ):
            with pytest.raises(NotFound):
                look()
        assert w.states()[BOB] == "unknown" and w.run(waiting.run_id)["state"] == "available"


async def test_two_processes_that_call_at_once_with_one_key_begin_one_run(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        other = w.another()
        await other.start()
        hows = []
        for number in range(20):
            identity = repository.Identity(f"k{number}", "f", None)
            call = Call({"group": "g", "to": []}, identity, here=False)
            answers = await asyncio.gather(*(runtime.begin(CALLER, w.programs[1], call) for runtime in (w.runtime, other)))
            hows.append(sorted(begun.how for begun, _ in answers))
            assert len({begun.run_id for begun, _ in answers}) == 1
        assert hows == [["begun", "in_flight"]] * 20
        await other.stop()


async def test_a_run_that_outlives_its_keys_time_is_still_in_flight_and_an_old_answer_is_not(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        call = Call({"group": "g", "to": []}, repository.Identity("k", "f", 0), here=False)
        first, _ = await w.runtime.begin(CALLER, w.programs[1], call)
        again, _ = await w.runtime.begin(CALLER, w.programs[1], call)
        assert (again.how, again.run_id) == ("in_flight", first.run_id)
        await w.runtime.execute(first.run_id)
        anew, _ = await w.runtime.begin(CALLER, w.programs[1], call)
        assert anew.how == "begun" and anew.run_id != first.run_id


async def test_a_refusal_that_a_tool_has_seen_is_the_same_again_on_a_resume(database: Database, sandbox: Sandbox) -> None:
    source = """
    from toolkit import ToolError
    def run(args, ctx):
        try:
            ctx.read("nothing")
        except ToolError as error:
            ctx.perform("send", {"to": args["to"][0], "subject": error.code, "text": ctx.now().isoformat()})
        ctx.perform("send", {"to": args["to"][1], "subject": "Hello", "text": "Hi"})
        return {"done": 0}
    """
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "crash_before"}]
    async with world(database, sandbox, source, script, on_unknown="retry") as w:
        run_id, _ = await w.call_and_die(group="g", to=[ADA, BOB])
        steps = views.read_steps(CALLER, database, run_id)["items"]
        assert [step["kind"] for step in steps] == ["read refused", "perform"]
        ending = await w.runtime.execute(run_id)
        assert ending is not None and ending.state == "completed" and w.sent() == [ADA, BOB]


async def test_a_tool_that_asks_for_less_on_resume_is_stopped(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": CAT}, "answer": "crash"}]
    async with world(database, sandbox, TELLING, script) as w:
        run_id, _ = await w.call_and_die(group="g", to=[ADA, BOB, CAT])
        first = w.programs[1]
        less = TELLING.replace('args["to"]:', 'args["to"][:1]:')
        w.programs[1] = replace(first, digest=digest_text(less), files={**first.files, "tool.py": less})
        ending = await w.runtime.execute(run_id)
        assert ending is not None and (ending.error or {})["code"] == "nondeterminism" and (ending.error or {})["step"] == 2


async def test_the_limit_of_effects_holds_across_a_resume(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "crash_before"}]
    async with world(database, sandbox, TELLING, script, on_unknown="retry", limits={"per_run": 2}) as w:
        run_id, _ = await w.call_and_die(group="g", to=[ADA, BOB, CAT])
        ending = await w.runtime.execute(run_id)
        assert ending is not None and (ending.error or {})["code"] == "effect_limit_exceeded" and w.sent() == [ADA, BOB]


async def test_a_dry_run_that_is_resumed_has_a_whole_plan(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, TELLING) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": [ADA, BOB]}, dry_run=True))
        assert execution is not None
        execution.stop("leave")
        assert (await w.runtime.drive(execution)).state == "leave"
        ending = await w.runtime.execute(begun.run_id)
        assert ending is not None and [entry["key"][1] for entry in ending.plan or []] == [ADA, BOB] and w.sent() == []


async def test_a_cancellation_between_the_beginning_and_the_driving_is_not_lost(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": [ADA]}))
        assert execution is not None
        decisions.cancel_run(CALLER, database, begun.run_id)
        await until(lambda: begun.run_id in w.runtime._cancelled)
        assert (await w.runtime.drive(execution)).state == "cancelled" and w.sent() == []


async def test_a_crashed_run_that_was_cancelled_ends_without_a_guest(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "crash_before"}]
    async with world(database, sandbox, TELLING, script) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": [BOB]}))
        assert execution is not None
        decisions.cancel_run(CALLER, database, begun.run_id)
        await w.die()
        ending = await w.runtime.execute(begun.run_id)
        assert ending is not None and ending.state == "cancelled" and w.run(begun.run_id)["state"] == "cancelled"


async def test_progress_beyond_32_bits_is_kept(database: Database, sandbox: Sandbox) -> None:
    source = "def run(args, ctx):\n    ctx.progress(5_000_000_000, 6_000_000_000)\n    return {'done': 0}\n"
    async with world(database, sandbox, source) as w:
        begun, ending = await w.call(group="g", to=[])
        assert ending is not None and ending.state == "completed"
        assert w.run(begun.run_id)["progress"] == {"done": 5_000_000_000, "total": 6_000_000_000}


def test_ids_of_the_feed_are_not_given_again_when_every_line_has_expired(database: Database) -> None:
    with database.writing() as session:
        announce(session, "run.cancel", "a", "t")
    seen = feed.latest(database)
    with database.writing() as session:
        session.connection().execute(sa.delete(Change))
    with database.writing() as session:
        announce(session, "run.cancel", "b", "t")
    assert [signal.subject for signal in feed.since(database, seen)] == ["b"]


async def test_the_feed_goes_on_after_the_database_was_away(sqlite_database: Database) -> None:
    database = sqlite_database
    reading, away = database.reading, [False]
    told = Feed(database, interval_s=0.01)
    await told.start()

    def sometimes() -> Any:
        if away[0]:
            away[0] = False
            raise OperationalError("SELECT", None, Exception("disk I/O error"))
        return reading()

    database.reading = sometimes  # type: ignore[method-assign]  # a disk that fails once
    async with told.listen(lambda signal: True) as signals:
        away[0] = True
        with database.writing() as session:
            announce(session, "run.cancel", "a", "t")
        await until(lambda: not away[0])
        assert (await asyncio.wait_for(signals.get(), 5)).subject == "a"
    await told.stop()


async def test_one_bad_write_spoils_no_other_of_its_batch(database: Database) -> None:
    writer = GroupWriter(database)

    def write(session: Session, bodies: list[str]) -> list[int]:
        if "bad" in bodies:
            raise ValueError("bad")
        return [insert_missing(session, Payload.__table__, [{"digest": body, "body": body, "created_at": 1}]) for body in bodies]  # type: ignore[attr-defined]  # a table

    answers = [writer.put(write, body) for body in ("one", "bad", "two")]
    results = await asyncio.gather(*answers, return_exceptions=True)
    assert results[0] == results[2] == 1 and isinstance(results[1], ValueError)
    writer.close()


async def test_a_database_that_stays_locked_costs_a_batch_its_patience_once(sqlite_database: Database) -> None:
    writer, tries, first = GroupWriter(sqlite_database), [], threading.Event()

    def write(session: Session, arguments: list[int]) -> list[int]:
        first.wait(5)
        tries.append(len(arguments))
        raise OperationalError("UPDATE", None, Exception("database is locked"))

    answers = [writer.put(write, number) for number in range(50)]
    first.set()
    results = await asyncio.gather(*answers, return_exceptions=True)
    assert all(isinstance(result, OperationalError) for result in results) and sum(tries) == 50
    assert len(tries) <= 2
    writer.close()


@pytest.mark.parametrize("values", [["abc"], [True], [1 << 70], ["\ud800"], ["a\0b"], [None], [1, 2, 3], []])
def test_a_cursor_of_another_list_is_refused(database: Database, values: list[object]) -> None:
    with pytest.raises(Invalid, match="cursor_invalid"):
        views.list_effects(CALLER, database, state="dead", cursor=encode(values))


async def test_the_sweep_and_the_queue_ask_an_index_and_not_the_whole_table(sqlite_database: Database) -> None:
    asked: list[tuple[str, Any]] = []
    sa.event.listen(sqlite_database.engine, "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
    next_due(sqlite_database)
    sweep(sqlite_database)
    with sqlite_database.engine.connect() as connection:
        selects = [(text, values) for text, values in asked if text.startswith("SELECT") and ("FROM effect" in text or "FROM run" in text)]
        assert len(selects) == 2
        for text, values in selects:
            plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all())
            assert "effect_open" in plan or "run_open" in plan, plan


def test_what_a_run_met_is_counted_in_parts_that_lose_and_repeat_nothing(database: Database) -> None:
    many = 2 * repository.PART + 1
    states = ["done", "dead", "unknown"]
    with database.writing() as session:
        rows = [effect_row(number, "run_before", states[number % 3]) for number in range(many + 5)]
        session.connection().execute(sa.insert(Effect), rows[:many] + [{**row, "run_id": "run_now"} for row in rows[many:]])
        met = "INSERT INTO sighting (run_id, effect_seq, step, position) SELECT 'run_now', seq, 0, seq FROM effect WHERE position <> 7"
        session.connection().exec_driver_sql(met)
    with database.reading() as session:
        counted = repository.counts(session, "run_now")["send"]
    seen = [states[number % 3] for number in range(many) if number != 7]
    own = [states[number % 3] for number in range(many, many + 5)]
    assert counted == {
        "done": own.count("done"),
        "skipped": seen.count("done"),
        "retrying": 0,
        "failed": (seen + own).count("dead"),
        "unknown": (seen + own).count("unknown"),
        "distinct": many - 1 + 5,
    }


def effect_row(number: int, run_id: str, state: str) -> dict[str, Any]:
    named = {"tenant": "t", "tool": "send_notes", "version": 1, "effect": "send", "connector": "email.send", "on_unknown": "hold"}
    text = {"key": "[]", "item": "{}", "fingerprint": "f", "run_id": run_id, "state": state, "id": f"e{number:08d}"}
    return {**named, **text, "step": 0, "position": number, "fence": 0, "attempts": 0, "crashes": 0, "created_at": 1, "updated_at": 1}
