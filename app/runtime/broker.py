"""The effect broker: what a guest asks to be done becomes effects with identities, and the effects become outcomes.

Host-computed keys: canonical item → key by the spec's expression → SHA-256 identity. The guest sees no key and sets none.

It refuses to be: lenient. What the spec does not declare is refused, audited and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiolimiter import AsyncLimiter

from app.connectors.port import Connectors, EffectPort, LocalEffect, Request, is_local, is_remote
from app.core.db import Database
from app.core.errors import Invalid, ToolmintError
from app.core.faults import fault
from app.runtime.journal import digest_text, encode
from app.runtime.performing import EFFECT_TIMEOUT_MS, Hands, LocalBatch, Outcome, Task, outcome_of, perform_local, perform_remote
from app.runtime.program import EffectRule, Program
from app.runtime.repository.effects import Claim, Intent, Plan, Planned, plan_chunks
from app.spec.expressions import effect_identity

WAIT_ELSEWHERE_S = 10.0
_POLL_S = 0.1
LOCAL_BATCH = 100


@dataclass(frozen=True, slots=True)
class Holder:
    """Who asks: the run with its owner and fence, in the words that effect rows carry."""

    tenant: str
    run_id: str
    owner: str
    args: Mapping[str, Any]


@dataclass(slots=True)
class Broker:
    """One per run and attempt. `planned` counts distinct keys per effect, for `limits.per_run`."""

    database: Database
    connectors: Connectors
    hands: Hands
    program: Program
    holder: Holder
    go_on: Callable[[], bool]
    paces: dict[tuple[str, str, str], AsyncLimiter]
    planned: dict[str, int] = field(default_factory=dict)

    async def perform(self, effect_id: str, step: int, first: int, items: Sequence[Any]) -> list[Outcome]:
        """The outcome of each item, in order. Raises Invalid `effect_undeclared` or `effect_limit_exceeded`, FencedOut."""
        rule = self._rule(effect_id)
        port = self.connectors.effects[rule.declared.connector]
        intents, outcomes = self._intents(rule, port, first, items)
        distinct = {intent.id: intent for intent in reversed(intents)}
        self._admit(effect_id, rule, len(distinct))
        asked = sorted(distinct.values(), key=lambda intent: intent.position)
        fault("effect.planned")
        answers = await self._plan(rule, step, asked)
        ended = await self._carry_out(rule, port, asked, answers)
        for intent in intents:
            outcome = ended[intent.id]
            if distinct[intent.id] is not intent:
                differs = intent.fingerprint != distinct[intent.id].fingerprint
                outcome = {**outcome, "status": "duplicate"} | ({"differs": True} if differs else {})
            outcomes[intent.position - first] = outcome
        return [outcome for outcome in outcomes if outcome is not None]

    def _rule(self, effect_id: str) -> EffectRule:
        rule = self.program.rules.get(effect_id)
        if rule is None:
            raise Invalid(
                "effect_undeclared",
                f"The spec declares no effect {effect_id!r}.",
                fix="Declare the effect in the spec, or do not perform it.",
            )
        return rule

    def _admit(self, effect_id: str, rule: EffectRule, more: int) -> None:
        total = self.planned.get(effect_id, 0) + more
        most = rule.declared.limits.per_run
        if total > most:
            raise Invalid(
                "effect_limit_exceeded",
                f"This run asks for {total} effects {effect_id!r}; its spec allows {most} a run.",
                fix="Call the tool with fewer items, or raise limits.per_run in a new spec revision.",
            )
        self.planned[effect_id] = total

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
        return Intent(
            id=identity,
            position=position,
            key=encode(key),
            item=text,
            fingerprint=digest_text(text),
            group=str(rule.group.scalar(roots)) if rule.group else None,
            subject=str(rule.subject.scalar(roots)) if rule.subject else None,
            message_id=port.message_id(identity, declared.config),
        )

    async def _plan(self, rule: EffectRule, step: int, intents: Sequence[Intent]) -> list[Planned]:
        if not intents:
            return []
        declared = rule.declared
        plan = Plan(
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
            intents=intents,
        )
        answers = await self.hands.writer.submit(plan_chunks, plan)
        deadline = self.hands.clock.monotonic() + int(WAIT_ELSEWHERE_S * 1000)
        while any(answer.decision == "wait" for answer in answers) and self.go_on():
            if self.hands.clock.monotonic() >= deadline:
                break
            await asyncio.sleep(_POLL_S)
            busy = [intent for intent, answer in zip(intents, answers, strict=True) if answer.decision == "wait"]
            again = dict(zip((i.id for i in busy), await self._plan_again(plan, busy), strict=True))
            answers = [again.get(intent.id, answer) for intent, answer in zip(intents, answers, strict=True)]
        return answers

    async def _plan_again(self, plan: Plan, busy: Sequence[Intent]) -> list[Planned]:
        names = ("tenant", "tool", "version", "effect", "connector", "ledger", "retry_failed", "on_unknown", "run_id", "step", "owner")
        return await self.hands.writer.submit(plan_chunks, Plan(**{name: getattr(plan, name) for name in names}, intents=busy))

    async def _carry_out(
        self, rule: EffectRule, port: EffectPort, intents: Sequence[Intent], answers: Sequence[Planned]
    ) -> dict[str, Outcome]:
        ended: dict[str, Outcome] = {}
        tasks: list[Task] = []
        for intent, answer in zip(intents, answers, strict=True):
            if answer.decision == "claim":
                tasks.append(self._task(rule, intent, answer))
            elif answer.decision == "wait":
                ended[intent.id] = {"status": "retrying", "error": {"code": "busy_elsewhere", "message": "another run is performing it"}}
            else:
                ended[intent.id] = outcome_of(answer.state, answer.receipt, answer.error, status=answer.decision, differs=answer.differs)
        await self._do(rule, port, tasks)
        for task in tasks:
            ended[task.claim.id] = task.outcome or {"status": "retrying"}
        return ended

    def _task(self, rule: EffectRule, intent: Intent, answer: Planned) -> Task:
        declared = rule.declared
        request = make_request(self.holder.tenant, self.program.tool, declared, intent.id, intent.item, intent.message_id, self.hands)
        return Task(Claim(intent.id, self.holder.owner, answer.fence), 0, request)

    async def _do(self, rule: EffectRule, port: EffectPort, tasks: list[Task]) -> None:
        if not tasks:
            return
        if is_remote(port):
            lanes = min(len(tasks), port.concurrency)
            await perform_remote(self.hands, port, rule.declared, tasks, lanes=lanes, go_on=self.go_on, pace=self._pace(rule))
        elif is_local(port):
            await self._do_local(port, tasks)

    async def _do_local(self, port: LocalEffect, tasks: list[Task]) -> None:
        for start in range(0, len(tasks), LOCAL_BATCH):
            part = tasks[start : start + LOCAL_BATCH]
            if not self.go_on():
                return
            outcomes = await self.hands.writer.submit(perform_local, LocalBatch(port, part))
            for task, outcome in zip(part, outcomes, strict=True):
                task.outcome = outcome

    def _pace(self, rule: EffectRule) -> AsyncLimiter | None:
        rate = rule.declared.limits.per_second
        if rate is None:
            return None
        name = (self.holder.tenant, self.program.tool, rule.declared.id)
        if name not in self.paces:
            self.paces[name] = AsyncLimiter(max(1.0, rate / 10), max(1.0, rate / 10) / rate)
        return self.paces[name]


def make_request(
    tenant: str, tool: str, declared: Any, effect_id: str, item: str, message_id: str | None, hands: Hands, attempt: int = 1
) -> Request:
    """What a port is handed for one effect row; `item` is the canonical JSON text of the row."""
    return Request(
        effect_id=effect_id,
        tenant=tenant,
        tool=tool,
        effect=declared.id,
        connector=declared.connector,
        config=declared.config,
        item=json.loads(item),
        message_id=message_id,
        attempt=attempt,
        deadline=hands.clock.monotonic() + EFFECT_TIMEOUT_MS,
    )
