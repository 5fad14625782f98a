"""The database as a value: `reading()` and `writing()` sessions on SQLite or PostgreSQL. There is no global engine.

A write is short, is one step of a use case and never spans an await. On SQLite writers take turns through a lock file:
without it a second process was measured waiting 8 s behind a busy writer, since SQLite's own wait is not fair.

It refuses to be: a repository. No table is named here.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache, wraps
from operator import itemgetter
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect, Engine, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.sql.schema import ScalarElementColumnDefault
from sqlalchemy.util import LRUCache
from sqlmodel import Session

from app.core.clock import Clock, SystemClock
from app.core.faults import committed

P = ParamSpec("P")
R = TypeVar("R")
CHUNK = 500
_TRIES = 5
_LAST = "last"
_PRAGMAS = (
    "journal_mode=WAL",
    "foreign_keys=ON",
    "busy_timeout=30000",
    "temp_store=MEMORY",
    "cache_size=-2000",  # KiB, of each connection: the system keeps the file's pages for all of them
    "wal_autocheckpoint=4000",
)
_CACHE_OF_WRITER = "PRAGMA cache_size=-16000"


class Database:
    """A database that rooms receive. `url` is an SQLAlchemy URL of SQLite (a file) or PostgreSQL (psycopg).

    `durable=False` sets SQLite's `synchronous` to OFF: for the private files of verification only.
    """

    def __init__(self, url: str, *, clock: Clock | None = None, durable: bool = True) -> None:
        self.clock: Clock = clock or SystemClock()
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.url = parsed.render_as_string(hide_password=False)
        self.path = Path(parsed.database) if self.is_sqlite and parsed.database else None
        self._turn = threading.Lock()
        self._writing: sa.Connection | None = None
        self._glancing: sqlite3.Connection | None = None
        self._lock_fd = -1
        self._synchronous = "FULL" if durable else "OFF"
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock_fd = os.open(f"{self.path}.write-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self.engine = _sqlite_engine(parsed, self._synchronous)
        else:
            self.engine = sa.create_engine(parsed, pool_size=8, max_overflow=24, pool_pre_ping=True, hide_parameters=True)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one snapshot and writes nothing (SQLite: query only; PostgreSQL: READ ONLY)."""
        with self.engine.connect() as connection, connection.begin(), self._session(connection, autoflush=False) as session:
            connection.exec_driver_sql("PRAGMA query_only=ON" if self.is_sqlite else "SET TRANSACTION READ ONLY")
            try:
                yield session
            finally:
                if self.is_sqlite:
                    connection.exec_driver_sql("PRAGMA query_only=OFF")

    def glance(self, query: str, *values: int) -> bool | None:
        """Whether a query finds any row, by a connection that is kept for it: microseconds on SQLite, so the event loop may ask.

        None where only a proper look can tell: on PostgreSQL, and where the file cannot be read right now.
        """
        if self.path is None:
            return None
        try:
            if self._glancing is None:
                self._glancing = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=0, check_same_thread=False)
            return self._glancing.execute(query, values).fetchone() is not None
        except sqlite3.Error:
            return None

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Session]:
        """A session whose changes are committed together at the end, or not at all.

        What need not be `durable` outlives any process, and may go with the power unless something durable came after it. Others wait for
        it less long, since it does not wait for the disk.
        """
        with self._in_turn(), self._writer(durable) as connection:
            with connection.begin(), self._session(connection, autoflush=True) as session:
                if not durable and not self.is_sqlite:
                    connection.exec_driver_sql("SET LOCAL synchronous_commit TO OFF")
                yield session
                session.flush()
                for last in session.info.pop(_LAST, ()):
                    last(session)
            committed(session.info)

    @contextmanager
    def _writer(self, durable: bool) -> Iterator[sa.Connection]:
        """SQLite: one connection for all writes, whose page cache another's writes would empty. Else one of the pool."""
        if not self.is_sqlite:
            with self.engine.connect() as connection:
                yield connection
            return
        if self._writing is None:
            self._writing = self.engine.connect().execution_options(begin="IMMEDIATE")
            self._tell_writer(_CACHE_OF_WRITER)
        if not durable and self._synchronous == "FULL":
            self._tell_writer("PRAGMA synchronous=NORMAL")
        try:
            yield self._writing
        except BaseException:  # of any kind: a connection that it left in a transaction is none to write with
            if self._writing.invalidated or self._writing.in_transaction():
                self._writing.close()
                self._writing = None
            raise
        finally:
            if not durable:
                self._tell_writer(f"PRAGMA synchronous={self._synchronous}")

    def _tell_writer(self, pragma: str) -> None:
        if self._writing is not None:
            driver: Any = self._writing.connection.driver_connection
            driver.execute(pragma)

    def _session(self, connection: sa.Connection, *, autoflush: bool) -> Session:
        session = Session(connection, expire_on_commit=False, autoflush=autoflush)
        session.info["clock"] = self.clock
        return session

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        if not self.is_sqlite:
            yield
            return
        with self._turn:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give back every connection and the lock file."""
        if self._glancing is not None:
            self._glancing.close()
            self._glancing = None
        if self._writing is not None:
            self._writing.close()
            self._writing = None
        self.engine.dispose()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


_COMPILED: LRUCache[Any, Any] = LRUCache(1000)
"""Statements compiled for SQLite files: verification opens a hundred of them one after the other, each for a few statements."""


@cache
def _sqlite_dialect() -> Dialect:
    """One for all SQLite files of this process, since what is compiled belongs to a dialect."""
    engine = sa.create_engine("sqlite://")
    with engine.connect():  # a dialect is complete once it has seen a connection
        pass
    engine.dispose()
    return engine.dialect


def _sqlite_engine(url: sa.URL, synchronous: str) -> Engine:
    arguments = {"check_same_thread": False, "timeout": 30, "cached_statements": 512}  # `Bulk` makes one for each number of rows
    shared = {"compiled_cache": _COMPILED}
    engine = sa.create_engine(url, connect_args=arguments, pool_size=8, max_overflow=24, hide_parameters=True, execution_options=shared)
    engine.dialect = _sqlite_dialect()

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves; the driver's implicit one is deferred and deadlocks
        for pragma in (*_PRAGMAS, f"synchronous={synchronous}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")

    return engine


def now(session: Session) -> int:
    """The time of this session's database value, in ms: what rows of this transaction are stamped with."""
    clock: Clock = session.info["clock"]
    return clock.now()


