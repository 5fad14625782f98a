"""Performing held effects: through the state machine, one port, with the group writer's commits between.

Used by the broker inside a run and by the queue outside one. What is committed before the first byte that may commit is
`performing`; what the port answers decides the rest.

It refuses to be: the planner. It is handed claims that this process holds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sqlmodel import Session

from app.connectors.port import LocalEffect, RemoteEffect, Reply, Request
from app.connectors.told import told_error, told_receipt
from app.core.clock import Clock
from app.core.faults import fault
from app.core.writer import GroupWriter
from app.observability import metrics
from app.runtime.departures import Departures
from app.runtime.desk import Desk
from app.runtime.flow.circuit import answered
from app.runtime.flow.gate import UNGATED, Gate
from app.runtime.flow.lanes import Lanes
from app.runtime.places import Place, Places
from app.runtime.repository.effects import Claim, FencedOut, Move, move
from app.runtime.state import after_refusal, backoff_ms, status_of
from app.runtime.turns import Turns
from app.spec.model import Effect as Declared

EFFECT_TIMEOUT_MS = 60_000
WITHIN_S = 0.01
"""An end is written, where departures are noted: with the next beginnings, if there are any."""
GIVEN_BACK_MS = 2_000  # what was begun and given back is the queue's, unless its run has come by again or was cancelled meanwhile
LONGEST_WAIT_MS = 3_600_000  # of what the world may ask for: who says "in a week" is asked again within the hour
_to_json = json.JSONEncoder(ensure_ascii=False).encode
log = logging.getLogger(__name__)
Outcome = dict[str, Any]


@dataclass(slots=True)
class Task:
    """A held effect with what its port needs. `outcome` appears once its end is durable, `fenced` if another took it over."""

    claim: Claim
    attempts: int
    request: Request
    outcome: Outcome | None = None
    fenced: bool = False


@dataclass(frozen=True, slots=True)
class Hands:
    """What performing needs of its process: the writer, time, until when the holder's lease covers an effect (ms, monotonic), places,
    lanes, and where departures are noted."""

    writer: GroupWriter
    clock: Clock
    covered_until: Callable[[], int]
    jitter: random.Random
    places: Places
    lanes: Lanes
    departures: Departures


async def perform_remote(
    hands: Hands,
    port: RemoteEffect,
    declared: Declared,
    tasks: Sequence[Task],
    *,
    go_on: Callable[[], bool],
    gate: Gate = UNGATED,
    handed_out: Callable[[], None] = lambda: None,
) -> None:
    """Perform tasks, as many at once as there are places, until none is left or `go_on` says no; sets each task's outcome.

    `handed_out` is called once each task has had its turn, though some may wait for a lane.

    A task whose outcome is None afterwards was not begun, was given back, or was fenced. Raises FencedOut once the lease is over, or this
    process has been given up by others.
    """
    work = _Work(hands, port, declared, go_on, gate, Desk(hands.writer, WITHIN_S if hands.departures.kept else 0), hands.places.of(port))
    try:
        await work.all(Turns(port, tasks, work.put_off, hands.lanes, handed_out))
    finally:
        for after, count in work.ended.items():
            metrics.EFFECTS.labels(port.kind.name, after).inc(count)


_Over = Callable[[], None]


@dataclass(slots=True)
class _Work:
    """One call's part. Its effects are begun in their order, as far ahead as there is room, and leave as soon as there is a place.

    `failure`: what it was broken off for; nothing is begun and nothing leaves after that, and what is in flight is awaited.
    """

    hands: Hands
    port: RemoteEffect
    declared: Declared
    go_on: Callable[[], bool]
    gate: Gate
    desk: Desk
    place: Place
    ended: Counter[str] = field(default_factory=Counter)
    failure: BaseException | None = None
    context: Context = field(default_factory=copy_context)
    _taken: set[str] = field(default_factory=set)
    _fewer: asyncio.Future[None] | None = None

    async def all(self, turns: Turns[Task]) -> None:
        """Raises what the call was broken off for, once nothing of it is in flight; if it is cancelled, at once."""
        for part in (partial(self._begin_each, turns), partial(self._at_most, 0), self.desk.settled):
            try:
                await part()
            except asyncio.CancelledError as error:
                self._fail(error)
                raise
            except BaseException as error:  # noqa: BLE001  # of any kind, a scripted death too: it is raised below
                self._fail(error)
        if self.failure is not None:
            raise self.failure

    def may_go_on(self) -> bool:
        return self.failure is None and self.go_on()

    async def put_off(self, task: Task, wait_ms: int) -> None:
        """Give a task that was not begun back to the queue, due when its lane is ready; no attempt is counted."""
        error = error_text("lane_busy", "what it goes to takes no more for now")
        again = self.hands.clock.now() + wait_ms
        back = Move(task.claim, "claimed", "planned", task.attempts, error_code="lane_busy", error=error, next_at=again)
        if await self.desk.ask(back):
            task.outcome = outcome_of("planned", None, error)
        else:
            task.fenced = True

    def _fail(self, error: BaseException) -> None:
        self.failure = self.failure or error

    async def _at_most(self, number: int) -> None:
        """Wait until at most so many tasks are taken and not over."""
        while len(self._taken) > number:
            self._fewer = asyncio.get_running_loop().create_future()
            await self._fewer

    async def _begin_each(self, turns: Turns[Task]) -> None:
        ahead = 1 if self.gate.paced else self.hands.places.ahead
        most = self.port.concurrency * ahead
        few = most - (self.port.concurrency if ahead > 1 else 1)  # enough is begun, so that the next are begun together
        while (task := await turns.next(self.may_go_on)) is not None:
            over = partial(self._over, turns, task)
            self._taken.add(task.claim.id)
            try:
                begins = await self._begin(task, over)
            except BaseException:
                over()
                raise
            if not begins:
                over()
            if len(self._taken) >= most:
                await self._at_most(few)

    async def _begin(self, task: Task, over: _Over) -> bool:
        """Have the beginning of an effect written, once it is admitted and there is room. False: it is not begun."""
        later = await self.gate.admit(task.claim.id, self.may_go_on)
        if later is None and self.may_go_on():
            await self.place.enter(task.claim.id)
            later = self.gate.shut(task.claim.id)
        if not self.may_go_on():
            return False
        if later is not None:
            self._record(task, _resting(task, later))
            return False
        if self.hands.covered_until() <= self.hands.clock.monotonic():
            raise FencedOut
        fault("effect.claimed")
        begun = self.desk.ask(Move(task.claim, "claimed", "performing", task.attempts + 1))
        begun.add_done_callback(partial(self._begun, task, over))
        return True

    def _begun(self, task: Task, over: _Over, begun: asyncio.Future[bool]) -> None:
        failure = begun.exception()
        if failure is None and begun.result():
            task.attempts += 1
            self.place.send(partial(self._send, task, over), self.context)
            return
        if failure is not None:
            self._fail(failure)
        task.fenced = failure is None
        over()

    async def _send(self, task: Task, over: _Over) -> None:
        """Have an effect that was begun leave, now that there is a place for it, and its end written."""
        try:
            if self._leaves(task):
                fault("effect.performing")
                reply = await _reply(self.hands, self.port, task)
                spared = self.gate.note(task.claim.id, _heard(self.hands, reply))
                fault("effect.performed")
                over()  # the next begins in the same commit
                end = _end(self.hands, self.declared, task, reply, spared)
                self._record(task, end, reply.receipt)
                if not self.hands.departures.answered(end):
                    await self.desk.settled()  # or more than there are places could be unknown
        except BaseException as error:
            self._fail(error)
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            over()

    def _over(self, turns: Turns[Task], task: Task) -> None:
        """A task that was taken is over, begun or not. To say so again changes nothing."""
        if task.claim.id not in self._taken:
            return
        self._taken.discard(task.claim.id)
        self.place.leave(task.claim.id)
        self.gate.leave(task.claim.id)
        turns.ended(task)
        if self._fewer is not None and not self._fewer.done():
            self._fewer.set_result(None)

    def _leaves(self, task: Task) -> bool:
        """Whether an effect that was begun leaves now that there is a place for it; else it is given back, and no attempt is counted.

        Raises FencedOut once this process has been given up, or its lease is over.
        """
        later = self.gate.shut(task.claim.id)
        covered = self.hands.covered_until() > self.hands.clock.monotonic()
        if later is None and covered and self.may_go_on() and self.hands.departures.note(task.claim):
            return True
        task.attempts -= 1
        if later is not None:
            self._record(task, _resting(task, later, "performing"))
        else:
            self._give_back(task)
        if not covered or not self.hands.departures.open:
            raise FencedOut
        return False

    def _give_back(self, task: Task) -> None:
        def told(held: bool) -> None:
            task.fenced = not held

        again = self.hands.clock.now() + GIVEN_BACK_MS
        self.desk.tell(Move(task.claim, "performing", "planned", task.attempts, next_at=again), told)

    def _record(self, task: Task, end: Move, receipt: dict[str, Any] | None = None) -> None:
        """Have the end written; the lane goes on meanwhile, so that this shares its commit with the next beginnings."""

        def recorded(held: bool) -> None:
            if not held:
                task.fenced = True
                return
            task.outcome = _outcome(end.after, receipt, json.loads(end.error) if end.error is not None else None)
            self.ended[end.after] += 1
            self.hands.departures.settled(task.claim)
            fault("effect.recorded")

        self.desk.tell(end, recorded)


async def _reply(hands: Hands, port: RemoteEffect, task: Task) -> Reply:
    """What the world says. Nothing leaves after the end of what the lease covers, read after the commit, which may take long.

    What has left in time may be answered later: while the lease is renewed nobody else takes this effect for lost, and once it is not, the
    fence keeps a late answer from being recorded.
    """
    now = hands.clock.monotonic()
    answer_by = now + EFFECT_TIMEOUT_MS
    deadline = min(answer_by, hands.covered_until())
    if deadline <= now:
        return _NOT_SENT
    try:
        task.request.attempt, task.request.deadline, task.request.answer_by = task.attempts, deadline, answer_by
        return await port.perform(task.request)
    except Exception as error:
        # A connector raises nothing for what the world does, so this is a bug of ours; how far it came nobody can know.
        log.exception("connector %s failed", port.kind.name)
        return Reply("unknown", code="connector_failed", message=type(error).__name__)


_NOT_SENT = Reply("refused_now", code="lease_over", message="its time was over before anything was sent")


def _heard(hands: Hands, reply: Reply) -> Reply:
    """What a reply says of what was asked: nothing, where it failed once the lease was over. This process has slept or was cut off, and
    what it did not hear in time may have been said."""
    slept = answered(reply) is False and hands.covered_until() <= hands.clock.monotonic()
    return replace(reply, code=_NOT_SENT.code) if slept else reply


def _resting(task: Task, later: int, before: str = "claimed") -> Move:
    """What is not attempted waits in the retry queue; no attempt is counted."""
    error = error_text("circuit_open", "what it goes to has not answered for a while, so it is not tried before its next turn")
    return Move(task.claim, before, "retry_wait", task.attempts, error_code="circuit_open", error=error, next_at=later)


def _end(hands: Hands, declared: Declared, task: Task, reply: Reply, spared: bool) -> Move:
    """`spared`: it failed because what it goes to answers nobody, so that it may fail as often as it takes."""
    receipt = receipt_text(reply.receipt)
    error = error_text(reply.code, reply.message) if reply.verdict != "done" else None
    after = {
        "done": "done",
        "refused": "failed",
        "refused_now": "retry_wait" if spared else after_refusal(task.attempts, declared.retry),
        "unknown": "unknown",
    }[reply.verdict]
    via = None
    if after == "unknown" and declared.on_unknown == "retry" and task.attempts < declared.retry.max_attempts:
        via, after = after, "planned"
    waits = after in ("retry_wait", "planned")
    next_at = None
    if waits:
        asked_ms = min(reply.retry_after_ms, LONGEST_WAIT_MS)
        next_at = hands.clock.now() + max(asked_ms, backoff_ms(task.attempts, declared.retry, hands.jitter))
    code = reply.code or None if error else None
    return Move(task.claim, "performing", after, task.attempts, receipt, code, error, next_at, via)


def error_text(code: str, message: str) -> str:
    """The JSON text that an effect row keeps of an error."""
    return _to_json({"code": code, "message": message[:500]})


def receipt_text(receipt: dict[str, Any] | None) -> str | None:
    """The JSON text that an effect row keeps of a receipt."""
    return _to_json(receipt) if receipt is not None else None


def outcome_of(state: str, receipt: str | None, error: str | None, *, status: str | None = None, differs: bool = False) -> Outcome:
    """What a tool is told: the wire's outcome object, without empty fields. `status`: what it says instead of what became of the effect."""
    received = json.loads(receipt) if receipt is not None else None
    return _outcome(state, received, json.loads(error) if error is not None else None, status, differs)


