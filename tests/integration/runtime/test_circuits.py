"""Circuits through the real runtime: what does not answer costs few attempts, and is tried again until it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import sqlalchemy as sa
from sqlmodel import select

from app.connectors import lifelike
from app.connectors.port import Reply, Request
from app.connectors.scripted import ScriptedEmail
from app.connectors.smtp_connection import SmtpReply
from app.connectors.smtp_pool import Delivery
from app.core.actor import DEFAULT_TENANT
from app.core.clock import from_iso
from app.core.db import Database
from app.observability.models import AuditEvent
from app.runtime import views
from app.runtime.flow.limits import Fuse, Limits
from app.runtime.flow.pausing import circuits_of
from app.runtime.queue import next_due, work_queue, workable
from app.sandbox.sandbox import Sandbox
from tests.support.stalls import until_within
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, World, world

pytestmark = pytest.mark.anyio
MANY = [f"n{number}@example.org" for number in range(300)]
LANES = 8  # of the scripted twin
QUICK = Limits(fuse=Fuse(failures=5, rest_ms=150, longest_ms=300))
SLOW = Limits(fuse=Fuse(failures=5, rest_ms=60_000, longest_ms=60_000))
AWAY = {"effect": "send", "when": {}, "answer": "refuse_now"}


@pytest.fixture
def overloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What refuses for now is the server itself, and not a mailbox."""
    monkeypatch.setitem(lifelike._MAIL, "refuse_now", [Delivery(SmtpReply(451, ("4.3.0 Temporary system problem",)))])


def attempts(database: Database) -> int:
    with database.reading() as session:
        return int(session.connection().execute(sa.text("SELECT sum(attempts) FROM effect")).scalar_one())


def actions(database: Database) -> list[str]:
    with database.reading() as session:
        found = session.exec(select(AuditEvent.action).where(AuditEvent.action.startswith("circuit.")).order_by(AuditEvent.id))  # type: ignore[arg-type]  # SQLModel's column types
        return list(found)


@pytest.mark.usefixtures("overloaded")
async def test_what_is_away_costs_few_attempts_and_the_run_completes_with_everyone_in_the_retry_queue(
    database: Database, sandbox: Sandbox
) -> None:
    async with world(database, sandbox, flow=SLOW, script=[AWAY]) as w:
        begun, ending = await w.call(group="g", to=MANY)
        assert ending is not None and ending.state == "completed" and ending.result is not None
        assert ending.result["retrying"] == len(MANY) and w.run(begun.run_id)["effects"]["send"]["retrying"] == len(MANY)
        assert attempts(database) <= 5 + LANES
        await until(lambda: len(circuits_of(database, DEFAULT_TENANT)) == 1, what="the circuit is open for all to see")
        (circuit,) = circuits_of(database, DEFAULT_TENANT)
        assert (circuit["connector"], circuit["tool"], circuit["state"]) == ("email.send", "send_notes", "open")
        assert circuit["error"] == "smtp_451" and actions(database) == ["circuit.opened"]
        rows = views.list_effects(CALLER, database, state="retry_wait", limit=500)["items"]
        assert len(rows) == len(MANY)
        untried = [row for row in rows if row["attempts"] == 0]
        assert {row["error"]["code"] for row in untried} == {"circuit_open"}
        trial_at = from_iso(circuit["trial_at"])
        assert all(abs(from_iso(row["next_at"]) - trial_at) < SLOW.fuse.rest_ms / 2 for row in untried), "they wait for the next trial"


@pytest.mark.usefixtures("overloaded")
async def test_nothing_is_attempted_while_a_circuit_rests_not_even_by_the_queue_of_another_process(
    database: Database, sandbox: Sandbox
) -> None:
    async with world(database, sandbox, flow=SLOW, script=[AWAY]) as w:
        await w.call(group="g", to=MANY)
        await until(lambda: len(circuits_of(database, DEFAULT_TENANT)) == 1, what="the circuit is open")
        before = attempts(database)
        other = w.another()
        await other.start()
        try:
            with database.writing() as session:
                session.connection().execute(sa.text("UPDATE effect SET next_at = 1"))
            assert next_due(database, workable(other)) is None and await work_queue(other) == 0
            assert attempts(database) == before
            w.runtime, mine = other, w.runtime
            _, ending = await w.call(group="h", to=["late@example.org"])
            w.runtime = mine
            assert ending is not None and ending.result is not None and ending.result["retrying"] == 1
            assert attempts(database) == before, "the other process knows that it is open"
        finally:
            await other.stop()


