"""Chapters: short stories in which every transition of a run and of an effect is made, told by callers and operators who ask again.

Each may be cut off anywhere by the death of its process and told again from the start by the next one; it then ends the same.

It refuses to be: the judge. `REACHED` says which chapter makes which transition; the tests see to it that this is so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from app.connectors.port import Request
from app.connectors.scripted import ScriptedCrash
from app.core.db import Database
from app.core.errors import Conflict
from app.runtime import decisions, lookups, queue, views
from app.runtime.departures import AHEAD
from app.runtime.flow.gate import Gate
from app.runtime.process import Call, Identity
from app.runtime.program import Program
from app.runtime.redrives import Selection, redrive_effects
from tests.durability.recital import Memory, RestingGate
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, World, program_of, sender_spec

_RETRY = {"retry": {"max_attempts": 2, "initial_delay_s": 0.1, "factor": 1, "max_delay_s": 0.1}}
_LEDGER = {"name": "notes", "group": "args.group", "subject": "item.key"}
_RECORD = {"connector": "records.put", "config": {"collection": "notes"}, "key": "[args.group, item.key]", "ledger": _LEDGER}
PROGRAMS: Mapping[int, Program] = {
    1: program_of(sender_spec(**_RETRY)),
    2: program_of(sender_spec(**_RETRY, on_unknown="retry"), version=2),
    3: program_of(sender_spec(**_RETRY, retry_failed=True), version=3),
    4: program_of(sender_spec(**_RETRY, **_RECORD, undo_reason="a note may stay"), version=4),
}


@dataclass
class Stage:
    """A process in which a chapter is told."""

    world: World
    memory: Memory
    chapter: str
    asides: dict[str, Callable[[Request], Awaitable[None]]] = field(default_factory=dict)

    @property
    def database(self) -> Database:
        return self.world.database

    def load(self, _tenant: str, _tool: str, version: int) -> Program:
        return PROGRAMS[version]

    async def call(self, key: str, to: Sequence[str], *, version: int = 1, here: bool = True, subject: str = "Hello") -> str:
        """Begin a run, or find the one that answers for this key; a crash on cue ends the process's runtime and begins another."""
        args = {"group": self.chapter, "to": list(to), "subject": subject}
        call = Call(args, Identity(f"{self.chapter} {key}", key, None), here=here)
        begun, execution = await self.world.runtime.begin(CALLER, PROGRAMS[version], call)
        if execution is not None:
            await self._survive(self.world.runtime.drive(execution))
        return begun.run_id

    async def finish(self, key: str, to: Sequence[str], *, version: int = 1, here: bool = True, subject: str = "Hello") -> str:
        """The same, and have it executed until nothing of it waits."""
        run_id = await self.call(key, to, version=version, here=here, subject=subject)
        while self.state(run_id) in ("available", "scheduled"):
            await self._survive(self.world.runtime.execute(run_id))
        return run_id

    async def _survive(self, work: Awaitable[Any]) -> None:
        with contextlib.suppress(ScriptedCrash):
            await work
            return
        await self.world.die()

    def state(self, run_id: str) -> str:
        return str(self.world.run(run_id)["state"])

    def cancel(self, run_id: str) -> None:
        """Unless it is over, which is what a caller who asks again may be told."""
        with contextlib.suppress(Conflict):
            decisions.cancel_run(CALLER, self.database, run_id)

    def rows(self) -> dict[str, dict[str, Any]]:
        page = views.read_ledger(CALLER, self.database, "notes", self.chapter, limit=500)
        return {row["subject"]: row for row in page["items"]}

    def verdict(self, to: str, verdict: str) -> None:
        """Unless it is not unknown."""
        with contextlib.suppress(Conflict):
            decisions.resolve_effect(CALLER, self.database, self.rows()[to]["effect_id"], verdict, "the chapter says so")

    async def settle(self) -> None:
        """Work the queue until nothing waits."""

        async def worked() -> bool:
            await queue.work_queue(self.world.runtime)
            return queue.next_due(self.database) is None

        await until(worked, what="no retry waits")

    async def resolve_doubts(self) -> None:
        """What an operator does at the end: look each unknown up, and send round again what was not done, until all is settled."""
        await self.settle()
        while doubtful := [to for to, row in self.rows().items() if row["state"] in ("unknown", "dead")]:
            self.redrive()
            for to in doubtful:
                self.verdict(to, "confirm_done" if to in self.memory.sent() else "retry")
            await self.settle()

    def redrive(self) -> None:
        """Send every dead letter round again."""
        dead = [row["effect_id"] for row in self.rows().values() if row["state"] == "dead"]
        if dead:
            redrive_effects(CALLER, self, Selection(tuple(dead)), "it answers again")


def _to(*names: str) -> list[str]:
    return [f"{name}@example.org" for name in names]


async def mails(stage: Stage) -> None:
    """A call that a worker executes; one is refused for now, one for good, one too often, which an operator sends round again."""
    to = _to("ok.ann", "later.bob", "no.cat", "never.dan", "ok.eve", *(f"ok.f{number}" for number in range(AHEAD)))  # two chunks
    await stage.finish("first", to, here=False)
    await stage.settle()
    stage.redrive()
    await stage.settle()


