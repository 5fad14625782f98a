"""`toolmint doctor`: whether this machine can do the work, shown by doing it, and how to mend what is wrong.

It refuses to be: a reading of settings. The sandbox is entered, the database written, Redis asked.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import sqlalchemy as sa
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from app.cli import redis_server
from app.cli.output import DONE, REFUSED, say, show
from app.connectors.smtp_server_url import parse_smtp_url
from app.core import migration
from app.core.db import Database
from app.core.errors import ToolmintError
from app.core.settings import Settings
from app.core.signing import Keyring, key_id
from app.registry.vouching import refused_versions
from app.sandbox.sandbox import Sandbox

LEAST_FREE_MB = 500
MOST_SKEW_MS = 2000
_OLDEST_CLOCK_S = 1_767_225_600  # 2026-01-01: a clock before this release was never set
_START_S = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was looked at. `fix` says what to do where it is not ok."""

    part: str
    check: str
    ok: bool
    detail: str
    fix: str = ""


def examine(settings: Settings, *, as_json: bool = False) -> int:
    """Print every row; status 1 if one is not ok."""
    rows = [row for part in _PARTS for row in _safely(part, settings)]
    well = all(row.ok for row in rows)
    if as_json:
        show({"ok": well, "checks": [asdict(row) for row in rows]})
        return DONE if well else REFUSED
    width = max(len(f"{row.part}: {row.check}") for row in rows)
    for row in rows:
        name = f"{row.part}: {row.check}".ljust(width)
        say(f"{'ok   ' if row.ok else 'WRONG'}  {name}  {row.detail}")
        if not row.ok and row.fix:
            say(f"       {' ' * width}  fix: {row.fix}")
    say("\nEverything that Toolmint needs works here." if well else "\nSomething is wrong; see the lines above.")
    return DONE if well else REFUSED


def _safely(part: Callable[[Settings], Iterator[Row]], settings: Settings) -> Iterator[Row]:
    name = part.__name__.strip("_")
    try:
        yield from part(settings)
    except ToolmintError as error:
        yield Row(name, "works", False, error.detail, error.fix)
    except (OSError, SQLAlchemyError, RedisError) as error:
        yield Row(name, "works", False, f"{error.__class__.__name__}: {error}".splitlines()[0][:300])


def _program(_settings: Settings) -> Iterator[Row]:
    yield Row("program", "versions", True, f"toolmint {version('toolmint')}, Python {sys.version.split()[0]}")


def _disk(settings: Settings) -> Iterator[Row]:
    home = settings.home.absolute()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryFile(dir=home) as file:
        file.write(b"doctor")
        file.flush()
    yield Row("disk", "home", True, f"{home} can be written")
    free = shutil.disk_usage(home).free // 1_000_000
    yield Row("disk", "space", free >= LEAST_FREE_MB, f"{free} MB free", f"free at least {LEAST_FREE_MB} MB, or move TOOLMINT_HOME")


def _database(settings: Settings) -> Iterator[Row]:
    database = Database(settings.database)
    try:
        with database.engine.connect() as connection:
            kind, mode = connection.dialect.name, ""
            if database.is_sqlite:
                mode = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())
        name = f"SQLite {database.path}" if database.is_sqlite else f"{kind} {sa.make_url(database.url).render_as_string()}"
        yield Row("database", "connection", True, name)
        if database.is_sqlite:
            yield Row("database", "WAL", mode == "wal", f"journal mode {mode}", "keep the database on a local disk")
        began = time.monotonic()
        with database.writing() as session:
            session.connection().execute(sa.text("SELECT 1"))
        yield Row("database", "write lock", True, f"taken in {(time.monotonic() - began) * 1000:.0f} ms")
        yield Row("database", "size", True, _size(database))
        found, wanted = migration.current(database), migration.head()
        detail = "empty, will be made at the first start" if found is None else f"revision {found}"
        yield Row("database", "schema", found in {None, wanted}, detail, f"this release needs {wanted}: run `toolmint migrate`")
        yield from _clock(database)
    finally:
        database.close()