@pytest.mark.usefixtures("overloaded")
async def test_one_trial_at_a_time_finds_out_that_it_answers_again_and_then_everyone_is_sent_to_once(
    database: Database, sandbox: Sandbox
) -> None:
    script = [AWAY | {"times": 16}]
    async with world(
        database, sandbox, flow=QUICK, script=script, retry={"max_attempts": 20, "initial_delay_s": 0.1, "factor": 1, "max_delay_s": 0.1}
    ) as w:
        _, ending = await w.call(group="g", to=MANY)
        assert ending is not None and ending.state == "completed"

        async def worked() -> bool:
            await work_queue(w.runtime)
            return len(w.sent()) == len(MANY)

        await until(worked, 20.0, "everyone is sent to")
        assert sorted(w.sent()) == sorted(MANY) and attempts(database) == len(MANY) + 16
        await until(lambda: circuits_of(database, DEFAULT_TENANT) == [], what="the circuit is closed")
        assert actions(database) == ["circuit.opened", "circuit.closed"]


@pytest.mark.usefixtures("overloaded")
async def test_a_trial_that_fails_doubles_the_rest_up_to_the_longest(sqlite_database: Database, sandbox: Sandbox) -> None:
    async with world(
        sqlite_database,
        sandbox,
        flow=QUICK,
        script=[AWAY],
        retry={"max_attempts": 2, "initial_delay_s": 0.1, "factor": 1, "max_delay_s": 0.1},
    ) as w:
        await w.call(group="g", to=MANY[:20])
        before = attempts(sqlite_database)

        async def tried() -> bool:
            await work_queue(w.runtime)
            found = circuits_of(sqlite_database, DEFAULT_TENANT)
            return bool(found) and found[0]["trials"] >= 4

        await until(tried, 10.0, "four trials have failed")
        assert {row["state"] for row in views.read_ledger(CALLER, sqlite_database, "notes", "g")["items"]} == {"retry_wait"}, "none is dead"
        (circuit,) = circuits_of(sqlite_database, DEFAULT_TENANT)
        assert attempts(sqlite_database) - before <= circuit["trials"] + 1
        with sqlite_database.reading() as session:
            assert session.connection().execute(sa.text("SELECT rest_ms FROM open_circuit")).scalar_one() == 300


@pytest.mark.usefixtures("overloaded")
async def test_a_reply_that_is_lost_again_and_again_opens_it_and_leaves_few_unknowns(sqlite_database: Database, sandbox: Sandbox) -> None:
    async with world(sqlite_database, sandbox, flow=SLOW, script=[AWAY | {"answer": "lose_reply"}]) as w:
        _, ending = await w.call(group="g", to=MANY)
        assert ending is not None and ending.result is not None
        assert ending.result["unknown"] <= 5 + LANES and ending.result["unknown"] + ending.result["retrying"] == len(MANY)


async def test_mailboxes_that_are_busy_for_good_die_at_their_cap_and_stop_no_mail_to_others(
    sqlite_database: Database, sandbox: Sandbox
) -> None:
    busy = MANY[:20]
    script = [{"effect": "send", "when": {"to": to}, "answer": "refuse_now", "times": 9} for to in busy]
    async with world(sqlite_database, sandbox, flow=SLOW, script=script) as w:
        await w.call(group="g", to=busy)
        for _ in range(2):
            with sqlite_database.writing() as session:
                session.connection().execute(sa.text("UPDATE effect SET next_at = 1"))
            await work_queue(w.runtime)
        assert set(w.states().values()) == {"dead"} and actions(sqlite_database) == []
        _, ending = await w.call(group="g", to=MANY)
        assert ending is not None and ending.result is not None and ending.result["done"] == len(MANY) - len(busy)


@pytest.mark.usefixtures("overloaded")
async def test_refusals_for_good_are_answers_and_open_nothing(sqlite_database: Database, sandbox: Sandbox) -> None:
    async with world(sqlite_database, sandbox, flow=SLOW, script=[AWAY | {"answer": "refuse_for_good"}]) as w:
        _, ending = await w.call(group="g", to=MANY)
        assert ending is not None and ending.result is not None and ending.result["failed"] == len(MANY)
        assert circuits_of(sqlite_database, DEFAULT_TENANT) == []


@contextmanager
def asleep(w: World, number: int) -> Iterator[None]:
    """The process sleeps past its lease while so many e-mails are in flight, whose answers come when it wakes."""
    covered, asked = w.runtime.engine.lease_until, []
    perform = ScriptedEmail.perform

    async def late(port: ScriptedEmail, request: Request) -> Reply:
        asked.append(request)
        await until(lambda: len(asked) == number, what="all are in flight")
        w.runtime.engine.lease_until = lambda: 0
        return await perform(port, request)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ScriptedEmail, "perform", late)
        yield
    w.runtime.engine.lease_until = covered


