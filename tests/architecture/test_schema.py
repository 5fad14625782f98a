"""The migrations make the schema that the tables describe, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
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
