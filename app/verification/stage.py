"""A private stage for one schedule: a database of its own, the scripted world of an example, the real runtime, time of its own.

What runs here is what will run: broker, journal, state machine, sandbox. Only connectors that leave the process are twins, and the
database is a copy of a migrated template that is thrown away. Time stands still, as it does for most runs in production, unless it is let
run. A process that follows on another has another sandbox, in which nothing has the address that it had.

It refuses to be: a simulation. A crash on the stage ends a Runtime without a word; another one takes its work over by the tables. Which
moments to interrupt, and what must hold afterwards, is for those who play on it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

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
from app.runtime import departures
from app.runtime.decisions import resolve_effect
from app.runtime.ending import Ending
from app.runtime.execution import Execution
from app.runtime.journal import encode
from app.runtime.plans import Terms
from app.runtime.process import Call, Loader, Runtime
from app.runtime.program import Program
from app.runtime.queue import next_due, work_queue
from app.runtime.recovery import sweep
from app.runtime.replaying import Player
from app.spec.model import Example, World
from app.verification import repository
from app.verification.subject import Bench
from app.verification.witness import Heard, Meeting, Moment, Witness

Key = tuple[str, str]
PAGE = 1
"""How many records a page of a stage has where the query does not say: a world of a few records has several pages, as a real one has."""

LATER_MS = 61_000
"""What passes between a call and the same call again: enough to tell a key with a minute in it."""

MEET_S = 10.0
_LEASE_S = 3600.0
"""More than any stage lets pass while a process lives."""

MOST_MOVES = 10
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Done:
    """An item of a run: the effect, the item as its connector spells it (as given where it takes none), what the tool was told.

    `key` is the canonical JSON text of the spec's key for it; None where the item has none. `differs`: what was done under that key was
    another item.
    """

    effect: str
    item: Any
    status: str
    error: Mapping[str, Any] | None = None
    key: str | None = None
    differs: bool = False


@dataclass(frozen=True, slots=True)
class Played:
    """One run on a stage. `done` has one entry per item of its last attempt, in order; `attempts` is what each attempt's guest lived.

    `seed` is that of its random values and new ids.
    """

    run_id: str
    state: str
    result: Any
    error: Mapping[str, Any] | None
    done: tuple[Done, ...]
    attempts: tuple[Heard, ...]
    seed: str = ""

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
    id: str = ""


@dataclass(frozen=True, slots=True)
class Interruption:
    """Once, at the first moment for which `when` holds, the process dies, the run is cancelled, or somebody else does something."""

    how: Literal["die", "cancel"] | Callable[[Moment], None]
    when: Callable[[Moment], bool]


class Stage:
    """Open it with `staged`; `play` runs the tool once, `ledger` shows what there is."""

    def __init__(self, database: Database, clock: ScriptedClock, connectors: ScriptedConnectors, bench: Bench, actor: Actor) -> None:
        self.database = database
        self.clock = clock
        self.connectors = connectors
        self.actor = actor
        self.load: Loader = _nothing_loaded
        self.guests = [bench.guests, bench.others or bench.guests]
        self.witness = Witness(bench.guests, meet=self._meet)
        self.interruptions: list[Interruption] = []
        self._runtime: Runtime | None = None
        self._run_id = ""

    async def play(self, program: Program, args: Mapping[str, Any], seed: str | None = None) -> Played:
        """One run to its end, through every death that is in store for it. With a `seed` what it draws is what another run drew."""
        runtime = await self.living()
        run_id, execution = await self._begun(runtime, program, args, seed)
        before = len(self.witness.heard)
        try:
            ending: Ending | None = await runtime.drive(execution)
        except ScriptedCrash:
            ending = await self._resume(run_id)
        played = self._played(program, run_id, args, ending, tuple(self.witness.heard[before:]))
        return replace(played, seed=execution.run.seed)

    async def play_twins(self, program: Program, args: Mapping[str, Any]) -> list[Played]:
        """The same call in two processes at once: neither asks for its first effect before the other is about to, or is over."""
        witnesses = [Witness(guests, meet=meet) for guests, meet in zip(self.guests, _meeting(2), strict=True)]
        twins = await asyncio.gather(*(self._twin(program, args, witness) for witness in witnesses))
        plays = []
        for witness, (run_id, ending) in zip(witnesses, twins, strict=True):
            before = len(self.witness.heard)
            ended = ending or await self._resume(run_id)  # its process died, which is seen to once the other run is over
            plays.append(self._played(program, run_id, args, ended, (*witness.heard, *self.witness.heard[before:])))
        return plays

    async def _twin(self, program: Program, args: Mapping[str, Any], witness: Witness) -> tuple[str, Ending | None]:
        """One run in a process of its own. None: that died, and what it held is free."""
        runtime = await self._born(witness)
        try:
            run_id, execution = await self._begun(runtime, program, args)
            with suppress(ScriptedCrash):
                return run_id, await runtime.drive(execution)
        finally:
            await runtime.stop()
        await asyncio.to_thread(sweep, self.database)
        return run_id, None

    async def replay(self, run_id: str, program: Program) -> tuple[str, dict[str, Any]]:
        """`same` or `differs`, with the report, of a run that is over."""
        player = await asyncio.to_thread(self._player, await self.living(), run_id, program)
        return await player.play()

    async def pass_time(self, passing_ms: int = LATER_MS) -> bool:
        """Later, in another process. Whether an hour has ended, with which a day may end that makes other work of a call."""
        await self._die()
        hour = self.clock.now() // _HOUR_MS
        self.clock.advance(passing_ms)
        return self.clock.now() // _HOUR_MS != hour

    def let_time_run(self, pace_ms: int) -> None:
        """From now on each of ten requests of a tool takes once to twice so long, and a tool sees that time moves."""
        at = self.clock.now()
        moves = (pace_ms + zlib.crc32(f"{at} {number}".encode()) % pace_ms for number in range(MOST_MOVES if pace_ms else 0))
        self.witness.tick = lambda: self.clock.advance(next(moves, 0))

    async def settle(self) -> None:
        """What a run has left open is brought to its end: doubts by a person who looked, the rest by the queue when it is due."""
        await asyncio.to_thread(self._resolve)
        due = await asyncio.to_thread(next_due, self.database)
        left_ms = _HOUR_MS - 1 - self.clock.now() % _HOUR_MS  # in the same hour, so that no other work comes of it
        await self.pass_time(max((due or 0) - self.clock.now(), min(LATER_MS, left_ms)))
        if due is not None:
            await work_queue(await self.living())

    def ledger(self) -> dict[Key, Row]:
        """Every effect by `(effect, key)`, the key as canonical JSON text."""
        performed = Counter(entry.effect_id for entry in self.connectors.performed)
        with self.database.reading() as session:
            rows = repository.effects(session)
        return {(row.effect, row.key): Row(row.state, json.loads(row.item), row.attempts, performed[row.id], row.id) for row in rows}

    def records(self) -> dict[tuple[str, str], Any]:
        """Every record's body by collection and key."""
        with self.database.reading() as session:
            return repository.records(session)

    def key_of(self, program: Program, args: Mapping[str, Any], effect: str, item: Any) -> tuple[Any, str | None]:
        """The item as its connector spells it, and the text of its key; None where it has none, and the item as it was given."""
        rule = program.rules.get(effect)
        if rule is None:
            return item, None
        port = self.connectors.effect(rule.declared.connector, rule.declared.config)
        try:
            item = port.canonical(dict(rule.declared.config), item)
            return item, encode(rule.key.evaluate(args, item))
        except ToolmintError:  # shown as it stands, with the outcome that says why
            return item, None

    async def close(self) -> None:
        if self._runtime is not None:
            await self._runtime.stop()
        self.database.close()

    async def living(self) -> Runtime:
        """The present process's runtime, started."""
        if self._runtime is None:
            self._runtime = await self._born(self.witness)
        return self._runtime

    async def _born(self, witness: Witness) -> Runtime:
        runtime = Runtime(self.database, witness, self.connectors, self.load, Feed(self.database), role="verification", lease_s=_LEASE_S)
        await runtime.start()
        return runtime

    async def _begun(self, runtime: Runtime, program: Program, args: Mapping[str, Any], seed: str | None = None) -> tuple[str, Execution]:
        terms = Terms(seed) if seed is not None else None
        begun, execution = await runtime.begin(self.actor, program, Call(dict(args), source="verification", terms=terms))
        if execution is None:
            raise RuntimeError(f"a run without identity was not begun but {begun.how}")
        self._run_id = begun.run_id
        return begun.run_id, execution

    async def _meet(self, moment: Moment) -> None:
        if not self.interruptions or not self.interruptions[0].when(moment):
            return
        how = self.interruptions.pop(0).how
        if how == "die":
            raise ScriptedCrash
        if how == "cancel":
            (await self.living()).stop_run(self._run_id, "cancelled")
        else:
            await asyncio.to_thread(how, moment)

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
            self.guests.reverse()
            self.witness.guests = self.guests[0]

    def _played(self, program: Program, run_id: str, args: Mapping[str, Any], ending: Ending | None, attempts: tuple[Heard, ...]) -> Played:
        if ending is not None and ending.state == "crashed":  # its sandbox went away, or we have a bug: nothing is known of the tool
            raise RuntimeError(f"the run {run_id} of a verification was broken off by the platform")
        done = tuple(self._done(program, args, *told) for told in _told(attempts[-1]))
        if ending is None:
            with self.database.reading() as session:
                row = repository.run(session, run_id)
            state, error = (row.state, row.error) if row else ("lost", None)
            return Played(run_id, state, None, error, done, attempts)
        return Played(run_id, ending.state, ending.result, ending.error, done, attempts)

    def _done(self, program: Program, args: Mapping[str, Any], effect: str, item: Any, outcome: Mapping[str, Any]) -> Done:
        spelled, key = self.key_of(program, args, effect, item)
        return Done(effect, spelled, str(outcome["status"]), outcome.get("error"), key, bool(outcome.get("differs")))

    def _player(self, runtime: Runtime, run_id: str, program: Program) -> Player:
        with self.database.reading() as session:
            row = repository.run(session, run_id)
        if row is None:
            raise RuntimeError(f"the stage has no run {run_id}")
        return Player.of(runtime, row, program)

    def _resolve(self) -> None:
        """What happened is confirmed, what did not is tried again."""
        operator = Actor("key_operator", "operator", self.actor.tenant, frozenset({"effects:resolve"}))
        for row in self.ledger().values():
            if row.state == "unknown":
                resolve_effect(operator, self.database, row.id, "confirm_done" if row.performed else "retry", "looked up by verification")


