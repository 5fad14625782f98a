"""Effect keys computed anew for what a run asked for, and compared with those that its ledger holds.

A key is computed from the items that the tool asks for now, by the spec's expression and the connector's canonical spelling of
today: a later release that spelled an address differently would be found here, before it doubles an effect.

It refuses to be: a planner. No row is written, and no connector is asked for anything but the spelling of an item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session

from app.connectors.port import Connectors, EffectPort
from app.core.errors import ToolmintError
from app.runtime.journal import digest_text, encode
from app.runtime.program import EffectRule, Program
from app.runtime.repository import replays as repository
from app.spec.expressions import effect_identity

MOST_SHOWN = 500
_KEYLESS = ("item_invalid", "key_unusable")
Message = Mapping[str, Any]
Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Keyed:
    """One item that is asked for now: its identity, key and canonical text, or the code of why it has none."""

    identity: str = ""
    key: str = ""
    item: str = ""
    code: str = ""


@dataclass(slots=True)
class Keys:
    """The keys of one run. `plan` holds those of a rehearsal, as `(effect, key)`, all of them if `plan_whole`.

    `checked` counts what was compared, `unchecked` what had no key, or none that is still listed.
    """

    program: Program
    connectors: Connectors
    tenant: str
    run_id: str
    args: Mapping[str, Any]
    plan: frozenset[tuple[str, str]] | None = None
    plan_whole: bool = True
    checked: int = 0
    unchecked: int = 0
    _names: dict[str, tuple[EffectRule, EffectPort] | None] = field(default_factory=dict)

    def difference(self, session: Session, message: Message, outcomes: Sequence[Mapping[str, Any]]) -> Found | None:
        """The first item of a `perform` whose key is another one now, with the recorded and the present key; None if all are the same."""
        keyed = self._keyed(message)
        if keyed is None:
            self.unchecked += len(outcomes)
            return None
        known = {} if self.plan is not None else repository.seated(session, self.run_id, [one.identity for one in keyed if one.identity])
        for offset, (now, outcome) in enumerate(zip(keyed, outcomes, strict=False)):
            if _keyless(outcome) or self._unlisted(message["id"], now):
                self.unchecked += 1
                continue
            self.checked += 1
            place = (message["step"], message["first"] + offset)
            if not (self._planned(message["id"], now) if self.plan is not None else _at_its_place(now, known, place, outcome)):
                recorded = repository.at_places(session, self.run_id, *place, 1).get(place[1])
                was = recorded.key if recorded is not None else None
                return {"position": place[1], "recorded": {"key": _cut(was)}, "asked": {"key": _cut(now.key or now.code)}}
        return None

    def first_other_item(self, session: Session, message: Message) -> Found | None:
        """The first item that is another one than what the run asked for at that place, both cut to 500 characters."""
        keyed = self._keyed(message)
        if keyed is None:
            return None
        recorded = repository.at_places(session, self.run_id, message["step"], message["first"], len(keyed))
        for offset, now in enumerate(keyed):
            row = recorded.get(message["first"] + offset)
            if row is not None and row.fingerprint != digest_text(now.item):
                return {"position": row.position, "recorded": {"item": _cut(row.item)}, "asked": {"item": _cut(now.item or now.code)}}
        return None

    def _unlisted(self, effect: str, now: Keyed) -> bool:
        return self.plan is not None and not self.plan_whole and (effect, now.key) not in self.plan

    def _planned(self, effect: str, now: Keyed) -> bool:
        return self.plan is not None and (effect, now.key) in self.plan

    def _keyed(self, message: Message) -> list[Keyed] | None:
        name = message["id"]
        if name not in self._names:
            self._names[name] = self._look_up(name)
        found = self._names[name]
        if found is None:
            return None
        rule, port = found
        key_of = rule.key.bind(self.args)
        keyed = []
        for item in message["items"]:
            try:
                canonical = port.canonical(dict(rule.declared.config), item)
                key = key_of(canonical)
            except ToolmintError as error:
                keyed.append(Keyed(code=error.code))
                continue
            identity = effect_identity(self.tenant, self.program.tool, rule.declared.id, key)
            keyed.append(Keyed(identity, encode(key), encode(canonical)))
        return keyed

    def _look_up(self, name: str) -> tuple[EffectRule, EffectPort] | None:
        rule = self.program.rules.get(name)
        if rule is None:
            return None
        try:
            return rule, self.connectors.effect(rule.declared.connector, rule.declared.config)
        except KeyError:  # a connector that this release has no longer: its keys cannot be computed, and that is counted
            return None


def _keyless(outcome: Mapping[str, Any]) -> bool:
    return outcome["status"] == "failed" and (outcome.get("error") or {}).get("code") in _KEYLESS


def _at_its_place(now: Keyed, known: Mapping[str, repository.Seated], place: tuple[int, int], outcome: Mapping[str, Any]) -> bool:
    row = known.get(now.identity)
    if row is None:
        return False
    return row.place is None or row.place == place or outcome["status"] == "duplicate"


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"
