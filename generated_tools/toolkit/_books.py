"""A trial's host: it answers a context's messages with a journal, a ledger and a world, by the rules of the real one.

It refuses to be: the runtime. It holds one process's memory and performs nothing outside it.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ._keys import KeyUnusable, key_of
from ._lifelike import error_of
from ._world import LOCAL, Refused, World, canonical, cue
from .wire import Message, dumps

Outcome = dict[str, Any]
CRASHES = ("crash", "crash_before")
_HOLDER_DIED = {"code": "holder_died", "message": "the process died between doing and recording"}


class Crash(BaseException):
    """The scripted end of the process; BaseException, so that a tool's `except` cannot keep it alive."""


class Diverged(BaseException):
    """A resumed run asked for something other than what is in its journal."""


@dataclass(slots=True)
class Row:
    """One effect in the ledger."""

    effect: str
    key: list[Any]
    item: dict[str, Any]
    state: str
    run: int
    receipt: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One item of a call, as its connector spells it, with its key and identity, or with why it has none."""

    place: tuple[int, int]
    item: Any
    key: list[Any] | None = None
    identity: str = ""
    error: dict[str, Any] | None = None


@dataclass(slots=True)
class Books:
    """What outlives a run: the ledger by identity, the world, how many runs there were."""

    world: World = field(default_factory=World)
    ledger: dict[str, Row] = field(default_factory=dict)
    runs: int = 0


class Host:
    """One run's exchange. `attempt()` begins it again from the top, as a resume does."""

    def __init__(
        self, spec: Mapping[str, Any], args: Mapping[str, Any], books: Books, script: Sequence[Mapping[str, Any]], now: int
    ) -> None:
        self.reads = {read["id"]: read for read in spec.get("reads", ())}
        self.effects = {effect["id"]: effect for effect in spec.get("effects", ())}
        self.args = args
        self.books = books
        self.script = list(script)
        self.given: Counter[int] = Counter()
        self.now = now
        self.run = books.runs
        self.journal: dict[tuple[int, int, str | None], tuple[str, Message]] = {}
        self.performed: dict[tuple[int, int], dict[str, Any]] = {}
        self.sighted: dict[str, tuple[int, int]] = {}
        self.distinct: dict[str, set[str]] = {}
        self.attempt()

    def attempt(self) -> None:
        self.logs: list[dict[str, Any]] = []
        self.progress: list[dict[str, Any]] = []
        self._answers: deque[Message] = deque()

    def send(self, message: Message) -> None:
        """A context's message; what asks for an answer is answered at once."""
        message = json.loads(dumps(message))
        if message["t"] == "log":
            self.logs.append({"event": message["event"], "fields": message["fields"]})
        elif message["t"] == "progress":
            self.progress.append({"done": message["done"], "total": message["total"]})
        else:
            self._answers.append(self._journaled(message))

    def receive(self) -> Message:
        """The next answer, as a copy that the tool may change."""
        answer: Message = json.loads(dumps(self._answers.popleft()))
        return answer

    def counts(self) -> dict[str, dict[str, int]]:
        """`done, skipped, retrying, failed, unknown, distinct` of each declared effect, over distinct keys of this run."""
        names = ("done", "skipped", "retrying", "failed", "unknown")
        counts = {effect: dict.fromkeys((*names, "distinct"), 0) for effect in self.effects}
        for identity, place in self.sighted.items():
            row = self.books.ledger[identity]
            entry = self.performed.get(place) or _told(row)
            counts[row.effect][entry["status"]] += 1
            counts[row.effect]["distinct"] += 1
        return counts

    def _journaled(self, message: Message) -> Message:
        place = (message["step"], message.get("chunk", 0), message.get("cursor"))
        request = dumps(message)
        recorded = self.journal.get(place)
        if recorded is None:
            recorded = request, self._answer(message)
            self.journal[place] = recorded
        elif recorded[0] != request:
            raise Diverged(f"step {message['step']} asked for something else than before the crash")
        return recorded[1]

    def _answer(self, message: Message) -> Message:
        try:
            value = self._read(message) if message["t"] == "read" else self._perform(message)
        except Refused as refusal:
            return {"t": "refuse", "now": self.now, "code": refusal.code, "message": refusal.message}
        return {"t": "answer", "now": self.now, "value": value}

    def _read(self, message: Message) -> Any:
        read = self.reads.get(message["id"])
        if read is None:
            raise Refused("read_undeclared", f"the spec declares no read {message['id']!r}")
        query = message["query"] | ({"cursor": message["cursor"]} if "cursor" in message else {})
        return self.books.world.read(read["connector"], read.get("config", {}), query)

    def _perform(self, message: Message) -> list[Outcome]:
        effect = self.effects.get(message["id"])
        if effect is None:
            raise Refused("effect_undeclared", f"the spec declares no effect {message['id']!r}")
        asked = [self._asked(effect, (message["step"], message["first"] + n), item) for n, item in enumerate(message["items"])]
        self._within_limit(effect, asked)
        return [self._outcome(effect, one) for one in asked]

    def _asked(self, effect: Mapping[str, Any], place: tuple[int, int], item: Any) -> Asked:
        try:
            spelled = canonical(effect["connector"], effect.get("config", {}), item)
            key = key_of(effect["key"], self.args, spelled)
        except (Refused, KeyUnusable) as error:
            code = error.code if isinstance(error, Refused) else "key_unusable"
            return Asked(place, item, error={"code": code, "message": str(error)})
        return Asked(place, spelled, key, dumps([effect["id"], *key]))

    def _within_limit(self, effect: Mapping[str, Any], asked: Sequence[Asked]) -> None:
        known = self.distinct.setdefault(effect["id"], set())
        wanted = known | {one.identity for one in asked if one.identity}
        most = effect.get("limits", {}).get("per_run", 1)
        if len(wanted) > most:
            raise Refused(
                "effect_limit_exceeded", f"this run asks for {len(wanted)} effects {effect['id']!r}; its spec allows {most} a run"
            )
        known |= wanted

    def _outcome(self, effect: Mapping[str, Any], one: Asked) -> Outcome:
        outcome = {"status": "failed", "error": one.error} if one.error else self._decide(effect, one)
        self.performed[one.place] = {"effect": effect["id"], "item": one.item, "key": one.key, "status": outcome["status"]}
        return outcome

    def _decide(self, effect: Mapping[str, Any], one: Asked) -> Outcome:
        row = self.books.ledger.get(one.identity)
        if row is None:
            row = self.books.ledger[one.identity] = Row(effect["id"], one.key or [], one.item, "planned", self.run)
        differs = {"differs": True} if row.item != one.item else {}
        if self.sighted.setdefault(one.identity, one.place) != one.place:
            return {**_told(row), "status": "duplicate", **differs}
        mine = row.run == self.run
        if row.state == "planned" or (row.state == "failed" and effect.get("retry_failed") and not mine):
            row.run, row.item = self.run, one.item
            self._carry_out(effect, row)
        elif row.state == "done" and not mine:
            return {"status": "skipped", "receipt": row.receipt, **differs}
        return _told(row)

    def _carry_out(self, effect: Mapping[str, Any], row: Row) -> None:
        connector, local = effect["connector"], effect["connector"] in LOCAL
        answer = self._scripted(effect["id"], connector, row.item)
        holds = effect.get("on_unknown", "hold") == "hold"
        if answer in ("refuse_now", "refuse_for_good"):
            row.state = "retry_wait" if answer == "refuse_now" and not local else "failed"
            row.error = error_of(connector, effect.get("config", {}), row.item, answer, row.state)
            return
        if answer in CRASHES:
            row.state = "unknown" if holds and not local else "planned"
            row.error = dict(_HOLDER_DIED) if row.state == "unknown" else None
            raise Crash
        if answer == "lose_reply" and not local:
            row.state = "unknown" if holds else "retry_wait"
            row.error = error_of(connector, effect.get("config", {}), row.item, answer, row.state)
            return
        try:
            row.receipt = self.books.world.perform(effect["id"], connector, effect.get("config", {}), row.item)
        except Refused as refusal:
            row.state, row.error = "failed", {"code": refusal.code, "message": refusal.message}
            return
        row.state, row.error = "done", None

    def _scripted(self, effect_id: str, connector: str, item: Mapping[str, Any]) -> str | None:
        for index, entry in enumerate(self.script):
            times = entry.get("times") or (1 if entry["answer"] in CRASHES else None)
            if entry["effect"] != effect_id or (times is not None and self.given[index] >= times):
                continue
            if all(name in item and item[name] == cue(connector, name, value) for name, value in entry.get("when", {}).items()):
                self.given[index] += 1
                return str(entry["answer"])
        return None


_STATUS = {"done": "done", "failed": "failed", "unknown": "unknown"}


def _told(row: Row) -> Outcome:
    outcome: Outcome = {"status": _STATUS.get(row.state, "retrying")}
    if row.receipt is not None:
        outcome["receipt"] = row.receipt
    if row.error is not None:
        outcome["error"] = row.error
    return outcome
