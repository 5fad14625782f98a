"""What one process knows of flow control: the pauses, the open circuits, its part of each limit. One per process.

The tables are read twice a second, and at once when the change feed says so. When they cannot be read, nothing new begins: what is
not known to be free counts as paused.

It refuses to be: where a pause is decided (`pausing`) or a limit set (`limits`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from app.connectors.port import Reply
from app.core.db import Database
from app.core.feed import Feed, Signal
from app.core.writer import GroupWriter
from app.observability import metrics
from app.runtime.flow.circuit import SOON_MS, Circuit, answered
from app.runtime.flow.gate import Gate, GoOn, LimitedGate
from app.runtime.flow.limits import Limits
from app.runtime.flow.pace import Pace
from app.runtime.flow.share import Shares
from app.runtime.models import Pause
from app.runtime.repository import flow as repository
from app.runtime.repository.effects import effects
from app.runtime.repository.flow import CircuitMove, CircuitName, Opened
from app.spec.model import Effect

LOOK_EVERY_S = 0.5
STALE_MS = 3_000
TRIAL_MS = 15_000
_AGAIN_S = 0.1
EVERYTHING, TOOL, CONNECTOR = "everything", "tool", "connector"
log = logging.getLogger(__name__)


@dataclass(eq=False)
class Flow:
    """Start it with its process. `on_pauses` is called whenever pauses have changed."""

    database: Database
    writer: GroupWriter
    feed: Feed
    limits: Limits
    owner: Callable[[], str]
    on_pauses: Callable[[], None] = lambda: None
    _pauses: dict[tuple[str, str, str], Pause] = field(default_factory=dict)
    _opened: dict[CircuitName, Opened] = field(default_factory=dict)
    _circuits: dict[CircuitName, Circuit] = field(default_factory=dict)
    _paces: dict[tuple[str, float], Pace] = field(default_factory=dict)
    _shares: dict[str, Shares] = field(default_factory=dict)
    _gates: dict[tuple[str, ...], Gate] = field(default_factory=dict)
    _read_at: int | None = None
    _look: asyncio.Event = field(default_factory=asyncio.Event)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _stopping: bool = False
    _watching: asyncio.Task[None] | None = None
    _moves: set[asyncio.Task[bool]] = field(default_factory=set)

    async def start(self) -> None:
        """Read the tables and begin to watch them."""
        await self._read()
        self._watching = asyncio.create_task(self._watch(), name="flow control")

    async def stop(self) -> None:
        """End the watch, after what is being written."""
        self._stopping = True
        self._look.set()
        if self._watching is not None:
            await self._watching
        for shares in self._shares.values():
            await shares.stop()
        await asyncio.gather(*self._moves, return_exceptions=True)

    @property
    def fresh(self) -> bool:
        """Whether the tables were read lately enough to rely on."""
        return self._read_at is not None and self.database.clock.monotonic() - self._read_at <= STALE_MS

    async def refreshed(self, go_on: GoOn) -> None:
        """Wait until the tables could be read, or `go_on` says no."""
        while not self.fresh and go_on():
            await asyncio.sleep(_AGAIN_S)
            self._look.set()

    async def known(self) -> bool:
        """Whether it is known what is paused, after one more look if need be."""
        if not self.fresh:
            with suppress(SQLAlchemyError):
                await self._read()
        return self.fresh

    def pause_of(self, tenant: str, tool: str) -> Pause | None:
        """The pause that keeps a tool from running: of everything, or its own."""
        if not self._pauses:
            return None
        return self._pauses.get((tenant, EVERYTHING, "")) or self._pauses.get((tenant, TOOL, tool))

    def pauses(self, tenant: str) -> list[Pause]:
        """Every pause of a tenant, oldest first."""
        return [pause for pause in self._pauses.values() if pause.tenant == tenant]

    def circuits(self, tenant: str) -> dict[CircuitName, Opened]:
        """The open circuits of a tenant."""
        return {name: opened for name, opened in self._opened.items() if name.tenant == tenant}

    def waits_for(self, tenant: str, tool: str, connector: str) -> str | None:
        """What an effect waits for: empty for a pause of everything or of its tool, else its paused connector; None: nothing."""
        if not self._pauses:
            return None
        if self.pause_of(tenant, tool) is not None:
            return ""
        return connector if (tenant, CONNECTOR, connector) in self._pauses else None

    def gate(self, tenant: str, tool: str, declared: Effect) -> Gate:
        """The gate of one effect of a spec."""
        connection = declared.config.get("connection")
        full = f"{declared.connector}/{connection}" if isinstance(connection, str) else declared.connector
        rate = declared.limits.per_second
        key = (tenant, tool, declared.id, full, str(rate))
        if key not in self._gates:
            name, limits = self.limits.connector(declared.connector, connection)
            paces = [self._pace(f"connector {name}", limits.per_second)] if limits.per_second else []
            paces += [self._pace(f"effect {tenant} {tool} {declared.id}", rate)] if rate else []
            shares = self._share(name, limits.in_flight) if limits.in_flight else None
            circuit = self._circuit(CircuitName(tenant, full, tool))
            self._gates[key] = LimitedGate(self, tenant, tool, declared.connector, circuit, tuple(paces), shares)
        return self._gates[key]

    def workable(self) -> sa.ColumnElement[bool]:
        """Of effects in the retry queue: those that may be attempted now. Those of a circuit that rests are left where they are."""
        if not self.fresh:
            return sa.false()
        whole, resting = effects.c.tenant, self.database.clock.now()
        kept: list[sa.ColumnElement[bool]] = []
        for tenant, scope, name in self._pauses:
            what = {EVERYTHING: sa.true(), TOOL: effects.c.tool == name, CONNECTOR: effects.c.connector == name}[scope]
            kept.append(sa.and_(whole == tenant, what))
        for circuit, opened in self._opened.items():
            if resting < opened.trial_at:  # one of a named connection fits no connector: its effects are put off one by one
                kept.append(sa.and_(whole == circuit.tenant, effects.c.connector == circuit.connector, effects.c.tool == circuit.tool))
        return sa.not_(sa.or_(*kept)) if kept else sa.true()

    async def ask_circuit(self, circuit: Circuit, effect_id: str) -> int | None:
        """None: this effect may be attempted, as the trial of an open circuit; else when (ms) to come again."""
        now = self.database.clock.now()
        later = circuit.resting_until(now)
        if later is not None or circuit.opened is None:
            return later
        circuit.trial = effect_id
        circuit.moving += 1
        if await self._move(circuit, CircuitMove(circuit.name, "trial", rest_ms=TRIAL_MS)):
            return None
        circuit.trial = None
        return now + SOON_MS

    def count(self, circuit: Circuit, effect_id: str, reply: Reply) -> None:
        """Count a reply: an answer to a trial closes its circuit; failures in a row open it."""
        found, now, fuse = answered(reply), self.database.clock.now(), self.limits.fuse
        if found is None:
            return
        name, error = circuit.name, reply.code or reply.verdict
        if circuit.trial == effect_id:
            if found:
                self._begin(circuit, CircuitMove(name, "close"))
                circuit.close()
                return
            self._begin(circuit, CircuitMove(name, "failed", error, longest_ms=fuse.longest_ms))
            circuit.trial = None
            if circuit.opened is not None:
                rest_ms = min(fuse.longest_ms, 2 * circuit.opened.rest_ms)
                circuit.opened = replace(circuit.opened, rest_ms=rest_ms, trial_at=now + rest_ms)
        elif circuit.opened is None and circuit.count(not found, fuse, now):
            circuit.opened = Opened(error, 0, fuse.rest_ms, now + fuse.rest_ms, now)
            self._begin(circuit, CircuitMove(name, "open", error, fuse.rest_ms))

    def shut(self, circuit: Circuit, effect_id: str) -> int | None:
        """When (ms) an effect is to come again that may not begin after all; None for the trial."""
        now = self.database.clock.now()
        return None if circuit.trial == effect_id else circuit.resting_until(now) or now + SOON_MS

    def untried(self, circuit: Circuit) -> None:
        """A trial was not made after all; its time is waited for."""
        circuit.trial = None

    def _pace(self, name: str, rate: float) -> Pace:
        return self._paces.setdefault((name, rate), Pace(name, rate, self.writer, self.database.clock))

    def _share(self, name: str, limit: int) -> Shares:
        return self._shares.setdefault(name, Shares(name, limit, self.writer, self.database.clock, self.owner))

    def _circuit(self, name: CircuitName) -> Circuit:
        return self._circuits.setdefault(name, Circuit(name, self._opened.get(name)))

    def _begin(self, circuit: Circuit, move: CircuitMove) -> None:
        circuit.moving += 1
        task = asyncio.create_task(self._move(circuit, move), name=f"circuit {circuit.name.text}")
        self._moves.add(task)
        task.add_done_callback(self._moves.discard)

    async def _move(self, circuit: Circuit, move: CircuitMove) -> bool:
        """Write it; what is read until then does not count. A database that is away keeps nothing from being refused or attempted."""
        try:
            return await self.writer.submit(repository.move_circuits, move)
        except SQLAlchemyError:
            log.exception("the circuit %s could not be written", circuit.name.text)
            return False
        finally:
            circuit.moving -= 1
            circuit.moved_at = self.database.clock.monotonic()
            self._look.set()

    async def _watch(self) -> None:
        async def look(_signal: Signal) -> None:
            self._look.set()

        async with self.feed.told(lambda signal: signal.topic in (repository.PAUSES, repository.CIRCUITS), look):
            while not self._stopping:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._look.wait(), LOOK_EVERY_S)
                self._look.clear()
                try:
                    await self._read()
                except SQLAlchemyError as error:
                    # Nothing new begins meanwhile; what is paused is known again when the database is back.
                    log.warning("flow control could not be read: %s", type(error).__name__)
                    await asyncio.sleep(_AGAIN_S)

    async def _read(self) -> None:
        async with self._reading:  # what was read earlier is never put over what was read later
            asked_at = self.database.clock.monotonic()
            pauses, opened = await asyncio.to_thread(self._load)
            self._take(asked_at, pauses, opened)

    def _take(self, asked_at: int, pauses: list[Pause], opened: dict[CircuitName, Opened]) -> None:
        before, self._pauses = set(self._pauses), {(pause.tenant, pause.scope, pause.name): pause for pause in pauses}
        closed, self._opened = set(self._opened) - set(opened), opened
        for circuit in self._circuits.values():
            if circuit.moving or circuit.moved_at >= asked_at:
                continue  # the next look knows
            if circuit.opened is not None and circuit.name not in opened:
                circuit.close()
            circuit.opened = opened.get(circuit.name)
        self._read_at = asked_at
        if before != set(self._pauses):
            self.on_pauses()
        self._measure(closed)

    def _load(self) -> tuple[list[Pause], dict[CircuitName, Opened]]:
        with self.database.reading() as session:
            return repository.pauses(session), repository.circuits(session)

    def _measure(self, closed: set[CircuitName]) -> None:
        number = Counter(name.connector for name in self._opened)
        for connector in number.keys() | {name.connector for name in closed}:
            metrics.CIRCUITS.labels(connector).set(number[connector])
        scopes = Counter(scope for _tenant, scope, _name in self._pauses)
        for scope in (EVERYTHING, TOOL, CONNECTOR):
            metrics.PAUSES.labels(scope).set(scopes[scope])
