"""The change feed: signals (progress, cancellation, new versions, live pages) across processes, through one table.

A writer announces in its own transaction; each process polls once for all its listeners and fans out in memory. `nudge`
shortens the wait inside this process; between processes the poll interval is the bound.

It refuses to be: a message bus with guarantees. A listener that misses a line reads the tables; lines expire.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from app.core.db import Database, at_the_end, insert_rows, now
from app.core.models import Change

KEEP_MS = 600_000
_LINES = "lines"
_changes: sa.Table = Change.__table__  # type: ignore[attr-defined]  # SQLModel adds it to every table model
log = logging.getLogger(__name__)
_REST_S = 1.0
_ORDERED = 7_140_011  # PostgreSQL: ids must grow in commit order, so that no poller skips a line


@dataclass(frozen=True, slots=True)
class Signal:
    """One announced change: `topic` is a noun with its event (`run.progress`), `subject` the id."""

    id: int
    at: int
    topic: str
    subject: str
    tenant: str
    data: dict[str, Any]


def announce(session: Session, topic: str, subject: str, tenant: str, **data: Any) -> None:
    """Append a line to the feed in this transaction, at its end.

    The lock that keeps the order is taken when all rows are: taken earlier, it and a row's lock would wait for each other.
    """
    lines: list[dict[str, Any]] | None = session.info.get(_LINES)
    if lines is None:
        lines = session.info[_LINES] = []
        at_the_end(session, _append)
    lines.append({"at": now(session), "topic": topic, "subject": subject, "tenant": tenant, "data": json.dumps(data)})


def _append(session: Session) -> None:
    if session.get_bind().dialect.name == "postgresql":
        session.connection().exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ORDERED})")
    insert_rows(session, _changes, session.info.pop(_LINES))


def latest(database: Database) -> int:
    """The id of the newest line; 0 if there is none."""
    with database.reading() as session:
        return session.exec(select(sa.func.max(col(Change.id)))).one() or 0


def since(database: Database, after: int, limit: int = 1000) -> list[Signal]:
    """Lines after `after`, oldest first."""
    query = select(Change).where(col(Change.id) > after).order_by(col(Change.id)).limit(limit)
    with database.reading() as session:
        return [Signal(row.id or 0, row.at, row.topic, row.subject, row.tenant, row.data) for row in session.exec(query)]


def expire(database: Database) -> int:
    """Delete lines older than ten minutes; returns how many."""
    with database.writing() as session:
        return session.connection().execute(sa.delete(Change).where(col(Change.at) < database.clock.now() - KEEP_MS)).rowcount


@dataclass(eq=False)
class Feed:
    """Polls the table once per process and hands each line to the listeners that want it."""

    database: Database
    interval_s: float = 0.2
    _listeners: dict[int, tuple[Callable[[Signal], bool], asyncio.Queue[Signal]]] = field(default_factory=dict)
    _nudged: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None
    _position: int = 0
    _stopping: bool = False

    async def start(self) -> None:
        """Begin at the present end of the feed."""
        self._position = await asyncio.to_thread(latest, self.database)
        self._task = asyncio.create_task(self._poll(), name="change feed")

    async def stop(self) -> None:
        """End the poll after the look that is under way; listeners stay silent."""
        self._stopping = True
        self._nudged.set()
        if self._task is not None:
            await self._task

    def nudge(self, topic: str = "", subject: str = "", tenant: str = "") -> None:
        """Poll now: this process has just announced something; where it is named, only if somebody here wants to hear of it."""
        told = Signal(0, 0, topic, subject, tenant, {})
        if not topic or any(wanted(told) for wanted, _ in self._listeners.values()):
            self._nudged.set()

    @asynccontextmanager
    async def listen(self, wanted: Callable[[Signal], bool]) -> AsyncIterator[asyncio.Queue[Signal]]:
        """A queue of the lines, from now on, for which `wanted` holds."""
        queue: asyncio.Queue[Signal] = asyncio.Queue()
        self._listeners[id(queue)] = (wanted, queue)
        try:
            yield queue
        finally:
            del self._listeners[id(queue)]

    @asynccontextmanager
    async def told(self, wanted: Callable[[Signal], bool], tell: Callable[[Signal], Awaitable[None]]) -> AsyncIterator[None]:
        """Await `tell` with each of these lines until the end of the block."""

        async def follow(signals: asyncio.Queue[Signal]) -> None:
            while True:
                await tell(await signals.get())

        async with self.listen(wanted) as signals:
            task = asyncio.create_task(follow(signals), name="told by the feed")
            try:
                yield
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _poll(self) -> None:
        while not self._stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._nudged.wait(), self.interval_s)
            self._nudged.clear()
            try:
                await self._look()
            except SQLAlchemyError:
                # A database that is away for a while costs latency; the lines are there when it is back.
                log.exception("the change feed could not be read")
                await self._rest()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._nudged.wait(), _REST_S)

    async def _look(self) -> None:
        if self.database.glance("SELECT 1 FROM change WHERE id > ? LIMIT 1", self._position) is False:
            return
        if not self._listeners:
            self._position = max(self._position, await asyncio.to_thread(latest, self.database))
            return
        for signal in await asyncio.to_thread(since, self.database, self._position):
            self._position = signal.id
            for wanted, queue in list(self._listeners.values()):
                if wanted(signal):
                    queue.put_nowait(signal)
