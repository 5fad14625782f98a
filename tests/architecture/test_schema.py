"""The migrations make the schema that the tables describe, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from app import tables
from app.core import migration
from app.core.db import Database
from tests.support.postgres import PostgresServer


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without a table."""
    if request.param == "sqlite":
        yield Database(f"sqlite:///{tmp_path / 'empty.db'}", durable=False)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create()
    database = Database(server.url(name))
    yield database
    database.close()
    server.drop(name)


def differences(database: Database) -> list[Any]:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, tables.metadata))


def test_the_migrated_schema_is_that_of_the_tables(empty: Database, tmp_path: Path) -> None:
    done = migration.migrate(empty, tmp_path / "backups")
    assert (done.before, done.after, done.backup) == (None, migration.head(), None)
    assert differences(empty) == []


def test_a_difference_would_be_noticed(empty: Database, tmp_path: Path) -> None:
    migration.migrate(empty, tmp_path / "backups")
    with empty.writing() as session:
        session.connection().exec_driver_sql("DROP TABLE tenant")
    assert [change[0] for change in differences(empty)] == ["add_table"]


KEPT_FOR_EVER = {"effect", "effect_event", "ledger", "audit_event", "audit_link"}


ACTING = {
    "sqlite": """SELECT m.name || ' loses rows with ' || k."table" FROM sqlite_master m, pragma_foreign_key_list(m.name) k
        WHERE m.type = 'table' AND k.on_delete NOT IN ('NO ACTION', 'RESTRICT')
        UNION SELECT tbl_name || ' has a trigger' FROM sqlite_master WHERE type = 'trigger'""",
    "postgresql": """SELECT conrelid::regclass || ' loses rows with ' || confrelid::regclass FROM pg_constraint
        WHERE contype = 'f' AND confdeltype NOT IN ('a', 'r')
        UNION SELECT tgrelid::regclass || ' has a trigger' FROM pg_trigger WHERE NOT tgisinternal""",
}
"""Whatever in the schema deletes or changes rows that nobody named, as the database itself tells it."""


def ways_to_lose(database: Database) -> list[str]:
    with database.engine.connect() as connection:
        told = connection.execute(sa.text(ACTING[connection.dialect.name])).scalars()
        return [line for line in told if line.split(" ")[0] in KEPT_FOR_EVER]


def test_effects_their_events_and_the_audit_trail_cannot_be_cascaded_away(empty: Database, tmp_path: Path) -> None:
    migration.migrate(empty, tmp_path / "backups")
    assert set(sa.inspect(empty.engine).get_table_names()) >= KEPT_FOR_EVER
    assert ways_to_lose(empty) == []
    with empty.writing() as session:
        session.connection().exec_driver_sql("DROP TABLE sighting, effect" if not empty.is_sqlite else "DROP TABLE effect")
        session.connection().exec_driver_sql("CREATE TABLE effect (id TEXT, run_id VARCHAR REFERENCES run (id) ON DELETE CASCADE)")
    assert ways_to_lose(empty) == ["effect loses rows with run"]
