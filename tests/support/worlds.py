"""A world for the runtime: the real runtime, the real sandbox, twins of the connectors, a database of its own.

A tool is a few lines of source around one spec; a process that dies is a Runtime that is dropped without a word, and the
next one takes over what its owner held.
"""

from __future__ import annotations

import contextlib
import json
import textwrap
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.connectors.scripted import ScriptedConnectors, ScriptedCrash, scripted
from app.core import owners
from app.core.actor import DEFAULT_TENANT, Actor
from app.core.db import Database
from app.core.feed import Feed
from app.runtime import views
from app.runtime.ending import Ending
from app.runtime.flow.limits import Limits
from app.runtime.process import Call, Runtime
from app.runtime.program import Program
from app.runtime.recovery import sweep
from app.runtime.repository.runs import Begun, Identity
from app.sandbox.sandbox import Sandbox
from app.spec.canonical import digest
from app.spec.contract import contract_text
from app.spec.model import ExecutionSpec

CALLER = Actor("key_caller", "caller", DEFAULT_TENANT, frozenset({"tools:call", "effects:resolve"}))

SENDER = """
from contract import Args, Result
from toolkit import Context

def run(args: Args, ctx: Context) -> Result:
    counts = {"done": 0, "skipped": 0, "duplicate": 0, "retrying": 0, "failed": 0, "unknown": 0}
    items = ({"to": to, "subject": args.get("subject", "Hello"), "text": "Hi"} for to in args["to"])
    for outcome in ctx.perform_each("send", items):
        counts[outcome.status] += 1
    return counts
"""
PURE = """
from contract import Args, Result
from toolkit import Context

def run(args: Args, ctx: Context) -> Result:
    return {"done": len(args["to"])}
"""


def sender_spec(**changes: Any) -> ExecutionSpec:
    """A spec that sends to each address of `to`, once per group; `changes` go into its one effect, `_`-prefixed ones into the spec."""
    count = {"type": "integer", "minimum": 0, "description": "How many."}
    names = ("done", "skipped", "duplicate", "retrying", "failed", "unknown")
    effect = {
        "id": "send",
        "connector": "email.send",
        "config": {"from_domain": "example.com"},
        "key": "[args.group, item.to]",
        "retry": {"max_attempts": 3, "initial_delay_s": 0.1, "factor": 1, "max_delay_s": 0.1},
        "limits": {"per_run": 100_000},
        "ledger": {"name": "notes", "group": "args.group", "subject": "item.to"},
        "undo": None,
        "undo_reason": "an e-mail cannot be called back",
    } | {name: value for name, value in changes.items() if not name.startswith("_")}
    body = {
        "spec_version": "1",
        "name": "send_notes",
        "title": "Send notes",
        "description": "Sends a note to each address.",
        "inputs": {
            "type": "object",
            "additionalProperties": False,
            "required": ["group", "to"],
            "properties": {
                "group": {"type": "string", "maxLength": 64, "description": "The group."},
                "subject": {"type": "string", "maxLength": 64, "description": "The subject."},
                "to": {"type": "array", "maxItems": 100_000, "items": {"type": "string", "maxLength": 320}, "description": "Addresses."},
            },
        },
        "outputs": {
            "type": "object",
            "additionalProperties": False,
            "required": ["done"],
            "properties": dict.fromkeys(names, count),
        },
        "effects": [effect],
        "limits": {"timeout_s": 60, "input_bytes": 8_000_000},
    } | {name[1:]: value for name, value in changes.items() if name.startswith("_")}
    return ExecutionSpec.model_validate_json(json.dumps(body))


def program_of(spec: ExecutionSpec, source: str = SENDER, version: int = 1) -> Program:
    """A Program of `source`, as the registry would load it."""
    files = {
        "tool.py": textwrap.dedent(source),
        "contract.py": contract_text(spec, scripted().catalog),
        "spec.json": spec.without_held_out().canonical().decode(),
    }
    return Program(spec.name, version, digest([spec.digest, files]), spec, files)


