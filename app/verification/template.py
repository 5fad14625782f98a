"""The migrated empty database that every stage is a copy of: made once per schema, kept under HOME.

It refuses to be: a database that anything is written to.
"""

from __future__ import annotations

import threading
from pathlib import Path

from app.core import ids, migration
from app.core.db import Database

_ONE_AT_A_TIME = threading.Lock()
"""Alembic keeps the migration under way in its module, so that two threads of a process would run into each other."""


def template_database(home: Path) -> Path:
    """The template's file, made where it is missing (a second). Two processes may make it at once; each moves a whole file into place."""
    folder = home / "verification"
    path = folder / f"template-{migration.head()}-{migration.digest()[:12]}.db"
    with _ONE_AT_A_TIME:
        if not path.exists():
            _make(folder, path)
    return path


def _make(folder: Path, path: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = folder / f"{ids.new('building')}.db"
    database = Database(f"sqlite:///{fresh}", durable=False)
    try:
        migration.migrate(database, folder / "backups")
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        database.close()
    fresh.replace(path)
    for left in folder.glob(f"{fresh.name}*"):
        left.unlink()
