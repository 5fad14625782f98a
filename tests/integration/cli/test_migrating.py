"""Migration: a backup before anything is changed, one at a time, and no work on a schema that does not fit."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command

from app.cli.__main__ import main
from app.core import migration
from app.core.db import Database
from app.core.errors import Failed, Unavailable
from tests.support.postgres import PostgresServer
from tests.support.processes import ROOT


def at_revision(path: Path, revision: str) -> Database:
    """A database that says it is at `revision` and holds one row of somebody's."""
    database = Database(f"sqlite:///{path}", durable=False)
    with database.writing() as session:
        session.connection().exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        if revision:
            session.connection().exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{revision}')")
        session.connection().exec_driver_sql("CREATE TABLE keepsake (word TEXT)")
        session.connection().exec_driver_sql("INSERT INTO keepsake VALUES ('mine')")
    return database


def test_an_existing_database_is_copied_before_it_is_migrated(tmp_path: Path) -> None:
    database = at_revision(tmp_path / "toolmint.db", "")
    done = migration.migrate(database, tmp_path / "backups")
    assert done.backup is not None and done.backup.stat().st_mode & 0o077 == 0
    with sqlite3.connect(done.backup) as copy:
        assert copy.execute("SELECT word FROM keepsake").fetchall() == [("mine",)]
        assert copy.execute("SELECT count(*) FROM sqlite_master WHERE name = 'run'").fetchone() == (0,)
    copy.close()
    assert migration.current(database) == migration.head()


def test_the_last_five_backups_are_kept(tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    for day in range(1, 8):
        (backups / f"toolmint-2026010{day}T000000.000000-old.db").write_text("")
    migration.migrate(at_revision(tmp_path / "toolmint.db", ""), backups)
    kept = sorted(path.name for path in backups.iterdir())
    assert len(kept) == migration.KEPT_BACKUPS
    assert kept[0].startswith("toolmint-20260104") and "unversioned" in kept[-1]


def test_a_database_of_a_later_release_is_left_alone(tmp_path: Path) -> None:
    database = at_revision(tmp_path / "toolmint.db", "9999")
    with pytest.raises(Failed, match="database_too_new"):
        migration.migrate(database, tmp_path / "backups")
    assert not (tmp_path / "backups").exists()


def test_a_failed_migration_changes_nothing(tmp_path: Path) -> None:
    database = at_revision(tmp_path / "toolmint.db", "")
    with database.writing() as session:
        session.connection().exec_driver_sql("CREATE TABLE usage (in_the_way TEXT)")
    with pytest.raises(Exception, match="already exists"):
        migration.migrate(database, tmp_path / "backups")
    with database.reading() as session:
        names = session.connection().exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
    assert set(names) == {"alembic_version", "keepsake", "usage"}


def test_work_on_an_old_schema_is_refused(tmp_path: Path) -> None:
    database = at_revision(tmp_path / "toolmint.db", "")
    with pytest.raises(Unavailable, match="database_not_migrated"):
        migration.check(database)


def test_two_processes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    at_revision(tmp_path / "toolmint.db", "").close()
    migrating = [sys.executable, "-m", "app.cli", "migrate"]
    environment = {**os.environ, "TOOLMINT_HOME": str(tmp_path)}
    both = [subprocess.Popen(migrating, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert len(list((tmp_path / "backups").iterdir())) == 1, said
    assert sum("Migrated from" in text for text in said) == 1, said


def test_that_postgresql_is_migrated_without_a_copy_is_said_before(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = postgres.create()
    monkeypatch.setenv("TOOLMINT_HOME", str(tmp_path))
    monkeypatch.setenv("TOOLMINT_DATABASE_URL", postgres.url(name))
    assert main(["migrate"]) == 0 and "pg_dump" not in capsys.readouterr().out, "an empty one holds nothing"
    database = Database(postgres.url(name))
    with database.writing() as session:
        session.connection().exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        config = migration._config()
        config.attributes["connection"] = session.connection()
        command.upgrade(config, "0001")
    database.close()
    assert main(["migrate"]) == 0
    said = capsys.readouterr().out
    assert said.index("pg_dump") < said.index("Migrated from 0001") and not (tmp_path / "backups").exists()
    postgres.drop(name)


def test_events_and_sightings_of_an_earlier_release_are_found_by_their_effects_number(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'toolmint.db'}", durable=False)
    texts = ("tenant", "tool", "effect", "connector", "key", "run_id", "item", "fingerprint", "on_unknown", "state")
    numbers = ("version", "step", "position", "fence", "attempts", "crashes", "created_at", "updated_at")
    with database.writing() as session:
        connection = session.connection()
        config = migration._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        for seq, name in ((7, "a"), (9, "b")):
            values = ", ".join([str(seq), f"'{name}'", *["'x'"] * len(texts), *["1"] * len(numbers)])
            connection.exec_driver_sql(f"INSERT INTO effect (seq, id, {', '.join(texts)}, {', '.join(numbers)}) VALUES ({values})")
        for name in ("b", "a", "b"):
            event = "INSERT INTO effect_event (effect_id, before, after, at, fence, actor) VALUES (?, 'new', 'planned', 1, 0, 'run_1')"
            connection.exec_driver_sql(event, (name,))
            sighting = "INSERT INTO sighting (run_id, effect_id, step, position) VALUES ('run_2', ?, 1, 4) ON CONFLICT DO NOTHING"
            connection.exec_driver_sql(sighting, (name,))
    migration.migrate(database, tmp_path / "backups")
    with database.reading() as session:
        found = session.connection().exec_driver_sql("SELECT seq, effect_seq, effect_id FROM effect_event ORDER BY seq").all()
        met = session.connection().exec_driver_sql("SELECT run_id, effect_seq, step, position FROM sighting ORDER BY effect_seq").all()
    assert [tuple(row) for row in found] == [(1, 9, "b"), (2, 7, "a"), (3, 9, "b")]
    assert [tuple(row) for row in met] == [("run_2", 7, 1, 4), ("run_2", 9, 1, 4)]
    database.close()
