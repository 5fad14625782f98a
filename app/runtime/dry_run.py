"""Dry run: the same guest, the same keys, no effect. What would happen to each item is the plan.

Local effects are applied to an overlay (a transaction that is always rolled back), so that later reads see them; remote
ones answer with receipts marked simulated, and what is planned after the first of those is marked `may_differ`.

It refuses to be: a reservation. No key is claimed and no row is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session

from app.connectors.port import Connectors, EffectPort, LocalEffect, Request, is_local
from app.core.db import CHUNK, Database
from app.core.errors import Invalid, ToolmintError
from app.runtime.journal import Journal
from app.runtime.models import Effect
from app.runtime.performing import Outcome, outcome_of
from app.runtime.program import EffectRule, Program
from app.runtime.repository.effects import Claim
from app.spec.expressions import effect_identity

MOST_PLANNED = 10_000
_WOULD = {
    "planned": "perform",
    "cancelled": "perform",
    "done": "skip",
    "retry_wait": "retrying",
    "claimed": "retrying",
    "performing": "retrying",
    "unknown": "unknown",
}
effects: sa.Table = Effect.__table__  # type: ignore[attr-defined]  # SQLModel adds it to every table model


class _Undone(Exception):
    """Ends a transaction so that nothing of it stays."""


@dataclass(slots=True)
class Overlay:
    """Local effects of a dry run, applied again before each read and rolled back after it."""

    applied: list[tuple[LocalEffect, Request]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.applied)

    def read(self, database: Database, read: Callable[[Session], Any]) -> Any:
        """What `read` sees once everything in the overlay has happened."""
        seen: list[Any] = []
        try:
            with database.writing() as session:
                for port, request in self.applied:
                    port.perform(session, request)
                session.flush()
                seen.append(read(session))
                raise _Undone
        except _Undone:
            return seen[0]


@dataclass(slots=True)
class Rehearsal:
    """Stands in for the broker during a dry run and writes the plan."""

    database: Database
    connectors: Connectors
    program: Program
    tenant: str
    args: Mapping[str, Any]
    overlay: Overlay = field(default_factory=Overlay)
    plan: list[dict[str, Any]] = field(default_factory=list)
    _seen: dict[str, Outcome] = field(default_factory=dict)
    _simulated: bool = False

    def count(self, effect_id: str, outcomes: Sequence[Outcome]) -> None:
        """A rehearsal begins anew each time; nothing is answered from a journal."""

    def held(self) -> list[Claim]:
        """A rehearsal claims nothing."""
        return []

    async def perform(self, effect_id: str, step: int, first: int, items: Sequence[Any], journal: Journal) -> list[Outcome]:
        """The outcome that each item would have. Raises Invalid as the broker does."""
        rule = self.program.rules.get(effect_id)
        if rule is None:
            raise Invalid("effect_undeclared", f"The spec declares no effect {effect_id!r}.", fix="Declare the effect in the spec.")
        if len(self.plan) + len(items) > min(MOST_PLANNED, rule.declared.limits.per_run):
            raise Invalid(
                "effect_limit_exceeded",
                f"A dry run plans at most {min(MOST_PLANNED, rule.declared.limits.per_run)} effects here.",
                fix="Try it with fewer items.",
            )
        return await asyncio.to_thread(self._rehearse, rule, items)

    def _rehearse(self, rule: EffectRule, items: Sequence[Any]) -> list[Outcome]:
        port = self.connectors.effect(rule.declared.connector, rule.declared.config)
        key_of = rule.key.bind(self.args)
        prepared: list[tuple[str, list[Any], dict[str, Any]] | Outcome] = []
        for item in items:
            try:
                canonical = port.canonical(dict(rule.declared.config), item)
                key = key_of(canonical)
                prepared.append((effect_identity(self.tenant, self.program.tool, rule.declared.id, key), key, canonical))
            except ToolmintError as error:
                prepared.append({"status": "failed", "error": {"code": error.code, "message": error.detail}})
        known = self._known([entry[0] for entry in prepared if isinstance(entry, tuple)])
        return [self._one(rule, port, entry, known) if isinstance(entry, tuple) else entry for entry in prepared]

    def _known(self, keys: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        columns = sa.select(effects.c.id, effects.c.state, effects.c.receipt, effects.c.error)
        with self.database.reading() as session:
            for start in range(0, len(keys), CHUNK):
                rows = session.connection().execute(columns.where(effects.c.id.in_(keys[start : start + CHUNK])))
                found |= {row.id: row for row in rows}
        return found

    def _one(self, rule: EffectRule, port: EffectPort, entry: tuple[str, list[Any], dict[str, Any]], known: dict[str, Any]) -> Outcome:
        identity, key, item = entry
        if identity in self._seen:
            return {**self._seen[identity], "status": "duplicate"}
        row = known.get(identity)
        state = row.state if row is not None else "planned"
        again = rule.declared.retry_failed and state in ("failed", "dead", "abandoned")
        would = "perform" if again else _WOULD.get(state, "fail")
        self.plan.append({"effect": rule.declared.id, "key": key, "item": item, "would": would, "may_differ": self._simulated})
        if would == "perform":
            outcome = self._pretend(rule, port, identity, item)
        else:
            receipt, error = (row.receipt, row.error) if row is not None else (None, None)
            outcome = outcome_of(state, receipt, error, status="skipped" if would == "skip" else None)
        self._seen[identity] = outcome
        return outcome

    def _pretend(self, rule: EffectRule, port: EffectPort, identity: str, item: dict[str, Any]) -> Outcome:
        if is_local(port):
            request = Request(
                effect_id=identity,
                tenant=self.tenant,
                tool=self.program.tool,
                effect=rule.declared.id,
                connector=rule.declared.connector,
                config=dict(rule.declared.config),
                item=item,
                message_id=None,
                attempt=1,
                deadline=0,
            )
            self.overlay.applied.append((port, request))
        else:
            self._simulated = True
        return {"status": "done", "receipt": {"simulated": True}}
