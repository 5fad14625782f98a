"""Dry run: the same guest, the same keys, no effect. What would happen to each item is the plan.

Local effects happen in a transaction that is always rolled back, so that their receipts and refusals are those of the world as it
is; reads of the same family of connectors see them (an overlay). Remote ones answer with receipts marked simulated, and what is
planned after the first of those is marked `may_differ`.

The overlay is bounded, because on SQLite it holds up every writer while it is laid: past `MOST_LAID` effects it no longer grows, past
`MOST_LAYING_S` seconds in all it is laid no more, and what is planned from then on is marked `may_differ`, too.

It refuses to be: a reservation. No key is claimed and no row is written.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session

from app.connectors.port import Connectors, EffectPort, LocalEffect, Reply, Request, is_local
from app.connectors.told import told_receipt
from app.core.db import CHUNK, Database
from app.core.errors import Invalid, ToolmintError
from app.runtime.journal import Journal, digest_text, encode
from app.runtime.models import Effect
from app.runtime.performing import Outcome, outcome_of
from app.runtime.plans import PlanBook
from app.runtime.program import EffectRule, Program
from app.runtime.repository.recovery import NOTHING_HELD, Held
from app.spec.expressions import effect_identity

MOST_LAID = 500
MOST_LAYING_S = 10.0
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
_SIMULATED: Outcome = {"status": "done", "receipt": {"simulated": True}}


class _Undone(Exception):
    """Ends a transaction so that nothing of it stays."""


def family(connector: str) -> str:
    """The part of a connector's name that says what it is about: a read sees local effects of its own family, such as `records`."""
    return connector.partition(".")[0]


@dataclass(slots=True)
class Overlay:
    """Local effects of a dry run, laid over the world before each look at it and taken away after it."""

    applied: list[tuple[str, LocalEffect, Request]] = field(default_factory=list)
    full: bool = False
    spent_s: float = 0.0

    def add(self, of_family: str, port: LocalEffect, request: Request) -> None:
        """Remember an effect that later looks shall see."""
        if self.full or len(self.applied) >= MOST_LAID:
            self.full = True
            return
        self.applied.append((of_family, port, request))

    def covers(self, connector: str) -> bool:
        """Whether a read by this connector could see something of the overlay."""
        return any(name == family(connector) for name, _, _ in self.applied)

    def look(self, database: Database, of_family: str, look: Callable[[Session], Any]) -> Any:
        """What `look` sees once everything of this family has happened; then nothing has."""
        seen: list[Any] = []
        try:
            with database.writing() as session:
                self._lay(session, of_family)
                seen.append(look(session))
                raise _Undone
        except _Undone:
            return seen[0]

    def _lay(self, session: Session, of_family: str) -> None:
        began = time.monotonic()
        for name, port, request in self.applied:
            if name == of_family:
                port.perform(session, request)
        session.flush()
        self.spent_s += time.monotonic() - began
        if self.spent_s > MOST_LAYING_S:
            self.full = True
            self.applied.clear()


@dataclass(frozen=True, slots=True)
class _Item:
    """An item with its identity, key and canonical form, and that as text; `error` says why it has none of these."""

    asked: Any
    identity: str = ""
    key: list[Any] | None = None
    canonical: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    fingerprint: str = ""
    error: dict[str, str] | None = None


