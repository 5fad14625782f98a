"""How a database finds what is asked of it: by an index that names few rows, in order, however many runs and effects there are.

SQLite's planner knows nothing of how many rows a tenant has, so each question is put such that only the right index fits.
PostgreSQL decides by what it knows of the rows, so it is asked with many of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlmodel import Session

from app.core.actor import Actor
from app.core.db import Database
from app.runtime import queue, views
from app.runtime.causes import list_causes
from app.runtime.open_calls import count_open
from app.runtime.recovery import due_runs
from app.runtime.repository import recovery, retention, runs
from app.runtime.repository.effects import Claim
from tests.support.postgres import PostgresServer
from tests.support.worlds import CALLER

ALL = Actor("key_all", "all", "default", frozenset({"*"}))
CLAIMS = [Claim(f"e{number}", "owner_1", 1) for number in range(3)]


def reading(ask: Callable[[Session], object]) -> Callable[[Database], object]:
    def look(database: Database) -> None:
        with database.writing() as session:
            ask(session)

    return look


def listed(database: Database) -> None:
    for actor in (ALL, CALLER):
        for tool in (None, "send_notes"):
            for state in (None, "failed"):
                views.list_runs(actor, database, tool=tool, state=state)
                views.list_runs(actor, database, tool=tool, state=state, cursor="WyJydW5fMSJd")


ASKED: dict[str, Callable[[Database], object]] = {
    "lists of runs": listed,
    "how many runs are open": lambda database: views.open_runs(ALL, database),
    "how many calls of a tool are open": lambda database: count_open(database, "default", tool="send_notes"),
    "what needs somebody": lambda database: views.count_effects(ALL, database),
    "a queue": lambda database: views.list_effects(ALL, database, state="dead"),
    "causes": lambda database: list_causes(ALL, database, state="dead"),
    "the counts of a ledger": lambda database: views.count_ledger(ALL, database, "notes", "g"),
    "the counts of a run": reading(lambda session: runs.counts(session, "run_1")),
    "claims that are dropped": reading(lambda session: recovery.recover_claims(session, CLAIMS)),
    "a run that is cancelled": reading(lambda session: recovery.cancel_open(session, "run_1")),
    "runs that are due": due_runs,
    "when the next effect is due": queue.next_due,
    "how many effects are unknown": queue.note_unknown,
    "effects that a process held": reading(lambda session: recovery.recover(session, recovery.held_by(["owner_1"]))),
    "runs that a process drove": reading(lambda session: runs.abandon(session, ["owner_1"])),
    "journals that may go": reading(lambda session: (retention.prunable(session, 9_000), retention.being_pruned(session))),
}
ALLOWED_TO_SORT = {"what needs somebody", "a queue", "causes", "runs that are due"}
"""What they sort is what waits for somebody or something, found by the small indexes of that."""

MANY = (
    """
INSERT INTO run (id, tenant, tool, version, digest, reason, actor, trace_id, source, dry_run, state, args, seed, fence, crashes, due_at,
                 created_at, finished_at, kept, steps, cpu_ms, rss_kb, bytes_in, bytes_out)
SELECT 'run_' || i, 'default', 'send_notes', 1, 'd', '', 'key_1', 't', 'rest', false,
       CASE WHEN i % 5000 = 7 THEN 'failed' ELSE 'completed' END, 'a' || i, 's', 1, 0, 0, i, i, 'all', 1, 1, 1, 1, 1
FROM generate_series(1, 10000) i""",
    """
INSERT INTO effect (id, tenant, tool, version, effect, connector, key, run_id, step, position, ledger, ledger_group, subject, item,
                    fingerprint, on_unknown, state, fence, attempts, crashes, lookups, created_at, updated_at)
SELECT 'e' || i, 'default', 'send_notes', 1, 'send', 'email.send', '["k"]', 'run_' || i / 100, 0, i, 'notes',
       CASE i % 10 WHEN 0 THEN 'g' ELSE 'other' END, 's' || i, repeat('x', 300), 'f', 'hold',
       CASE WHEN i % 5000 = 5 THEN 'dead' WHEN i % 5000 = 6 THEN 'unknown' ELSE 'done' END, 1, 1, 0, 0, i, i
FROM generate_series(1, 20000) i""",
)


@pytest.fixture(scope="module")
def crowded(postgres: PostgresServer, postgres_template: str) -> Iterator[Database]:
    """A database with many runs and effects, nearly all of them done."""
    name = postgres.create(postgres_template)
    database = Database(postgres.url(name))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in (*MANY, "VACUUM ANALYZE run, effect"):
            connection.exec_driver_sql(statement.replace("%", "%%"))
    yield database
    database.close()
    postgres.drop(name)


def selects(database: Database, ask: Callable[[Database], object]) -> list[tuple[str, tuple[object, ...]]]:
    asked: list[tuple[str, tuple[object, ...]]] = []
    note = lambda *call: asked.append((call[2], call[3]))  # noqa: E731  # a value, so that it can be taken off again
    sa.event.listen(database.engine, "before_cursor_execute", note)
    ask(database)
    sa.event.remove(database.engine, "before_cursor_execute", note)
    found = [(text, values) for text, values in asked if text.startswith("SELECT") and re.search(r"FROM (effect|run)\b", text)]
    assert found
    return found


@pytest.mark.parametrize("name", ASKED)
def test_a_question_reads_what_it_is_about_and_not_the_whole_table(sqlite_database: Database, name: str) -> None:
    found = selects(sqlite_database, ASKED[name])
    with sqlite_database.engine.connect() as connection:
        for text, values in found:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
            assert not [step for step in plan if step in ("SCAN effect", "SCAN run")], (text, plan)
            assert "SEARCH effect USING INDEX effect_by_ledger (tenant=?)" not in plan, (text, plan)
            assert name in ALLOWED_TO_SORT or not [step for step in plan if step.startswith("USE TEMP B-TREE")], (text, plan)


@pytest.mark.parametrize("name", ASKED)
def test_postgresql_reads_what_a_question_is_about_and_not_the_whole_table(crowded: Database, name: str) -> None:
    found = selects(crowded, ASKED[name])
    with crowded.engine.connect() as connection:
        for text, values in found:
            plan = "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {text}", values))
            assert not re.search(r"Seq Scan on (effect|run)\b", plan), (text, plan)
