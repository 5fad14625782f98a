"""A private stage for one schedule: a database of its own, the scripted world of an example, the real runtime, time that stands still.

What runs here is what will run: broker, journal, state machine, sandbox. Only connectors that leave the process are twins, and the
database is a copy of a migrated template that is thrown away.

It refuses to be: a simulation. A crash on the stage ends a Runtime without a word; another one takes its work over by the tables.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.connectors.scripted import ScriptedConnectors, ScriptedCrash, scripted
from app.core import ids
from app.core.actor import Actor
from app.core.clock import ScriptedClock, from_iso
from app.core.db import Database
from app.core.errors import NotFound, ToolmintError
from app.core.feed import Feed
from app.observability import metrics
from app.records.snapshots import take_as
from app.records.writing import store_many
from app.runtime.ending import Ending
from app.runtime.journal import encode
from app.runtime.process import Call, Loader, Runtime
from app.runtime.program import Program
from app.runtime.recovery import sweep
from app.spec.model import Example, World
from app.verification import repository
from app.verification.subject import Bench
from app.verification.witness import Heard, Witness

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Done:
    """An item of a run: the effect, the item as its connector spells it (as given where it takes none), what the tool was told.

    `key` is the canonical JSON text of the spec's key for it; None where the item has none.
    """

    effect: str
    item: Any
    status: str
    error: Mapping[str, Any] | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """One run on a stage. `done` has one entry per item of its last attempt, in order; `attempts` is what each attempt's guest lived."""

    run_id: str
    state: str
    result: Any
    error: Mapping[str, Any] | None
    done: tuple[Done, ...]
    attempts: tuple[Heard, ...]

    @property
    def heard(self) -> Heard:
        """The last attempt."""
        return self.attempts[-1]

    @property
    def error_code(self) -> str | None:
        return self.error["code"] if self.error else None

    @property
    def is_business_error(self) -> bool:
        """Whether the tool itself ended the run with a ToolError."""
        return bool(self.error and self.error.get("business"))


@dataclass(frozen=True, slots=True)
class Row:
    """An effect of the ledger: its state and how often the world saw it happen (0 for local ones)."""

    state: str
    item: Mapping[str, Any]
    attempts: int
    performed: int