@dataclass(slots=True)
class Rehearsal:
    """Stands in for the broker during a dry run and writes the plan.

    Of equal keys the first counts: `_seen` says what was in it, `_failed` what became of it where the world would refuse it.
    """

    database: Database
    connectors: Connectors
    program: Program
    tenant: str
    args: Mapping[str, Any]
    overlay: Overlay = field(default_factory=Overlay)
    book: PlanBook = field(default_factory=PlanBook)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    _planned: dict[str, int] = field(default_factory=dict)
    _seen: dict[bytes, bytes] = field(default_factory=dict)
    _failed: dict[bytes, Outcome] = field(default_factory=dict)
    _simulated: bool = False

    def count(self, effect_id: str, outcomes: Sequence[Outcome]) -> None:
        """A rehearsal begins anew each time; nothing is answered from a journal."""

    def held(self) -> Held:
        """A rehearsal claims nothing."""
        return NOTHING_HELD

    def works_ahead(self, effect_id: str) -> bool:
        """What a chunk would do depends on the chunks before it."""
        return False

    async def perform(self, effect_id: str, step: int, first: int, items: Sequence[Any], journal: Journal) -> list[Outcome]:
        """The outcome that each item would have. Raises Invalid as the broker does."""
        return await asyncio.to_thread(self._rehearse, self.program.rule(effect_id), items)

    def _rehearse(self, rule: EffectRule, items: Sequence[Any]) -> list[Outcome]:
        port = self.connectors.effect(rule.declared.connector, rule.declared.config)
        key_of = rule.key.bind(self.args)
        asked = [self._item(rule, port, key_of, item) for item in items]
        self._admit(rule, asked)
        known = self._known([item.identity for item in asked if item.error is None])
        free: dict[str, _Item] = {}
        for item in asked:
            if bytes.fromhex(item.identity) not in self._seen and self._would(rule, known.get(item.identity)) == "perform":
                free.setdefault(item.identity, item)
        happened = self._happen(rule, port, list(free.values()))
        return [self._one(rule, item, known.get(item.identity), happened.get(item.identity, _SIMULATED)) for item in asked]

    def _item(self, rule: EffectRule, port: EffectPort, key_of: Callable[[Mapping[str, Any]], list[Any]], asked: Any) -> _Item:
        try:
            canonical = port.canonical(dict(rule.declared.config), asked)
            key = key_of(canonical)
        except ToolmintError as error:
            said = "; ".join(f"{problem.path} {problem.message}" for problem in error.problems) or error.detail
            return _Item(asked, error={"code": error.code, "message": said[:500]})
        identity = effect_identity(self.tenant, self.program.tool, rule.declared.id, key)
        text = encode(canonical)
        return _Item(asked, identity, key, canonical, text, digest_text(text))

    def _admit(self, rule: EffectRule, asked: Iterable[_Item]) -> None:
        """Count distinct keys for `limits.per_run`, as a real run does."""
        fresh = {item.identity for item in asked if item.error is None and bytes.fromhex(item.identity) not in self._seen}
        total, most = self._planned.get(rule.declared.id, 0) + len(fresh), rule.declared.limits.per_run
        if total > most:
            raise Invalid(
                "effect_limit_exceeded",
                f"This run asks for {total} effects {rule.declared.id!r}; its spec allows {most} a run.",
                fix="Call the tool with fewer items, or raise limits.per_run in a new spec revision.",
            )
        self._planned[rule.declared.id] = total

    def _known(self, keys: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        columns = sa.select(effects.c.id, effects.c.state, effects.c.receipt, effects.c.error, effects.c.fingerprint)
        with self.database.reading() as session:
            for start in range(0, len(keys), CHUNK):
                rows = session.connection().execute(columns.where(effects.c.id.in_(keys[start : start + CHUNK])))
                found |= {row.id: row for row in rows}
        return found

    def _would(self, rule: EffectRule, row: Any) -> str:
        state = row.state if row is not None else "planned"
        if rule.declared.retry_failed and state in ("failed", "dead", "abandoned"):
            return "perform"
        return _WOULD.get(state, "fail")

    def _happen(self, rule: EffectRule, port: EffectPort, items: list[_Item]) -> dict[str, Outcome]:
        """What performing these would answer: the world's own answer where they are local, else a simulated one."""
        items = [item for item in items if item.error is None]
        if not items or not is_local(port):
            return {}
        requests = [self._request(rule, item) for item in items]
        of_family = family(rule.declared.connector)
        seen = any(family(name) == of_family for name in self.connectors.reads)  # else nobody could see it, and it need not be kept
        replies: list[Reply] = self.overlay.look(
            self.database, of_family, lambda session: [port.perform(session, request) for request in requests]
        )
        for request, reply in zip(requests, replies, strict=True):
            if seen and reply.verdict == "done":
                self.overlay.add(of_family, port, request)
        return {request.effect_id: _outcome(reply) for request, reply in zip(requests, replies, strict=True)}

    def _request(self, rule: EffectRule, item: _Item) -> Request:
        return Request(
            effect_id=item.identity,
            tenant=self.tenant,
            tool=self.program.tool,
            effect=rule.declared.id,
            connector=rule.declared.connector,
            config=dict(rule.declared.config),
            item=item.canonical,
            message_id=None,
            attempt=1,
            deadline=0,
        )

    def _one(self, rule: EffectRule, item: _Item, row: Any, happened: Outcome) -> Outcome:
        """The outcome of one item, entered into the plan unless its key came before in this very run."""
        if item.error is not None:
            self._enter(rule, item, "fail", item.error)
            return {"status": "failed", "error": item.error}
        would = self._would(rule, row)
        outcome = happened
        if would != "perform":
            differs = would == "skip" and row.fingerprint != item.fingerprint
            outcome = outcome_of(row.state, row.receipt, row.error, status="skipped" if would == "skip" else None, differs=differs)
        short, content = bytes.fromhex(item.identity), bytes.fromhex(item.fingerprint)
        first = self._seen.get(short)
        if first is not None:
            return {**self._failed.get(short, outcome), "status": "duplicate"} | ({"differs": True} if first != content else {})
        self._seen[short] = content
        if outcome is happened and outcome["status"] == "failed":
            self._failed[short] = outcome
        self._enter(rule, item, "fail" if outcome["status"] == "failed" else would, outcome.get("error"))
        self._simulated = self._simulated or outcome is _SIMULATED
        return dict(outcome)

    def _enter(self, rule: EffectRule, item: _Item, would: str, error: dict[str, Any] | None) -> None:
        entry = {
            "effect": rule.declared.id,
            "key": item.key,
            "item": item.canonical if item.error is None else item.asked,
            "would": would,
            "may_differ": self._simulated or self.overlay.full,
        }
        if error is not None:
            entry["error"] = error
        text = item.text or encode(item.asked)
        self.book.add(entry, item.identity, item.fingerprint or digest_text(text), len(text))


def _outcome(reply: Reply) -> Outcome:
    if reply.verdict != "done":
        return {"status": "failed", "error": {"code": reply.code, "message": reply.message}}
    return {"status": "done", "receipt": {**told_receipt(reply.receipt or {}), "simulated": True}}
