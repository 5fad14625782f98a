"""What an execution needs of its process, as one value; and the facts of the run that it drives.

It refuses to be: a container for everything. What only the front doors need is not here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from app.connectors.port import Connectors
from app.core.clock import Clock
from app.core.db import Database
from app.core.errors import Invalid
from app.core.writer import GroupWriter
from app.observability import logs, metrics
from app.runtime.broker import Broker, Holder
from app.runtime.departures import AHEAD, Departures
from app.runtime.dry_run import Overlay, Rehearsal, family
from app.runtime.ending import Ending, judge
from app.runtime.flow.gate import Gate, ungated
from app.runtime.flow.lanes import Lanes
from app.runtime.performing import Hands
from app.runtime.places import Places
from app.runtime.program import Program
from app.runtime.repository import runs as repository
from app.sandbox.limits import GuestLimits
from app.sandbox.session import GuestSession, Usage
from app.spec.model import Effect

LEASE_MARGIN_MS = 1000


class Guests(Protocol):
    """Where guests come from: the sandbox of this process."""

    async def session(self, digest: str, files: Mapping[str, str], limits: GuestLimits) -> GuestSession: ...


@dataclass(frozen=True, slots=True)
class RunView:
    """The facts of a run that its execution needs."""

    id: str
    tenant: str
    actor: str
    version: int
    trace_id: str
    dry_run: bool
    args: dict[str, Any]
    seed: str
    started_at: int
    owner: str
    fence: int
    as_of: int | None = None
    approval: str | None = None
    bound: frozenset[bytes] | None = None

    @property
    def instant(self) -> int | None:
        """The time that the tool is told throughout (ms); None: as it goes by. A dry run and what was approved of it see the same."""
        return self.started_at if self.as_of is None and self.dry_run else self.as_of


@dataclass(slots=True)
class Measured:
    """What the run used, for its row."""

    cpu_ms: int = 0
    rss_kb: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def take(self, usage: Usage) -> None:
        self.cpu_ms, self.rss_kb = usage.cpu_ms, usage.max_rss_kb
        self.bytes_in, self.bytes_out = usage.bytes_in, usage.bytes_out

    def columns(self, steps: int, progress: tuple[int, int | None] | None) -> dict[str, Any]:
        found = {"cpu_ms": self.cpu_ms, "rss_kb": self.rss_kb, "bytes_in": self.bytes_in, "bytes_out": self.bytes_out, "steps": steps}
        return found | ({"done": progress[0], "total": progress[1]} if progress else {})


@dataclass(slots=True)
class Engine:
    """The process's side of every run: database, writer, sandbox, connectors, its owner row and its lease."""

    database: Database
    writer: GroupWriter
    sandbox: Guests
    connectors: Connectors
    owner: str
    lease_until: Callable[[], int]
    jitter: random.Random = field(default_factory=random.SystemRandom)
    gate_of: Callable[[str, str, Effect], Gate] = ungated
    departures: Departures = field(init=False)
    places: Places = field(init=False)
    lanes: Lanes = field(init=False)

    def __post_init__(self) -> None:
        self.departures = Departures(self.database)
        self.places = Places(AHEAD if self.departures.kept else 1)
        self.lanes = Lanes(self.writer, self.clock, lambda: self.owner)

    def become(self, owner: str) -> None:
        """Work in the name of this owner from now on; what was begun in another's name does not leave any more."""
        self.owner = owner
        self.departures.begin(owner)

    async def stop(self) -> None:
        """Nothing leaves any more."""
        await self.lanes.stop()
        self.departures.end()

    @property
    def clock(self) -> Clock:
        return self.database.clock

    def covered_until(self, owner: str) -> int:
        """Until when the lease of `owner` covers an effect, with a margin (ms, monotonic); 0 once this process is another owner."""
        return self.lease_until() - LEASE_MARGIN_MS if owner == self.owner else 0

    def hands(self, owner: str) -> Hands:
        covered = partial(self.covered_until, owner)
        return Hands(self.writer, self.clock, covered, self.jitter, self.places, self.lanes, self.departures)

    def broker(self, run: RunView, program: Program, go_on: Callable[[], bool], wait_for: Callable[[str | None], None]) -> Broker:
        holder = Holder(run.tenant, run.id, run.owner, run.fence, run.args, run.bound)
        return Broker(self.database, self.connectors, self.hands(run.owner), program, holder, go_on, self.gate_of, wait_for)

    def rehearsal(self, run: RunView, program: Program) -> Rehearsal:
        return Rehearsal(self.database, self.connectors, program, run.tenant, run.args)

    async def session(self, program: Program) -> GuestSession:
        limits = GuestLimits(memory_mb=program.spec.limits.memory_mb, wall_s=program.spec.limits.timeout_s + 5)
        metrics.GUESTS.inc()
        return await self.sandbox.session(program.digest, program.files, limits)

    def read(self, tenant: str, program: Program, read_id: str, query: dict[str, Any], overlay: Overlay | None) -> Any:
        """One declared read. Raises Invalid `read_undeclared` and what the connector raises."""
        declared = program.spec.read(read_id)
        if declared is None:
            raise Invalid("read_undeclared", f"The spec declares no read {read_id!r}.", fix="Declare the read in the spec.")
        port = self.connectors.reads[declared.connector]
        if overlay is not None and overlay.covers(declared.connector):
            look = partial(port.read, tenant=tenant, config=dict(declared.config), query=query)
            return overlay.look(self.database, family(declared.connector), look)
        with self.database.reading() as session:
            return port.read(session, tenant, dict(declared.config), query)

    def check(self, run: RunView, program: Program, result: Any) -> Ending:
        """The judgement of a result, with the run's effects counted from the ledger."""
        counts = {}
        if program.rules:
            with self.database.reading() as session:
                counts = repository.counts(session, run.id, at_its_end=True)
        return judge(program, run.args, result, counts)

    def say(self, run: RunView, event: str, fields: dict[str, Any]) -> None:
        """A tool's log line, in the service's log, with the run's names."""
        logs.tool_line(run.id, run.version, run.actor, run.trace_id, event, fields)

    def finished(self, run: RunView, ending: Ending) -> None:
        """Count the end and say so in the log: the run's span."""
        took = self.clock.now() - run.started_at
        code = (ending.error or {}).get("code")
        logs.run_span(run.id, run.version, run.actor, run.trace_id, ending.state, took, code)
        metrics.RUNS.labels(ending.state).inc()
        metrics.RUN_SECONDS.observe(took / 1000)
