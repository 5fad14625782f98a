"""The effect broker: what a guest asks to be done becomes effects with identities, and the effects become outcomes.

Host-computed keys: canonical item → key by the spec's expression → SHA-256 identity. The guest sees no key and sets none.

It refuses to be: lenient. What the spec does not declare is refused, audited and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sqlalchemy.exc import DBAPIError

from app.connectors.port import Connectors, EffectPort, LocalEffect, Request, is_local, is_remote
from app.core.db import Database
from app.core.errors import Invalid, ToolmintError
from app.core.faults import fault
from app.runtime.flow.gate import Gate
from app.runtime.journal import Journal, digest_text, encode
from app.runtime.performing import Hands, Outcome, Task, do_local, outcome_of, perform_remote
from app.runtime.plans import hold_to
from app.runtime.program import EffectRule, Program
from app.runtime.repository.effects import Claim, FencedOut
from app.runtime.repository.journal import Journaled
from app.runtime.repository.planning import Intent, Plan, Planned, plan_chunks
from app.runtime.repository.recovery import Held
from app.spec.expressions import effect_identity
from app.spec.model import Effect as Declared

WAIT_ELSEWHERE_S = 10.0
_POLL_S = 0.1
LOCAL_BATCH = 100
_BUSY = {"status": "retrying", "error": {"code": "busy_elsewhere", "message": "another run is performing it"}}
_KEYLESS = ("item_invalid", "key_unusable")
_HELD = ("claimed", "performing")


@dataclass(frozen=True, slots=True)
class Holder:
    """Who asks: the run with its owner and fence, in the words that effect rows carry."""

    tenant: str
    run_id: str
    owner: str
    fence: int
    args: Mapping[str, Any]
    bound: frozenset[bytes] | None = None


@dataclass(eq=False, slots=True)
class _Chunk:
    """A chunk under way. It begins nothing before those `earlier` ones have begun all that they can: so that one is done while the next is
    in flight, and the one after that is planned meanwhile, instead of two that end together while nothing is in flight."""

    earlier: Sequence[_Chunk]
    handed_out: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, what: Callable[[_Chunk], asyncio.Event]) -> None:
        """For all those before it."""
        for chunk in self.earlier:
            await what(chunk).wait()


@dataclass(slots=True)
class Broker:
    """One per run and attempt. `planned` counts distinct keys per effect, for `limits.per_run`; `refused` counts items without a key, by
    effect and code."""

    database: Database
    connectors: Connectors
    hands: Hands
    program: Program
    holder: Holder
    go_on: Callable[[], bool]
    gate_of: Callable[[str, str, Declared], Gate]
    wait_for: Callable[[str | None], None]
    planned: dict[str, int] = field(default_factory=dict)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    _asked: Counter[str] = field(default_factory=Counter)
    _open: list[_Chunk] = field(default_factory=list)
    _dropped: list[Task] = field(default_factory=list)
    _perhaps: list[tuple[int, str]] = field(default_factory=list)

    async def perform(self, effect_id: str, step: int, first: int, items: Sequence[Any], journal: Journal) -> list[Outcome]:
        """The outcome of each item, in order; what `journal` still holds is written with the claims.

        Raises Invalid `version_read_only`, `effect_undeclared` or `effect_limit_exceeded`, Conflict `effect_not_approved`, FencedOut.
        """
        rule = self.program.rule(effect_id)
        port = self.connectors.effect(rule.declared.connector, rule.declared.config)
        intents, outcomes = self._intents(rule, port, first, items)
        distinct = {intent.id: intent for intent in reversed(intents)}
        self._admit(effect_id, rule, len(distinct))
        if not self._may_go_on(self._gate(rule)):
            return []
        asked = sorted(distinct.values(), key=lambda intent: intent.position)
        if self.holder.bound is not None:
            hold_to(self.holder.bound, effect_id, ((intent.id, intent.fingerprint, intent.position) for intent in asked))
        fault("effect.planned")
        ended = await self._in_turn(rule, port, self._plan(rule, step, asked, journal.take())) if asked else {}
        for intent in intents:
            outcome = ended[intent.id]
            if distinct[intent.id] is not intent:
                differs = intent.fingerprint != distinct[intent.id].fingerprint
                outcome = {**outcome, "status": "duplicate"} | ({"differs": True} if differs else {})
            outcomes[intent.position - first] = outcome
        found = [outcome for outcome in outcomes if outcome is not None]
        self.count(effect_id, found)
        return found

    def works_ahead(self, effect_id: str) -> bool:
        """Whether a chunk may be begun while the one before is under way: where the world takes each effect for itself."""
        rule = self.program.rules.get(effect_id)
        return rule is not None and is_remote(self.connectors.effect(rule.declared.connector, rule.declared.config))

    async def _in_turn(self, rule: EffectRule, port: EffectPort, plan: Plan) -> dict[str, Outcome]:
        """Carry out a chunk while those before it may still be under way."""
        mine = _Chunk(tuple(self._open))
        self._open.append(mine)
        self._asked[plan.effect] += len(plan.intents)
        try:
            return await self._carry_out(rule, port, plan, mine)
        finally:
            self._asked[plan.effect] -= len(plan.intents)
            self._open.remove(mine)
            mine.handed_out.set()
            mine.over.set()

    def count(self, effect_id: str, outcomes: Sequence[Outcome]) -> None:
        """Note what a chunk asked for, performed or answered from the journal: for `limits.per_run`, and for the audit trail."""
        keyless = [outcome["error"]["code"] for outcome in outcomes if _has_no_key(outcome)]
        more = sum(outcome["status"] != "duplicate" for outcome in outcomes) - len(keyless)
        self.planned[effect_id] = self.planned.get(effect_id, 0) + more
        self.refused.update((effect_id, code) for code in keyless)

    def _admit(self, effect_id: str, rule: EffectRule, more: int) -> None:
        total = self.planned.get(effect_id, 0) + self._asked[effect_id] + more
        most = rule.declared.limits.per_run
        if total > most:
            raise Invalid(
                "effect_limit_exceeded",
                f"This run asks for {total} effects {effect_id!r}; its spec allows {most} a run.",
                fix="Call the tool with fewer items, or raise limits.per_run in a new spec revision.",
            )

    def _intents(self, rule: EffectRule, port: EffectPort, first: int, items: Sequence[Any]) -> tuple[list[Intent], list[Outcome | None]]:
        outcomes: list[Outcome | None] = [None] * len(items)
        intents: list[Intent] = []
        key_of = rule.key.bind(self.holder.args)
        for offset, item in enumerate(items):
            try:
                intents.append(self._intent(rule, port, key_of, first + offset, item))
            except ToolmintError as error:
                detail = "; ".join(f"{problem.path} {problem.message}" for problem in error.problems) or error.detail
                outcomes[offset] = {"status": "failed", "error": {"code": error.code, "message": detail[:500]}}
        return intents, outcomes

    def _intent(
        self, rule: EffectRule, port: EffectPort, key_of: Callable[[Mapping[str, Any]], list[Any]], position: int, item: Any
    ) -> Intent:
        declared = rule.declared
        canonical = port.canonical(declared.config, item)
        key = key_of(canonical)
        identity = effect_identity(self.holder.tenant, self.program.tool, declared.id, key)
        text = encode(canonical)
        roots = {"args": self.holder.args, "item": canonical}
        group = str(rule.group.scalar(roots)) if rule.group else None
        subject = str(rule.subject.scalar(roots)) if rule.subject else None
        if "\0" in f"{group}{subject}":
            raise Invalid("key_unusable", "A ledger's group and subject hold no NUL character.", fix="Clean the item first.")
        return Intent(
            id=identity,
            position=position,
            key=encode(key),
            item=text,
            fingerprint=digest_text(text),
            group=group,
            subject=subject,
            message_id=port.message_id(identity, declared.config),
            value=canonical,
        )

    def _plan(self, rule: EffectRule, step: int, intents: Sequence[Intent], journal: Journaled) -> Plan:
        declared = rule.declared
        return Plan(
            tenant=self.holder.tenant,
            tool=self.program.tool,
            version=self.program.version,
            effect=declared.id,
            connector=declared.connector,
            ledger=declared.ledger.name if declared.ledger else None,
            retry_failed=declared.retry_failed,
            on_unknown=declared.on_unknown,
            run_id=self.holder.run_id,
            step=step,
            owner=self.holder.owner,
            fence=self.holder.fence,
            intents=intents,
            journal=journal,
        )

    async def _carry_out(self, rule: EffectRule, port: EffectPort, plan: Plan, mine: _Chunk) -> dict[str, Outcome]:
        """Claim and perform what is free, then look again at what others hold until they have ended it or patience has.

        Nothing that was claimed waits for others, so two runs never wait for each other. What an earlier chunk of this run asked for
        is looked at again once that chunk is over. Raises FencedOut once another process has the run.
        """
        ended: dict[str, Outcome] = {}
        clock = asyncio.get_running_loop().time
        patience = clock() + WAIT_ELSEWHERE_S
        while True:
            try:
                answers = await self.hands.writer.submit(plan_chunks, plan)
            except DBAPIError:  # a connection that broke at the commit does not tell whether there are claims now
                self._perhaps += [(plan.step, intent.id) for intent in plan.intents]
                raise
            if plan.journal[0]:
                fault("journal.step.after")
            busy = await self._settle(rule, port, plan, answers, ended, mine)
            if not busy or plan.last or not self.go_on():
                return ended | {intent.id: dict(_BUSY) for intent in busy}
            if mine.earlier:
                await mine.wait(lambda chunk: chunk.over)
                mine.earlier = ()
            else:
                await asyncio.sleep(_POLL_S)
            plan = replace(plan, intents=busy, journal=((), ()), last=clock() >= patience)

    async def _settle(
        self, rule: EffectRule, port: EffectPort, plan: Plan, answers: Sequence[Planned], ended: dict[str, Outcome], mine: _Chunk
    ) -> list[Intent]:
        """Perform what was claimed and note what has ended; returns what is to be looked at again."""
        tasks: list[Task] = []
        busy: list[Intent] = []
        for intent, answer in zip(plan.intents, answers, strict=True):
            if answer.decision == "claim":
                tasks.append(self._task(rule, intent, answer))
            elif answer.decision == "wait" or (mine.earlier and answer.decision == "duplicate" and answer.state in _HELD):
                busy.append(intent)
            else:
                ended[intent.id] = outcome_of(answer.state, answer.receipt, answer.error, status=answer.decision, differs=answer.differs)
        self._dropped += tasks
        await self._do(rule, port, tasks, mine)
        for task in tasks:
            if task.fenced:
                raise FencedOut
            ended[task.claim.id] = task.outcome or {"status": "retrying"}
        self._dropped = [task for task in self._dropped if task.outcome is None]
        return busy

    def held(self) -> Held:
        """What an execution that ends here leaves behind."""
        return Held([task.claim for task in self._dropped if task.outcome is None], self._perhaps)

    def _task(self, rule: EffectRule, intent: Intent, answer: Planned) -> Task:
        request = make_request(self.holder.tenant, self.program.tool, rule.declared, intent.id, intent.value, intent.message_id)
        return Task(Claim(intent.id, self.holder.owner, answer.fence), answer.attempts, request)

    async def _do(self, rule: EffectRule, port: EffectPort, tasks: list[Task], mine: _Chunk) -> None:
        if not tasks:
            mine.handed_out.set()
        elif is_remote(port):
            gate = self._gate(rule)
            go_on = partial(self._may_go_on, gate)
            await mine.wait(lambda chunk: chunk.handed_out)
            await perform_remote(self.hands, port, rule.declared, tasks, go_on=go_on, gate=gate, handed_out=mine.handed_out.set)
        elif is_local(port):
            await self._do_local(port, tasks, self._gate(rule))

    async def _do_local(self, port: LocalEffect, tasks: list[Task], gate: Gate) -> None:
        for start in range(0, len(tasks), LOCAL_BATCH):
            part = tasks[start : start + LOCAL_BATCH]
            if not self._may_go_on(gate):
                return
            await do_local(self.hands, port, part)

    def _gate(self, rule: EffectRule) -> Gate:
        return self.gate_of(self.holder.tenant, self.program.tool, rule.declared)

    def _may_go_on(self, gate: Gate) -> bool:
        """Whether the next effect may begin. Where its connector is paused the run is told to leave, and to wait for it."""
        paused = gate.paused()
        if paused is not None:
            self.wait_for(paused or None)
        return self.go_on()


def _has_no_key(outcome: Outcome) -> bool:
    return outcome["status"] == "failed" and outcome.get("error", {}).get("code") in _KEYLESS


def make_request(tenant: str, tool: str, declared: Declared, effect_id: str, item: dict[str, Any], message_id: str | None) -> Request:
    """What a port is handed for one effect row; `item` is canonical. Attempt and deadline are set when it begins."""
    return Request(
        effect_id=effect_id,
        tenant=tenant,
        tool=tool,
        effect=declared.id,
        connector=declared.connector,
        config=declared.config,
        item=item,
        message_id=message_id,
        attempt=1,
        deadline=0,
    )