def _outcome(
    state: str, receipt: dict[str, Any] | None, error: dict[str, Any] | None, status: str | None = None, differs: bool = False
) -> Outcome:
    became = status_of(state)
    outcome: Outcome = {"status": status or became}
    if receipt is not None:
        outcome["receipt"] = told_receipt(receipt)
    if error is not None and became != "done":
        outcome["error"] = told_error(error, became)
    if differs:
        outcome["differs"] = True
    return outcome


@dataclass(frozen=True, slots=True)
class LocalBatch:
    """Held effects of one local port, to be performed in the transaction that records them."""

    port: LocalEffect
    tasks: Sequence[Task]


async def do_local(hands: Hands, port: LocalEffect, tasks: Sequence[Task]) -> None:
    """Perform held local effects in one transaction and set their outcomes. Raises FencedOut, and then nothing happened."""
    for task, end in zip(tasks, await hands.writer.submit(perform_local, LocalBatch(port, tasks)), strict=True):
        task.outcome = outcome_of(end.after, end.receipt, end.error)
        metrics.EFFECTS.labels(port.kind.name, end.after).inc()


def perform_local(session: Session, batches: list[LocalBatch]) -> list[list[Move]]:
    """Perform and record in one transaction. Raises FencedOut, which undoes all of it."""
    return [_perform_batch(session, batch) for batch in batches]


def _perform_batch(session: Session, batch: LocalBatch) -> list[Move]:
    moves: list[Move] = []
    for task in batch.tasks:
        reply = batch.port.perform(session, task.request)
        receipt = receipt_text(reply.receipt)
        done = reply.verdict == "done"
        error = None if done else error_text(reply.code, reply.message)
        code = None if done else reply.code
        moves.append(Move(task.claim, "claimed", "done" if done else "failed", task.attempts + 1, receipt, code, error))
    if not all(move(session, moves)):
        raise FencedOut
    return moves