async def doubts(stage: Stage) -> None:
    """Three unknowns with three verdicts, and a refusal; a later version tries again what failed."""
    gone, lost, given_up, bad = _to("gone.ann", "lost.bob", "lost.cat", "bad.dan")
    await stage.finish("first", [gone, lost, given_up, bad])
    stage.verdict(gone, "confirm_done")
    stage.verdict(lost, "retry")
    if stage.memory.once("given up"):
        stage.verdict(given_up, "abandon")
    await stage.settle()
    await stage.finish("second", [given_up, bad], version=3)


async def repeats(stage: Stage) -> None:
    """The policy `retry`: an unknown goes back to the queue by itself."""
    await stage.finish("first", _to("lost.ann", "ok.bob", "crash.cat", "ok.dan"), version=2)
    await stage.settle()


async def cancellations(stage: Stage) -> None:
    """A run cancelled at work, one before it began, one after a crash; the same calls again do what was left."""

    async def told(request: Request) -> None:
        (run_id,) = [run["id"] for run in views.list_runs(CALLER, stage.database)["items"] if run["state"] == "executing"]
        stage.cancel(run_id)
        stage.world.runtime.stop_run(run_id, "cancelled")

    stage.asides["cancel"] = told
    at_work = _to("ok.ann", "cancel.bob", "ok.cat", *(f"ok.d{number}" for number in range(AHEAD)))  # more than are begun at once
    await stage.call("at work", at_work)
    await stage.finish("at work again", at_work)
    stage.cancel(await stage.call("idle", _to("ok.eve"), here=False))
    crashed = _to("later.fay", "crash.gus", "ok.hal")
    stage.cancel(await stage.call("crashed", crashed))
    await stage.finish("crashed again", crashed)


async def crashes(stage: Stage) -> None:
    """A run that leaves its process, one that survives a crash, one that crashes three times, one that fails."""

    async def leave(request: Request) -> None:
        for run in views.list_runs(CALLER, stage.database)["items"]:
            stage.world.runtime.stop_run(run["id"], "leave")

    stage.asides["leave"] = leave
    await stage.finish("leaves", _to("leave.ann", "ok.bob"))
    await stage.finish("crashes", _to("crash.cat", "ok.dan"))
    thrice = _to("crash.eve", "crash.fay", "crash.gus", *(f"ok.h{number}" for number in range(AHEAD)))  # more than are begun at once
    await stage.finish("crashes thrice", thrice)
    await stage.finish("crashes thrice", thrice)
    await stage.finish("fails", _to("ok.ida"), subject="fail")


async def records(stage: Stage) -> None:
    """Effects in our own database, and one that a resting circuit holds up."""
    await stage.finish("local", _to("ok.ann", "no.bob"), version=4, subject="record")
    resting = cast("Gate", RestingGate(stage.memory, stage.database.clock.now))
    stage.world.runtime.engine.gate_of = lambda _tenant, _tool, _effect: resting
    await stage.finish("resting", _to("rest.cat"))
    await stage.settle()


async def questions(stage: Stage) -> None:
    """A provider that can be asked settles what is unknown."""
    await stage.finish("first", _to("gone.ann", "lost.bob"))

    async def asked() -> bool:
        await lookups.look_up_due(stage.world.runtime)
        return all(row["state"] != "unknown" for row in stage.rows().values())

    await until(asked, what="nothing is unknown")
    await stage.settle()


CHAPTERS: Mapping[str, Callable[[Stage], Awaitable[None]]] = {
    chapter.__name__: chapter for chapter in (mails, doubts, repeats, cancellations, crashes, records, questions)
}
REACHED: Mapping[str, Sequence[str]] = {
    "mails": (
        "effect.new-planned",
        "effect.planned-claimed",
        "effect.claimed-performing",
        "effect.performing-done",
        "effect.performing-retry_wait",
        "effect.performing-failed",
        "effect.performing-dead",
        "effect.retry_wait-planned",
        "effect.dead-planned",
        "run.new-available",
        "run.available-executing",
        "run.executing-completed",
    ),
    "doubts": (
        "effect.performing-unknown",
        "effect.unknown-done",
        "effect.unknown-abandoned",
        "effect.failed-planned",
        "effect.abandoned-planned",
        "run.new-executing",
    ),
    "repeats": ("effect.unknown-planned",),
    "cancellations": (
        "effect.claimed-cancelled",
        "effect.planned-cancelled",
        "effect.retry_wait-cancelled",
        "effect.cancelled-planned",
        "run.executing-cancelled",
        "run.available-cancelled",
        "run.scheduled-cancelled",
    ),
    "crashes": (
        "effect.claimed-planned",
        "effect.performing-planned",
        "run.executing-available",
        "run.executing-scheduled",
        "run.scheduled-executing",
        "run.executing-quarantined",
        "run.executing-failed",
    ),
    "records": ("effect.claimed-done", "effect.claimed-failed", "effect.claimed-retry_wait"),
    "questions": (),
}
PASSED: Mapping[str, Sequence[str]] = {
    "mails": (
        "run.begun",
        "run.claimed",
        "run.result.before",
        "run.result.after",
        "journal.step.before",
        "journal.step.after",
        "effect.planned",
        "effect.claimed",
        "effect.performing",
        "effect.performed",
        "effect.recorded",
        "effect.retry.claimed",
    ),
    "questions": ("lookup.answered",),
}
"""Points that are no transitions, by the chapter that passes them."""


def points_of(chapter: str) -> list[str]:
    """Every point at which this chapter's process is to die once."""
    both = [f"{move}.{side}" for move in REACHED[chapter] for side in ("before", "after")]
    return [*both, *PASSED.get(chapter, ())]