def at_the_end(session: Session, last: Callable[[Session], None]) -> None:
    """Have `last` run as the last statements before this transaction commits: for locks that everybody takes last."""
    session.info.setdefault(_LAST, []).append(last)


def deadlocked(error: BaseException) -> bool:
    """Whether PostgreSQL ended this transaction so that another could go on (40P01): the same again will do."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == "40P01"


def again(work: Callable[P, R]) -> Callable[P, R]:
    """`work`, one transaction, done again where PostgreSQL ended it so that another could go on: five times at most."""

    @wraps(work)
    def done(*args: P.args, **named: P.kwargs) -> R:
        for _ in range(_TRIES - 1):
            try:
                return work(*args, **named)
            except DBAPIError as error:
                if not deadlocked(error):
                    raise
        return work(*args, **named)

    return done


def unavailable(error: BaseException) -> bool:
    """Whether the database itself is locked, full or away, so that no other write would fare better."""
    return isinstance(error, OperationalError) and not deadlocked(error)


def lease_now(session: Session) -> int:
    """The time that leases are judged by, in ms: the server's on PostgreSQL with a system clock, else the clock's."""
    clock: Clock = session.info["clock"]
    if session.get_bind().dialect.name == "sqlite" or not isinstance(clock, SystemClock):
        return clock.now()
    return int(session.connection().exec_driver_sql("SELECT (extract(epoch FROM clock_timestamp())*1000)::bigint").scalar_one())


def insert_missing(session: Session, table: sa.Table, rows: Sequence[dict[str, Any]]) -> int:
    """Insert the rows whose primary key is not there yet, in chunks sorted by the caller; returns how many were new.

    Sorted keys matter on PostgreSQL: two sessions inserting the same keys in different orders deadlock.
    """
    if not rows:
        return 0
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table).on_conflict_do_nothing()
    return sum(execute_many(session, table, statement, rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK))


def insert_rows(session: Session, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that name the same columns by the driver, see `execute_many`; a JSON column takes JSON text."""
    if rows:
        statement, absent = _insert(table, tuple(rows[0]))
        execute_many(session, ("insert", table), statement, [absent | row for row in rows])


@cache
def _insert(table: sa.Table, given: tuple[str, ...]) -> tuple[sa.Insert, dict[str, Any]]:
    """The statement, and the defaults of the columns that are not given, which the driver does not know."""
    defaults = {column.name: column.default for column in table.c if column.name not in given}
    absent = {name: default.arg for name, default in defaults.items() if isinstance(default, ScalarElementColumnDefault)}
    return table.insert().inline(), absent


def execute_many(session: Session, name: Any, statement: Any, rows: Sequence[dict[str, Any]]) -> int:
    """Execute a statement for each row by the driver; returns how many rows of the table it touched.

    For hot paths: SQLAlchemy's own care for each row costs as much as the statement. So values are text, numbers or None, every row
    names what the first names, and `name` stands for the statement where its compiled text is kept.
    """
    dialect = session.get_bind().dialect
    key = (name, dialect.name, *rows[0])
    if key not in _texts:
        compiled = statement.compile(dialect=dialect, column_keys=list(rows[0]))
        _texts[key] = (str(compiled), _values_in(compiled.positiontup))
    text, values_of = _texts[key]
    connection = session.connection()
    try:
        with closing(connection.connection.cursor()) as cursor:
            if len(rows) == 1:
                cursor.execute(text, values_of(rows[0]))
            else:
                cursor.executemany(text, list(map(values_of, rows)))
            return int(cursor.rowcount)
    except dialect.loaded_dbapi.Error as error:
        raise DBAPIError.instance(text, None, error, dialect.loaded_dbapi.Error, hide_parameters=True, dialect=dialect) from error


def _values_in(names: list[str] | None) -> Callable[[dict[str, Any]], Any]:
    """What makes a row's values of the row, in the order of these names; without names the driver takes the row as it is."""
    if names is None:
        return dict
    return itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)


_texts: dict[tuple[Any, ...], tuple[str, Callable[[dict[str, Any]], Any]]] = {}
