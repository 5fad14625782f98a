"""Rows that many want: what gives them back waits for who is just looking at them, and a long queue holds up no other writer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import Session

from app.core.actor import SYSTEM
from app.core.db import Database
from app.runtime import queue
from app.runtime.flow.pausing import begin_pause, pauses_of
from app.runtime.models import Effect, EffectEvent, Ledger, Payload, Sighting, Step
from app.runtime.repository import runs as repository
from app.runtime.repository.effects import Claim, FencedOut, effects
from app.runtime.repository.flow import set_pause
from app.runtime.repository.planning import Intent, Plan, plan_chunks
from app.runtime.repository.recovery import cancel_open, drop_claims
from tests.support.held import held
from tests.support.waiting import until

CLAIMED = [Claim(name, "own_a", 1) for name in ("e1", "e2")]


def plan(run: str, owner: str) -> Plan:
    intents = [Intent(claim.id, place, "[]", None, None, "{}", "f", None, {}) for place, claim in enumerate(CLAIMED)]
    return Plan("t", "tool", 1, "send", "email.send", None, False, "hold", run, 1, owner, 1, intents)


def gone_on(database: Database, thread: threading.Thread) -> bool:
    """Whether the thread is over, or waits for the database."""
    if database.is_sqlite or not thread.is_alive():
        return True
    with database.reading() as session:
        return bool(session.connection().exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar())


@pytest.mark.parametrize(
    ("give_back", "state"),
    [
        (lambda session: drop_claims(session, [CLAIMED]), "planned"),
        (lambda session: cancel_open(session, "run_a"), "cancelled"),
    ],
    ids=["dropped", "cancelled"],
)
def test_what_a_run_gives_back_is_free_even_if_another_run_is_just_looking_at_it(
    database: Database, give_back: Callable[[Session], object], state: str
) -> None:
    with database.writing() as session:
        held(session, "run_a", "own_a")
        held(session, "run_b", "own_b")
        plan_chunks(session, [plan("run_a", "own_a")])

    def end() -> None:
        with database.writing() as session:
            give_back(session)

    ending = threading.Thread(target=end)
    with database.writing() as session:
        (answers,) = plan_chunks(session, [plan("run_b", "own_b")])
        assert {answer.decision for answer in answers} == {"wait"}
        ending.start()
        until(lambda: gone_on(database, ending), what="the run has ended, or waits until the other has looked")
    ending.join(10)
    with database.reading() as session:
        assert set(session.connection().execute(sa.select(Effect.state)).scalars()) == {state}  # type: ignore[call-overload]  # SQLModel's column types


@pytest.mark.parametrize(
    ("owner", "fence", "state"),
    [("own_b", 2, "executing"), ("own_a", 2, "executing"), (None, 2, "scheduled"), (None, 1, "cancelled")],
    ids=["taken over", "taken again", "given up", "over"],
)
def test_who_holds_a_run_no_longer_claims_nothing_for_it_and_writes_nothing_into_its_journal(
    database: Database, owner: str | None, fence: int, state: str
) -> None:
    step = {"run_id": "run_a", "step": 1, "chunk": 0, "kind": "read", "name": "all", "request": "r", "answer": "1", "payload": None}
    journal = ([step | {"items": 1, "at": 0, "duration_ms": 0}], [("digest", "text")])
    late = replace(plan("run_a", "own_a"), journal=journal)
    with database.writing() as session:
        held(session, "run_a", owner, fence, state)
    with pytest.raises(FencedOut), database.writing() as session:
        plan_chunks(session, [late])
    with database.writing() as session:
        written = (Effect, EffectEvent, Step, Payload, Sighting, Ledger)
        assert [session.connection().execute(sa.select(sa.func.count()).select_from(table)).scalar() for table in written] == [0] * 6
        held(session, "run_a", "own_a")
        (answers,) = plan_chunks(session, [late])
        assert {answer.decision for answer in answers} == {"claim"}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_nobody_takes_a_run_over_while_its_holder_is_just_planning(database: Database) -> None:
    with database.writing() as session:
        held(session, "run_a", "own_a")
    with database.writing() as planning, database.writing() as sweeping:
        plan_chunks(planning, [plan("run_a", "own_a")])
        assert repository.abandon(sweeping, ["own_a"]) == [], "it is left to the next sweep"
    with database.writing() as session:
        assert repository.abandon(session, ["own_a"]) == ["run_a"]


def test_what_has_been_due_longest_is_taken_first_and_a_long_queue_is_not_sorted_for_it(sqlite_database: Database) -> None:
    with sqlite_database.writing() as session:
        held(session, "run_a", "own_a")
        plan_chunks(session, [plan("run_a", "own_a")])
        for claim, state, due in ((CLAIMED[0], "planned", 2), (CLAIMED[1], "retry_wait", 1)):
            values = {"state": state, "next_at": due, "owner": None}
            session.connection().execute(sa.update(Effect).where(effects.c.id == claim.id).values(**values))
    asked: list[tuple[str, Any]] = []
    sa.event.listen(sqlite_database.engine, "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
    for expected in ("e2", "e1"):
        claimed: list[queue.Due] = []
        queue._claim_due(sqlite_database, "own_b", 1, claimed)
        assert [due.id for due in claimed] == [expected]
    ordered = [(text, values) for text, values in asked if "FROM effect" in text and "ORDER BY" in text]
    assert ordered
    with sqlite_database.engine.connect() as connection:
        for text, values in ordered:
            steps = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all())
            assert "effect_open" in steps and "TEMP B-TREE" not in steps, steps


def test_two_who_pause_at_once_both_have_paused(database: Database) -> None:
    told: list[str] = []
    pausing = threading.Thread(target=lambda: told.append(begin_pause(SYSTEM, database, "everything", "", "the second")["reason"]))
    with database.writing() as session:
        set_pause(session, SYSTEM, "everything", "", "the first")
        session.flush()
        pausing.start()
        until(lambda: gone_on(database, pausing), what="the second has paused, or waits for the first")
    pausing.join(10)
    assert told == ["the second"]
    assert [row["reason"] for row in pauses_of(database, SYSTEM.tenant)] == ["the second"]
