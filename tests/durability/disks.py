"""A database on a disk that is small, and that is full when a test says so; 1 MB of tmpfs unless told.

It refuses to be: a simulation, where this process may mount. Elsewhere SQLite is held to a number of pages, and PostgreSQL is left out.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from app.core.clock import Clock
from app.core.db import Database
from app.tables import metadata
from tests.support.postgres import PostgresServer

GROWING = ("run", "effect", "effect_event", "step", "payload", "ledger", "sighting")


@dataclass(frozen=True)
class Disk:
    """`folder`: a file system of its own, or None: then the database's file can be held to as many pages."""

    database: Database
    folder: Path | None

    def limit(self) -> None:
        """Make it small."""
        self._pages(180)

    def grow(self) -> None:
        """Make room."""
        if self.folder is not None:
            subprocess.run(["mount", "-o", "remount,size=64m", str(self.folder)], check=True)
        self._pages(100_000)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """No room at all, for a while."""
        if self.folder is None:
            self._pages(1)  # SQLite takes what it has for the least
            yield
            self._pages(100_000)
            return
        filler = self.folder / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        yield
        filler.unlink()

    def _pages(self, number: int) -> None:
        if self.folder is None:
            with self.database.writing() as session:
                session.connection().exec_driver_sql(f"PRAGMA max_page_count={number}")


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path | None]:
    """A folder with so much room, of its parent's owner: mounted where we may, else None."""
    owner = folder.parent.stat()
    folder.mkdir()
    options = f"size={size},uid={owner.st_uid},gid={owner.st_gid},mode=700"
    done = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]).returncode == 0
    try:
        yield folder if done else None
    finally:
        if done:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def small_disk(request: pytest.FixtureRequest, folder: Path, kind: str, size: str = "1m", clock: Clock | None = None) -> Iterator[Disk]:
    """A database with every table on SQLite, where its file is on the disk, or on PostgreSQL: there what grows is in a tablespace on it."""
    if kind == "sqlite":
        with (
            mounted(folder / "disk", size) as found,
            closing(Database(f"sqlite:///{folder / 'disk' / 'toolmint.db'}", clock=clock)) as database,
        ):
            metadata.create_all(database.engine)
            yield Disk(database, found)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name, space = server.create(request.getfixturevalue("postgres_template")), f"small_{folder.stat().st_ino}"
    with mounted(server.folder / space, size) as found:
        if found is None:
            pytest.skip("a small disk for PostgreSQL can be mounted by root alone")
        with psycopg.connect(server.url(name), autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE {space} LOCATION '{found}'")
            for table in GROWING:
                connection.execute(f"ALTER TABLE {table} SET TABLESPACE {space}")
        with closing(Database(server.url(name), clock=clock)) as database:
            yield Disk(database, found)
        server.drop(name)
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP TABLESPACE {space}")