def _size(database: Database) -> str:
    with database.engine.connect() as connection:
        if not database.is_sqlite:
            return f"{connection.exec_driver_sql('SELECT pg_database_size(current_database())').scalar_one() / 1e6:.1f} MB"
        page, pages, free = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_size", "page_count", "freelist_count")
        )
    return f"{page * pages / 1e6:.1f} MB, {page * free / 1e6:.1f} MB of it free for reuse"


def _clock(database: Database) -> Iterator[Row]:
    wall, steady = time.time(), time.monotonic()
    time.sleep(0.2)
    drift = abs((time.time() - wall) - (time.monotonic() - steady)) * 1000
    sane = wall > _OLDEST_CLOCK_S and drift < 100
    yield Row("clock", "runs evenly", sane, f"wall and monotonic clock {drift:.0f} ms apart after 200 ms", "set the clock; let NTP slew it")
    if database.is_sqlite:
        return
    with database.engine.connect() as connection:
        there = connection.exec_driver_sql("SELECT (extract(epoch FROM clock_timestamp())*1000)::bigint").scalar_one()
    skew = abs(there - time.time() * 1000)
    yield Row("clock", "database's clock", skew < MOST_SKEW_MS, f"{skew:.0f} ms apart", "synchronise both machines by NTP")


def _evidence(settings: Settings) -> Iterator[Row]:
    keys = Keyring(settings.home)
    own = keys.public_key()
    yield Row("evidence", "key", True, f"key {key_id(own)} signs" if own else "none, will be made at the first start")
    with closing(Database(settings.database)) as database:
        if own is None or migration.current(database) != migration.head():
            return
        refused = refused_versions(database, keys)
    named = ", ".join(f"{name} ({code})" for name, code in list(refused.items())[:5])
    told = f"{len(refused)} do not load: {named}" if refused else "each is what was published"
    yield Row("evidence", "versions", not refused, told, "see docs/operations.md, Evidence")


def _smtp(settings: Settings) -> Iterator[Row]:
    if settings.smtp_url:
        server = parse_smtp_url(settings.smtp_url)
        yield Row("smtp", "server's URL", True, f"{server.host}:{server.port}, not connected to")
    else:
        yield Row("smtp", "server's URL", True, "none: e-mails stay in the outbox")


def _redis(settings: Settings) -> Iterator[Row]:
    if settings.redis_url or settings.redis_socket.exists():
        with Redis.from_url(settings.redis, socket_connect_timeout=2, socket_timeout=2) as client:
            try:
                known = client.info("server")["redis_version"]
            except RedisError as error:
                detail = f"no answer ({error.__class__.__name__})"
                if settings.redis_url:
                    yield Row("redis", "answers", False, detail, "start it, or correct TOOLMINT_REDIS_URL")
                    return
            else:
                yield Row("redis", "answers", True, f"Redis {known} {'by URL' if settings.redis_url else 'bundled'}")
                return
    with tempfile.TemporaryDirectory(prefix="tm-") as folder:
        yield _bundled(settings.model_copy(update={"home": Path(folder)}))


def _bundled(settings: Settings) -> Row:
    """The bundled server, started for this check alone."""
    process = subprocess.Popen(redis_server.command(settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with Redis.from_url(settings.redis, socket_timeout=2) as client:
                    return Row(
                        "redis", "bundled", True, f"Redis {client.info('server')['redis_version']} starts; the service is not running"
                    )
            except RedisError:
                time.sleep(0.05)
        ended = f"it ended with status {process.returncode}" if process.returncode is not None else "it does not answer"
        return Row("redis", "bundled", False, f"{redis_server.binary()}: {ended}", "install redis-server, or set TOOLMINT_REDIS_URL")
    finally:
        process.terminate()
        process.wait(5)


def _sandbox(settings: Settings) -> Iterator[Row]:
    async def look() -> Iterator[Row]:
        sandbox = Sandbox(settings.home)
        try:
            proof = await sandbox.start()
        finally:
            await sandbox.stop()
        return iter([Row("sandbox", check.name, check.ok, check.detail, check.fix) for check in proof.checks])

    yield from asyncio.run(look())


_PARTS: tuple[Callable[[Settings], Iterator[Row]], ...] = (_program, _disk, _database, _evidence, _redis, _smtp, _sandbox)