@dataclass
class World:
    """`runtime` is the living process; `die` drops it as a SIGKILL would and starts the next."""

    database: Database
    sandbox: Sandbox
    connectors: ScriptedConnectors
    programs: dict[int, Program]
    lease_s: float = 15.0
    flow: Limits | None = None
    runtime: Runtime = field(init=False)
    feed: Feed = field(init=False)

    async def start(self) -> None:
        self.feed = Feed(self.database, interval_s=0.02)
        await self.feed.start()
        await self.boot()

    async def boot(self) -> Runtime:
        self.runtime = self.another()
        await self.runtime.start()
        return self.runtime

    def another(self) -> Runtime:
        """A second process on the same database, not started yet."""
        load: Callable[[str, str, int], Program] = lambda _tenant, _tool, version: self.programs[version]  # noqa: E731  # a value
        parts = (self.database, self.sandbox, self.connectors, load, self.feed)
        return Runtime(*parts, role="worker", lease_s=self.lease_s, heartbeat_s=0.1, limits=self.flow)

    async def stop(self) -> None:
        await self.runtime.stop()
        await self.feed.stop()

    async def call(
        self, *, key: str | None = None, ttl_s: int | None = None, dry_run: bool = False, version: int = 1, here: bool = True, **args: Any
    ) -> tuple[Begun, Ending | None]:
        """Begin a run and drive it to its end, if it is to run here."""
        identity = Identity(key, digest(args), ttl_s and ttl_s * 1000) if key else None
        call = Call(args, identity, dry_run=dry_run, here=here)
        begun, execution = await self.runtime.begin(CALLER, self.programs[version], call)
        return begun, await self.runtime.drive(execution) if execution else None

    async def die(self) -> list[str]:
        """The process is gone: its heartbeat stops, its lease is void, the next one sweeps. Returns the runs that wait."""
        dead = self.runtime
        await silence(dead)
        await self.boot()
        return sweep(self.database)

    async def call_and_die(self, **args: Any) -> tuple[str, list[str]]:
        """Begin a run that meets a scripted crash; returns its id and the runs that wait afterwards."""
        begun, execution = await self.runtime.begin(CALLER, self.programs[1], Call(args))
        assert execution is not None
        with contextlib.suppress(ScriptedCrash):
            await self.runtime.drive(execution)
            raise AssertionError("the script's cue to die was not met")
        return begun.run_id, await self.die()

    def states(self) -> dict[str, str]:
        """The state of each effect by its subject."""
        page = views.read_ledger(CALLER, self.database, "notes", "g", limit=500)
        return {row["subject"]: row["state"] for row in page["items"]}

    def sent(self) -> list[str]:
        """To whom the scripted world sent, in order, repeats included."""
        return [performed.item["to"] for performed in self.connectors.performed]

    def run(self, run_id: str) -> dict[str, Any]:
        return views.read_run(CALLER, self.database, run_id)


@contextlib.asynccontextmanager
async def world(
    database: Database,
    sandbox: Sandbox,
    source: str = SENDER,
    script: Sequence[dict[str, Any]] = (),
    *,
    lease_s: float = 15.0,
    flow: Limits | None = None,
    **changes: Any,
) -> AsyncIterator[World]:
    """A started world with version 1 of a tool made of `source` and `sender_spec(**changes)`."""
    made = World(database, sandbox, scripted(script), {1: program_of(sender_spec(**changes), source)}, lease_s, flow)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def silence(runtime: Runtime) -> None:
    """Stop a process's heartbeat and void its lease, as a supervisor does for a child that it has reaped; it does not know."""
    runtime._stopping.set()
    for task in runtime._tasks:
        await task
    if runtime.flow is not None:
        await runtime.flow.stop()
    owners.void(runtime.database, owner=runtime.owner)