class Stage:
    """Open it with `staged`; `play` runs the tool once, `ledger` shows what there is."""

    def __init__(self, database: Database, connectors: ScriptedConnectors, bench: Bench, actor: Actor, load: Loader) -> None:
        self.database = database
        self.connectors = connectors
        self.actor = actor
        self.load = load
        self.witness = Witness(bench.guests)
        self._runtime: Runtime | None = None

    async def play(self, program: Program, args: Mapping[str, Any]) -> Played:
        """One run to its end, through every death that the script has in store for it."""
        runtime = await self.living()
        begun, execution = await runtime.begin(self.actor, program, Call(dict(args), source="verification"))
        if execution is None:
            raise RuntimeError(f"a run without identity was not begun but {begun.how}")
        before = len(self.witness.heard)
        try:
            ending: Ending | None = await runtime.drive(execution)
        except ScriptedCrash:
            ending = await self._resume(begun.run_id)
        return self._played(program, begun.run_id, args, ending, tuple(self.witness.heard[before:]))

    def ledger(self) -> dict[Key, Row]:
        """Every effect by `(effect, key)`, the key as canonical JSON text."""
        performed = Counter(entry.effect_id for entry in self.connectors.performed)
        with self.database.reading() as session:
            rows = repository.effects(session)
        return {(row.effect, row.key): Row(row.state, json.loads(row.item), row.attempts, performed[row.id]) for row in rows}

    async def close(self) -> None:
        if self._runtime is not None:
            await self._runtime.stop()
        self.database.close()

    async def living(self) -> Runtime:
        """The present process's runtime, started."""
        if self._runtime is None:
            self._runtime = Runtime(self.database, self.witness, self.connectors, self.load, Feed(self.database), role="verification")
            await self._runtime.start()
        return self._runtime

    async def _resume(self, run_id: str) -> Ending | None:
        """Processes die and others take over, until the run is over. None: it was quarantined for that."""
        while True:
            await self._die()
            runtime = await self.living()
            if run_id not in await asyncio.to_thread(sweep, self.database):
                return None
            with suppress(ScriptedCrash):
                return await runtime.execute(run_id)

    async def _die(self) -> None:
        """End the process: nothing of it is under way any more, and its lease is void."""
        if self._runtime is not None:
            dead, self._runtime = self._runtime, None
            await dead.stop()

    def _played(self, program: Program, run_id: str, args: Mapping[str, Any], ending: Ending | None, attempts: tuple[Heard, ...]) -> Played:
        done = tuple(self._done(program, args, *told) for told in _told(attempts[-1]))
        if ending is None:
            with self.database.reading() as session:
                row = repository.run(session, run_id)
            state, error = (row.state, row.error) if row else ("lost", None)
            return Played(run_id, state, None, error, done, attempts)
        return Played(run_id, ending.state, ending.result, ending.error, done, attempts)

    def _done(self, program: Program, args: Mapping[str, Any], effect: str, item: Any, outcome: Mapping[str, Any]) -> Done:
        rule = program.rules.get(effect)
        key: str | None = None
        if rule is not None:
            port = self.connectors.effect(rule.declared.connector, rule.declared.config)
            with suppress(ToolmintError):  # no item for this connector: shown as the tool gave it, with the outcome that says so
                item = port.canonical(dict(rule.declared.config), item)
                key = encode(rule.key.evaluate(args, item))
        return Done(effect, item, str(outcome["status"]), outcome.get("error"), key)


def _told(heard: Heard) -> list[tuple[str, Any, Mapping[str, Any]]]:
    refused = {"status": "refused"}
    return [(act.effect, act.item, act.outcome or {**refused, "error": {"code": act.refused}}) for act in heard.acts]


@asynccontextmanager
async def staged(
    bench: Bench, example: Example, actor: Actor, program: Program, *, script: Sequence[Mapping[str, Any]] = ()
) -> AsyncIterator[Stage]:
    """A stage with the world of `example`, for runs of one program; `script` goes before the example's own."""
    async with open_stage(bench, example, actor, script) as (stage, _):
        stage.load = lambda _tenant, _tool, _version: program
        yield stage


@asynccontextmanager
async def open_stage(
    bench: Bench, example: Example, actor: Actor, script: Sequence[Mapping[str, Any]] = ()
) -> AsyncIterator[tuple[Stage, Path]]:
    """The same with its database's path and no program yet: `load` must be set before it is used."""
    path = bench.scratch / f"{ids.new('stage')}.db"
    await asyncio.to_thread(shutil.copyfile, bench.template, path)
    database = Database(f"sqlite:///{path}", clock=ScriptedClock(from_iso(example.now)), durable=False)
    entries = [*map(dict, script), *(entry.model_dump() for entry in example.world.script)]
    stage = Stage(database, scripted(entries), bench, actor, _nothing_loaded)
    try:
        await asyncio.to_thread(_furnish, database, actor.tenant, example.world)
        with metrics.uncounted():
            yield stage, path
    finally:
        await stage.close()
        for left in bench.scratch.glob(f"{path.name}*"):
            if left.is_file():
                left.unlink()


def _nothing_loaded(_tenant: str, tool: str, version: int) -> Program:
    raise NotFound("version_not_found", f"{tool} has no version {version} on this stage.")


def _furnish(database: Database, tenant: str, world: World) -> None:
    with database.writing() as session:
        for collection, records in world.records.items():
            store_many(session, tenant, collection, {record.key: record.body for record in records})
        for name, collection in world.snapshots.items():
            take_as(session, tenant, name, collection)