def _meeting(number: int) -> list[Meeting]:
    """Moments of so many sessions that wait for each other before the first request for an effect."""
    here: set[int] = set()
    complete = asyncio.Event()

    async def meet(who: int, moment: Moment) -> None:
        if complete.is_set() or moment.what == "told":
            return
        here.add(who)
        if len(here) == number:
            complete.set()
        elif moment.what == "asks":
            with suppress(TimeoutError):  # the other is stuck: its own time limit ends it
                await asyncio.wait_for(complete.wait(), MEET_S)

    return [partial(meet, who) for who in range(number)]


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
    clock = ScriptedClock(from_iso(example.now))
    database = Database(f"sqlite:///{path}", clock=clock, durable=False)
    entries = [*map(dict, script), *(entry.model_dump() for entry in example.world.script)]
    stage = Stage(database, clock, scripted(entries, page=PAGE), bench, actor)
    try:
        await asyncio.to_thread(_furnish, database, actor.tenant, example.world)
        with metrics.uncounted():
            yield stage, path
    finally:
        await stage.close()
        departures.forget_all(database)
        for left in bench.scratch.glob(f"{path.name}*"):
            if left.is_file():
                left.unlink()


def in_world(example: Example, **changes: Any) -> Example:
    """The example with another `script`, `records` or `snapshots` of its world."""
    return example.model_copy(update={"world": example.world.model_copy(update=changes)})


def _nothing_loaded(_tenant: str, tool: str, version: int) -> Program:
    raise NotFound("version_not_found", f"{tool} has no version {version} on this stage.", fix="Publish it there first.")


def _furnish(database: Database, tenant: str, world: World) -> None:
    with database.writing() as session:
        for collection, records in world.records.items():
            store_many(session, tenant, collection, {record.key: record.body for record in records})
        for name, collection in world.snapshots.items():
            take_as(session, tenant, name, collection)
