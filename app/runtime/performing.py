"""Performing held effects: through the state machine, one port, with the group writer's commits between.

Used by the broker inside a run and by the queue outside one. What is committed before the first byte that may commit is
`performing`; what the port answers decides the rest.

It refuses to be: the planner. It is handed claims that this process holds.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from app.connectors.port import LocalEffect, RemoteEffect, Reply, Request
from app.core.clock import Clock
from app.core.errors import Conflict
from app.core.faults import fault
from app.core.writer import GroupWriter
from app.observability import metrics
from app.runtime.repository.effects import Claim, Move, move
from app.runtime.state import after_refusal, backoff_ms, status_of
from app.spec.model import Effect as Declared

EFFECT_TIMEOUT_MS = 60_000
Outcome = dict[str, Any]


class FencedOut(Conflict):
    """Another process holds what this one thought it held; it must stop."""

    def __init__(self) -> None:
        super().__init__("fenced_out", "Another process has taken this work over.", retryable=True)


@dataclass(slots=True)
class Task:
    """A held effect with what its port needs. `outcome` appears once its end is durable."""

    claim: Claim
    attempts: int
    request: Request
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Hands:
    """What performing needs of its process: the writer, time, and whether the lease still holds."""

    writer: GroupWriter
    clock: Clock
    may_perform: Callable[[], bool]
    jitter: random.Random


async def perform_remote(
    hands: Hands, port: RemoteEffect, declared: Declared, tasks: Iterable[Task], *, lanes: int, go_on: Callable[[], bool], pace: Any = None
) -> None:
    """Perform tasks in up to `lanes` at once until none is left or `go_on` says no; sets each task's outcome.

    A task whose outcome is None afterwards was not begun. Raises FencedOut.
    """
    queue = iter(tasks)
    recording: list[asyncio.Task[None]] = []

    async def lane() -> None:
        for task in queue:
            if not go_on():
                return
            if pace is not None:
                await pace.acquire()
            await _begin(hands, task)
            reply = await port.perform(task.request)
            fault("effect.performed")
            recording.append(asyncio.create_task(_record(hands, port.kind.name, declared, task, reply)))

    ends = await asyncio.gather(*(lane() for _ in range(lanes)), return_exceptions=True)
    ends += await asyncio.gather(*recording, return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end


async def _begin(hands: Hands, task: Task) -> None:
    if not hands.may_perform():
        raise FencedOut
    fault("effect.claimed")
    task.attempts += 1
    if not await hands.writer.submit(move, Move(task.claim, "claimed", "performing", task.attempts)):
        raise FencedOut
    fault("effect.performing")


async def _record(hands: Hands, connector: str, declared: Declared, task: Task, reply: Reply) -> None:
    for step in _moves(hands, declared, task, reply):
        if not await hands.writer.submit(move, step):
            raise FencedOut
        task.outcome = outcome_of(step.after, step.receipt, step.error)
        metrics.EFFECTS.labels(connector, step.after).inc()
    fault("effect.recorded")


def _moves(hands: Hands, declared: Declared, task: Task, reply: Reply) -> list[Move]:
    receipt = json.dumps(reply.receipt, ensure_ascii=False) if reply.receipt is not None else None
    error = error_text(reply.code, reply.message) if reply.verdict != "done" else None
    after = {
        "done": "done",
        "refused": "failed",
        "refused_now": after_refusal(task.attempts, declared.retry),
        "unknown": "unknown",
    }[reply.verdict]
    next_at = hands.clock.now() + backoff_ms(task.attempts, declared.retry, hands.jitter) if after == "retry_wait" else None
    code = reply.code or None if error else None
    first = Move(task.claim, "performing", after, task.attempts, receipt, code, error, next_at)
    if after != "unknown" or declared.on_unknown == "hold" or task.attempts >= declared.retry.max_attempts:
        return [first]
    again = hands.clock.now() + backoff_ms(task.attempts, declared.retry, hands.jitter)
    return [first, Move(task.claim, "unknown", "planned", task.attempts, receipt, code, error, again, "policy retry")]


def error_text(code: str, message: str) -> str:
    """The JSON text that an effect row keeps of an error."""
    return json.dumps({"code": code, "message": message[:500]}, ensure_ascii=False)


def outcome_of(state: str, receipt: str | None, error: str | None, *, status: str | None = None, differs: bool = False) -> Outcome:
    """What a tool is told: the wire's outcome object, without empty fields."""
    outcome: Outcome = {"status": status or status_of(state)}
    if receipt is not None:
        outcome["receipt"] = json.loads(receipt)
    if error is not None and outcome["status"] not in ("done", "skipped"):
        outcome["error"] = json.loads(error)
    if differs:
        outcome["differs"] = True
    return outcome


@dataclass(frozen=True, slots=True)
class LocalBatch:
    """Held effects of one local port, to be performed in the transaction that records them."""

    port: LocalEffect
    tasks: Sequence[Task]


def perform_local(session: Session, batches: list[LocalBatch]) -> list[list[Outcome]]:
    """Perform and record in one transaction. Raises FencedOut, which undoes all of it."""
    return [_perform_batch(session, batch) for batch in batches]


def _perform_batch(session: Session, batch: LocalBatch) -> list[Outcome]:
    moves: list[Move] = []
    for task in batch.tasks:
        reply = batch.port.perform(session, task.request)
        receipt = json.dumps(reply.receipt, ensure_ascii=False) if reply.receipt is not None else None
        done = reply.verdict == "done"
        error = None if done else error_text(reply.code, reply.message)
        code = None if done else reply.code
        moves.append(Move(task.claim, "claimed", "done" if done else "failed", task.attempts + 1, receipt, code, error))
    if not all(move(session, moves)):
        raise FencedOut
    for item in moves:
        metrics.EFFECTS.labels(batch.port.kind.name, item.after).inc()
    return [outcome_of(item.after, item.receipt, item.error) for item in moves]
