"""How the audit trail finds what its filters name: by an index, in order, however many events there are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from app.access.trail import read_audit
from app.core.actor import Actor
from app.core.db import Database
from tests.support.postgres import PostgresServer

AUDITOR = Actor("key_auditor", "auditor", "default", frozenset({"audit:read"}))
EVENTS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO audit_event (at, tenant, actor, action, target, outcome, body_digest, link)
SELECT i, 'default', CASE WHEN i % 9000 = 8 THEN 'key_rare' ELSE 'key_1' END,
       CASE WHEN i % 9000 = 7 THEN 'channel.set' ELSE 'run.started' END,
       'run_' || i, CASE WHEN i % 9000 = 9 THEN 'refused' ELSE 'done' END, 'd', 1 FROM n
"""
FOUND_BY = {
    "ix_audit_event_action": [
        {"action": "channel.set"},
        {"action": "channel"},
        {"action": "unheard"},
        {"action": "channel", "outcome": "done"},
    ],
    "ix_audit_event_actor": [{"by": "key_rare"}, {"by": "nobody"}],
    "ix_audit_event_target": [{"target": "run_7"}, {"target": "run_7", "action": "channel"}, {"target": "run_9", "outcome": "refused"}],
    "audit_event_not_done": [{"outcome": "refused"}, {"outcome": "failed"}, {"outcome": "refused", "action": "run.started"}],
}
CASES = [pytest.param(index, filters, id=str(filters)) for index, each in FOUND_BY.items() for filters in each]


@pytest.fixture(scope="module")
def crowded(postgres: PostgresServer, postgres_template: str) -> Iterator[Database]:
    """PostgreSQL decides by what it knows of the rows, so there are some."""
    name = postgres.create(postgres_template)
    database = Database(postgres.url(name))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(EVENTS.replace("%", "%%"))
        connection.exec_driver_sql("VACUUM ANALYZE audit_event")
    yield database
    database.close()
    postgres.drop(name)


def plans(database: Database, filters: dict[str, str], explain: str, column: int) -> list[str]:
    asked = []
    with database.engine.connect() as connection:
        sa.event.listen(database.engine, "before_cursor_execute", note := lambda *call: asked.append((call[2], call[3])))
        read_audit(AUDITOR, database, **filters)  # type: ignore[arg-type]  # each filter is a text
        read_audit(AUDITOR, database, cursor="WzE4MDAwXQ", **filters)  # type: ignore[arg-type]  # as above
        sa.event.remove(database.engine, "before_cursor_execute", note)
        pages = [(text, values) for text, values in asked if "ORDER BY audit_event.id" in text]
        assert pages
        return ["\n".join(row[column] for row in connection.exec_driver_sql(f"{explain} {text}", values)) for text, values in pages]


@pytest.mark.parametrize(("index", "filters"), CASES)
def test_postgresql_finds_rare_events_without_reading_the_others(crowded: Database, index: str, filters: dict[str, str]) -> None:
    assert all(index in plan for plan in plans(crowded, filters, "EXPLAIN", 0))


@pytest.mark.parametrize(("index", "filters"), [*CASES, ("ix_audit_event_action", {"action": "run"})])
def test_sqlite_finds_events_in_order_without_reading_the_others(sqlite_database: Database, index: str, filters: dict[str, str]) -> None:
    with sqlite_database.engine.begin() as connection:
        connection.exec_driver_sql(EVENTS)
    for plan in plans(sqlite_database, filters, "EXPLAIN QUERY PLAN", 3):
        assert f"USING INDEX {index}" in plan and "TEMP B-TREE" not in plan


def test_the_pages_of_a_noun_hold_the_events_of_all_its_actions_once_each(sqlite_database: Database) -> None:
    actions = ["run.started", "run.completed", "runs.other", "run.cancelled"]
    rows = [{"at": at, "action": actions[at % 4], "target": f"t{at}"} for at in range(40)]
    columns = "at, action, target, tenant, actor, outcome, body_digest"
    every = f"INSERT INTO audit_event ({columns}) VALUES (:at, :action, :target, 'default', 'k', 'done', 'd')"
    with sqlite_database.engine.begin() as connection:
        connection.execute(sa.text(every), rows)
    targets: list[str] = []
    cursor: str | None = None
    while cursor is not None or not targets:
        page = read_audit(AUDITOR, sqlite_database, action="run", cursor=cursor, limit=7)
        targets += [item["target"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert targets == [f"t{at}" for at in reversed(range(40)) if at % 4 != 2]
