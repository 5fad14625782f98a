"""Call a published tool: authorise, validate, choose a version, replay or begin, wait or hand back a handle.

It refuses to be: an executor, or a front door. REST, MCP and dashboard call this one function.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from app.access.permissions import use_case
from app.connectors.named import names_connections
from app.connectors.named import require as require_connections
from app.core.actor import Actor
from app.core.errors import Invalid, NotFound, TooLarge, ToolmintError
from app.core.feed import Signal
from app.invocation.admission import admitted, begins_here, room_for
from app.invocation.answers import RunAnswer, answer_of, answer_of_ending, answer_of_row
from app.invocation.approvals import needs_approval
from app.invocation.desk import Calls, Started
from app.invocation.identity import check_key, identity_of, natural_key
from app.invocation.leave import Leave, approval_of, barred, leave, required
from app.invocation.models import CallApproval
from app.observability import audit
from app.registry.channels import Choice, choose, no_tool
from app.registry.entries import Entry
from app.registry.proof import Evidence
from app.runtime.ending import Ending
from app.runtime.process import BEGIN_WITHIN_S, Call, Identity
from app.runtime.program import Program
from app.runtime.views import read_run

WAIT_S = 20.0
MOST_WAIT_S = 300.0
PATIENCE_S = 1.0
"""How long a call waits for a place in this process before a worker gets its run."""

LOOK_AGAIN_S = 1.0
Progress = Callable[[int, int | None], Awaitable[None]]
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Waiting:
    """How a caller waits: for how long, told of progress by whom, and whether its going away cancels the run that it began."""

    wait_s: float = WAIT_S
    progress: Progress | None = None
    cancels: Callable[[], bool] = lambda: False


@use_case(None)
async def call_tool(
    actor: Actor,
    calls: Calls,
    tool: str,
    args: Any,
    *,
    version: int | None = None,
    dry_run: bool = False,
    key: str | None = None,
    approval: str | None = None,
    source: str = "rest",
    waiting: Waiting = Waiting(),  # a frozen value
) -> RunAnswer:
    """Call `tool` with `args` and wait for at most `waiting.wait_s` (0: hand the run to a worker at once).

    `key` is the caller's idempotency key, `approval` the id of what lets it have effects; unless a version is pinned, the call is of the
    version that was approved. A dry run needs none, and says in `needs_approval` whether the call would.

    Raises NotFound `tool_not_found` (unknown and forbidden alike), `version_not_found`, TooLarge
    `input_too_large`, Invalid `args_invalid`, `idempotency_conflict`, Limited `too_many_calls`, Unavailable `paused`,
    Conflict `artifact_altered`, `connection_unknown`,
    and what `leave` raises for a call that carries an approval or needs one.
    """
    key = check_key(key)
    entry = await _entry(actor, calls, tool)
    with calls.counted(actor, tool):
        asked = None if approval is None or dry_run else await _asked(actor, calls, tool, approval)
        version = asked.version if asked is not None and asked.tool == tool and version is None else version
        program, choice = await _program(actor, calls, entry, args, key, version)
        _check(program, args)
        identity = None if dry_run else identity_of(actor, program.spec, args, key)
        if not dry_run and names_connections(program.spec):
            await asyncio.to_thread(_connected, actor, calls, program, identity)
        await admitted(actor, calls, tool, identity)
        wait_s = min(max(0.0, waiting.wait_s), MOST_WAIT_S)
        ends_at = asyncio.get_running_loop().time() + wait_s
        given = None if dry_run else await _leave(actor, calls, program, args, identity, asked, wait_s, source)
        here = wait_s > 0 and begins_here(calls, tool) and await calls.place(min(PATIENCE_S, wait_s / 2))
        if not here:
            await room_for(actor, calls)
        call = Call(args, identity, choice.channel, choice.reason, source, dry_run, here, patient=wait_s > 2 * BEGIN_WITHIN_S)
        started, task = await _begin(actor, calls, program, call, given)
        if started.how == "conflict":
            raise _conflict(started.run_id)
        answer = await _wait(actor, calls, program, choice, started, task, waiting, ends_at)
        if dry_run:
            answer.body["needs_approval"] = needs_approval(actor, program.spec)
        return answer


def _connected(actor: Actor, calls: Calls, program: Program, identity: Identity | None) -> None:
    """Raise Conflict `connection_unknown` rather than begin what cannot be sent; what was answered before is answered again."""
    if identity is None or not calls.runtime.answered(identity):
        require_connections(calls.database, actor.tenant, program.spec)


def _conflict(run_id: str) -> Invalid:
    detail, fix = "This key was used for a call with other arguments.", "Send the arguments of the first call, or another key."
    return Invalid("idempotency_conflict", detail, fix=fix, data={"run_id": run_id})


async def _asked(actor: Actor, calls: Calls, tool: str, approval: str) -> CallApproval:
    try:
        return await asyncio.to_thread(approval_of, calls.database, actor.tenant, approval)
    except NotFound as error:
        await asyncio.to_thread(_refused, actor, calls, tool, error.code, approval)
        raise


async def _leave(
    actor: Actor,
    calls: Calls,
    program: Program,
    args: Mapping[str, Any],
    identity: Identity | None,
    asked: CallApproval | None,
    wait_s: float,
    source: str,
) -> Leave | None:
    """What an approval gives to this call, None where it needs none; a refusal is recorded. A replay performs nothing and needs none."""
    if asked is None and not needs_approval(actor, program.spec):
        return None
    if identity is not None and await asyncio.to_thread(calls.runtime.answered, identity):
        return barred(program.tool)
    try:
        if asked is None:
            raise required(program.tool)
        return await leave(actor, calls, program, args, asked, wait_s, source)
    except ToolmintError as error:
        await asyncio.to_thread(_refused, actor, calls, program.tool, error.code, asked.id if asked is not None else None)
        raise


async def _begin(
    actor: Actor, calls: Calls, program: Program, call: Call, given: Leave | None
) -> tuple[Started, asyncio.Task[None] | None]:
    if given is None:
        return await calls.begin(actor, program, call)
    try:
        return await calls.begin(actor, program, replace(call, terms=given.terms, proviso=given.proviso))
    except ToolmintError as error:  # another call has used the approval up meanwhile
        approval = given.terms.approval if given.terms is not None else None
        await asyncio.to_thread(_refused, actor, calls, program.tool, error.code, approval)
        raise


async def _entry(actor: Actor, calls: Calls, tool: str) -> Entry:
    entry = (await calls.catalog.entries_soon(actor.tenant)).get(tool)
    if entry is not None and entry.callable_by(actor):
        return entry
    if entry is not None:
        await asyncio.to_thread(_refused, actor, calls, tool)
    raise no_tool(tool)


def _refused(actor: Actor, calls: Calls, tool: str, code: str = "permission_denied", approval: str | None = None) -> None:
    named = {} if approval is None else {"approval": approval[:80]}
    with calls.database.writing() as session:
        audit.record(session, actor, "tool.called", tool, "refused", trace_id=None, code=code, **named)


async def _program(actor: Actor, calls: Calls, entry: Entry, args: Any, key: str | None, version: int | None) -> tuple[Program, Choice]:
    run_key = key
    if run_key is None and len(entry.pointers) > 1 and isinstance(args, dict):
        with suppress(Invalid):  # arguments that make no key are refused below, with the place that is wrong
            run_key = natural_key(entry.spec, args)
    choice = choose(entry, actor, run_key, version)
    program = calls.catalog.load.recall(actor.tenant, entry.name, choice.version)
    if program is None:
        program = await asyncio.to_thread(calls.catalog.load, actor.tenant, entry.name, choice.version)
    # The entry speaks for the version of `stable`; another one may ask for permissions of its own.
    if not all(actor.may_ask(permission) for permission in program.spec.permissions):
        await asyncio.to_thread(_refused, actor, calls, entry.name)
        raise no_tool(entry.name)
    return program, choice


def _check(program: Program, args: Any) -> None:
    limit = program.spec.limits.input_bytes
    try:
        size = len(_encode(args).encode())
    except (ValueError, TypeError, RecursionError):
        raise Invalid("args_invalid", "The arguments are no JSON.", fix="Send finite numbers and valid Unicode only.") from None
    if size > limit:
        raise TooLarge(
            "input_too_large",
            f"The arguments have {size} bytes; {program.tool} takes {limit}.",
            fix="Put the data into a collection and pass a reference to it.",
        )
    problems = program.validators.args.problems(args)
    if problems:
        said = "; ".join(f"{problem.path} {problem.message}" for problem in problems[:3])
        raise Invalid("args_invalid", f"The arguments do not fit: {said}.", fix="Mend each place that is named.", problems=problems)


async def _wait(
    actor: Actor,
    calls: Calls,
    program: Program,
    choice: Choice,
    started: Started,
    task: asyncio.Task[None] | None,
    waiting: Waiting,
    ends_at: float,
) -> RunAnswer:
    loop = asyncio.get_running_loop()
    if task is not None and started.run is not None:
        async with _telling(calls, started.run_id, waiting.progress):
            try:
                await asyncio.wait({task}, timeout=max(0.0, ends_at - loop.time()))
            except asyncio.CancelledError:
                calls.abandoned(actor, started.run_id, cancel=waiting.cancels(), patience_s=ends_at - loop.time())
                raise
        if not task.done():
            calls.leave(started.run_id)
        elif (ending := started.ending) is not None and _tells_all(program, ending):
            evidence = await _evidence(actor, calls, program.tool, program.version)
            return answer_of_ending(program.tool, choice.channel, started.run, ending, evidence)
    return await _follow(actor, calls, program.tool, started, waiting, ends_at)


def _tells_all(program: Program, ending: Ending) -> bool:
    """Whether the run ended here with all that its answer says; what stopped before its end has its effects counted in the ledger."""
    if ending.state not in ("completed", "failed", "cancelled"):
        return False
    return ending.effects is not None or ending.plan is not None or not program.rules


async def _follow(actor: Actor, calls: Calls, tool: str, started: Started, waiting: Waiting, ends_at: float) -> RunAnswer:
    """The answer of a run that is not driven here: as it stands once it is over, or when the time is."""
    loop = asyncio.get_running_loop()
    replayed = started.how in ("replay", "in_flight")
    mine: Callable[[Signal], bool] = lambda signal: signal.subject == started.run_id and signal.topic == "run.finished"  # noqa: E731  a value
    try:
        async with calls.runtime.feed.listen(mine) as signals, _telling(calls, started.run_id, waiting.progress):
            while True:
                answer = await asyncio.to_thread(answer_of_row, actor, calls.database, started.run_id, replayed=replayed)
                left = ends_at - loop.time()
                if answer.over or left <= 0:
                    break
                with suppress(TimeoutError):
                    await asyncio.wait_for(signals.get(), min(left, LOOK_AGAIN_S))
    except asyncio.CancelledError:
        if started.how == "begun" and waiting.cancels():
            calls.abandoned(actor, started.run_id, cancel=True, patience_s=0)
        raise
    return RunAnswer(answer.body, answer.over, await _evidence(actor, calls, tool, answer.body["version"]))


@use_case(None)
async def read_answer(actor: Actor, calls: Calls, run_id: str) -> tuple[dict[str, Any], RunAnswer]:
    """A run as `read_run` tells it, and the answer that it gives a caller by now. Raises NotFound `run_not_found`."""
    row = await asyncio.to_thread(read_run, actor, calls.database, run_id)
    return row, answer_of(row, evidence=await _evidence(actor, calls, row["tool"], row["version"]))


async def _evidence(actor: Actor, calls: Calls, tool: str, version: int) -> Evidence:
    known = calls.catalog.load.known_evidence(actor.tenant, tool, version)
    return known if known is not None else await asyncio.to_thread(calls.catalog.load.evidence, actor.tenant, tool, version)


@asynccontextmanager
async def _telling(calls: Calls, run_id: str, progress: Progress | None) -> AsyncIterator[None]:
    """Tell the caller how far the run is, as the change feed says it."""
    if progress is None:
        yield
        return

    async def tell(signal: Signal) -> None:
        await progress(signal.data["done"], signal.data["total"])

    async with calls.runtime.feed.told(lambda signal: signal.subject == run_id and signal.topic == "run.progress", tell):
        yield
