"""Bring a database to the newest schema: Alembic's revisions in one transaction, after a backup of what is there.

Two processes may start at once: the second waits for the first one's transaction and then finds nothing to do.

It refuses to be: a list of tables. Those are read by `alembic/env.py`, which this module only runs.
"""

from __future__ import annotations

import functools
import hashlib
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.core.db import Database
from app.core.errors import Failed, Unavailable

ROOT = Path(__file__).resolve().parents[2]
KEPT_BACKUPS = 5
_TURN = 7_140_012  # PostgreSQL: the advisory lock that migrating processes take in turn


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a migration did: revisions before (None: an empty database) and after, and the backup that was taken."""

    before: str | None
    after: str
    backup: Path | None


@functools.cache
def digest() -> str:
    """SHA-256 (hex) of every migration's text: what tells two schemas apart that share a revision."""
    texts = [path.read_bytes() for path in sorted((ROOT / "alembic" / "versions").glob("*.py"))]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


@functools.cache
def head() -> str:
    """The newest revision that this release knows."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise Failed("migrations_missing", f"There are no migrations under {ROOT / 'alembic'}.", fix="Install from a full checkout.")
    return revision


def current(database: Database) -> str | None:
    """The revision of this database; None if it is empty."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def check(database: Database) -> None:
    """Raise Unavailable `database_not_migrated` unless the database is at the newest revision."""
    found = current(database)
    if found != head():
        raise Unavailable(
            "database_not_migrated",
            f"The database is at revision {found or 'none'}, this release needs {head()}.",
            fix="Run `toolmint migrate` (`toolmint up` does it by itself).",
            retryable=False,
        )


def uncopied(database: Database) -> bool:
    """Whether `migrate` would change a database with something in it without a copy: one of PostgreSQL."""
    return not database.is_sqlite and current(database) not in (None, head())


def migrate(database: Database, backups: Path) -> Migrated:
    """Upgrade to the newest revision. An existing SQLite database is copied to `backups` first; the last five are kept.

    Raises Failed `database_too_new` if a later release has been here.
    """
    if current(database) == head():
        return Migrated(head(), head(), None)
    with database.writing() as session:
        connection = session.connection()
        if not database.is_sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_TURN})")
        before = MigrationContext.configure(connection).get_current_revision()
        if before == head():
            return Migrated(before, before, None)
        _refuse_unknown(before)
        backup = _back_up(database, backups, before) if sa.inspect(connection).get_table_names() else None
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return Migrated(before, head(), backup)


def _config() -> Config:
    return Config(toml_file=ROOT / "pyproject.toml")


def _refuse_unknown(revision: str | None) -> None:
    if revision is None:
        return
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if revision not in known:
        raise Failed(
            "database_too_new",
            f"The database is at revision {revision}, which this release does not know.",
            fix="Run the release that wrote it, or restore a backup.",
        )


def _back_up(database: Database, backups: Path, revision: str | None) -> Path | None:
    if database.path is None:
        return None
    backups.mkdir(parents=True, exist_ok=True, mode=0o700)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    copy = backups / f"{database.path.stem}-{stamp}-{revision or 'unversioned'}.db"
    source, target = sqlite3.connect(database.path), sqlite3.connect(copy)
    try:
        source.backup(target)
    finally:
        target.close()
        source.close()
    copy.chmod(0o600)
    for old in sorted(backups.glob(f"{database.path.stem}-*.db"))[:-KEPT_BACKUPS]:
        old.unlink()
    return copy
