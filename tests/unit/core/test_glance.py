"""A glance at the database: cheap, and never wrong where it answers."""

from __future__ import annotations

from pathlib import Path

from sqlmodel import SQLModel

from app.core import outbox
from app.core.db import Database

QUERY = "SELECT 1 FROM outbox_job WHERE due_at <= ? LIMIT 1"


def _database(folder: Path) -> Database:
    database = Database(f"sqlite:///{folder / 'glance.db'}")
    SQLModel.metadata.create_all(database.engine)
    return database


def test_a_glance_sees_what_another_connection_has_committed(tmp_path: Path) -> None:
    database, other = _database(tmp_path), Database(f"sqlite:///{tmp_path / 'glance.db'}")
    assert database.glance(QUERY, 10) is False
    with other.writing() as session:
        outbox.enqueue(session, "work_queue", "effects", due_at=5)
        session.flush()
        assert database.glance(QUERY, 10) is False
    assert database.glance(QUERY, 10) is True
    assert database.glance(QUERY, 4) is False
    database.close()
    other.close()


def test_a_glance_that_cannot_tell_says_so(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    assert database.glance(QUERY, 10) is None
    assert not outbox.nothing_due(database)
    database.close()


def test_nothing_is_due_until_the_time_has_come(tmp_path: Path) -> None:
    database = _database(tmp_path)
    assert outbox.nothing_due(database)
    with database.writing() as session:
        outbox.enqueue(session, "work_queue", "later", due_at=database.clock.now() + 3_600_000)
    assert outbox.nothing_due(database)
    with database.writing() as session:
        outbox.enqueue(session, "work_queue", "effects")
    assert not outbox.nothing_due(database)
    assert [job.subject for job in outbox.pending(database)] == ["effects"]
    database.close()