@pytest.mark.usefixtures("overloaded")
async def test_what_fails_because_its_process_has_slept_past_its_lease_opens_no_circuit(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, flow=SLOW, script=[AWAY | {"times": LANES}]) as w:
        with asleep(w, LANES):
            await w.call(group="g", to=MANY[:LANES])
        assert attempts(database) == LANES and w.sent() == []
        _, ending = await w.call(group="h", to=MANY[:LANES])
        assert ending is not None and ending.result is not None and ending.result["done"] == LANES
        assert actions(database) == []


@pytest.mark.usefixtures("overloaded")
async def test_a_trial_that_its_process_has_slept_through_says_nothing_and_is_made_again(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, flow=QUICK, script=[AWAY | {"times": 6}]) as w:
        await w.call(group="g", to=MANY[:5])
        await until(lambda: circuits_of(database, DEFAULT_TENANT), what="the circuit is open")

        async def tried(number: int) -> bool:
            await work_queue(w.runtime, 1)
            return attempts(database) == number

        with asleep(w, 1):
            await until(lambda: tried(6), what="a trial is slept through")
        (circuit,) = circuits_of(database, DEFAULT_TENANT)
        assert circuit["trials"] == 0, "it did not fail"
        with database.writing() as session:  # nobody tries before the time of that trial is over
            session.connection().execute(sa.text("UPDATE open_circuit SET trial_at = 1"))
        await until(lambda: tried(7), what="another trial is made")
        await until(lambda: not circuits_of(database, DEFAULT_TENANT), what="it closes the circuit")


@asynccontextmanager
async def neighbour(w: World, database_url: str) -> AsyncIterator[World]:
    """Another process on the same database, running all the while: it shares the tables and the world that is sent to, nothing else."""
    database = Database(database_url, durable=False)
    there = World(database, w.sandbox, w.connectors, w.programs, w.lease_s, w.flow)
    await there.start()
    try:
        yield there
    finally:
        await there.stop()
        database.close()


def knows(w: World) -> bool:
    """Whether the process knows of an open circuit."""
    return w.runtime.flow is not None and bool(w.runtime.flow.circuits(DEFAULT_TENANT))


@pytest.mark.usefixtures("overloaded")
async def test_a_circuit_that_one_process_opens_is_open_in_the_other_within_a_second_and_is_closed_there_as_soon(
    database_url: str, database: Database, sandbox: Sandbox
) -> None:
    flow = Limits(fuse=Fuse(failures=5, rest_ms=2_500, longest_ms=2_500))
    async with world(database, sandbox, flow=flow, script=[AWAY | {"times": 5}]) as w, neighbour(w, database_url) as there:
        await w.call(group="g", to=MANY[:5])
        await until(lambda: circuits_of(database, DEFAULT_TENANT), what="the circuit is open")
        await until_within(1.0, lambda: knows(there), "the other process knows of it within a second")
        before = attempts(database)
        _, ending = await there.call(group="h", to=MANY[:50])
        assert ending is not None and ending.result is not None and ending.result["retrying"] == 50
        assert attempts(database) == before and w.sent() == []

        async def tried() -> bool:
            await work_queue(w.runtime, 1)
            return not circuits_of(database, DEFAULT_TENANT)

        await until(tried, what="a trial of the first process closes it")
        await until_within(1.0, lambda: not knows(there), "the other process knows of that within a second")
        _, ending = await there.call(group="i", to=MANY[:3])
        assert ending is not None and ending.result is not None and ending.result["done"] == 3


@pytest.mark.usefixtures("overloaded")
async def test_two_processes_that_both_have_much_to_try_make_one_trial_at_a_time(
    database_url: str, database: Database, sandbox: Sandbox
) -> None:
    retry = {"max_attempts": 20, "initial_delay_s": 0.1, "factor": 1, "max_delay_s": 0.1}
    async with world(database, sandbox, flow=QUICK, script=[AWAY], retry=retry) as w, neighbour(w, database_url) as there:
        await w.call(group="g", to=MANY[:60])
        await until(lambda: knows(w) and knows(there), what="both know that it is open")
        before, closing = attempts(database), asyncio.Event()

        async def work(process: World) -> None:
            while not closing.is_set():
                with database.writing() as session:  # nobody waits for its own turn, so that all that holds them back is the circuit
                    session.connection().execute(sa.text("UPDATE effect SET next_at = 1 WHERE state IN ('retry_wait', 'planned')"))
                await work_queue(process.runtime)
                await process.call(group="h", to=MANY[60:62])

        working = [asyncio.create_task(work(process)) for process in (w, w, there, there)]
        try:
            await until(lambda: trials(database) >= 3, what="three trials have failed")
        finally:
            closing.set()
            await asyncio.gather(*working)
        await until(lambda: trials(database) == attempts(database) - before, what="each attempt since was a trial, and each was counted")
        assert actions(database) == ["circuit.opened"] and w.sent() == []


def trials(database: Database) -> int:
    return sum(circuit["trials"] for circuit in circuits_of(database, DEFAULT_TENANT))
