"""Scripted twins: connectors that answer on cue, for verification, the demo and tests.

The records connectors stay real, on whatever database the run has; what leaves the process does not leave, but is noted in
`performed`, in order. A script is a list of `{"effect", "when": {field: value}, "answer", "times"?}`, by the effect's id in the
spec; the first entry that fits the canonical item and is not used up decides. Without one the effect is simply done. Whoever plays a
schedule may name one effect by the `id` of its ledger row instead, which no item can be mistaken for.

| answer | a remote effect | a local effect |
|---|---|---|
| `refuse_now`, `refuse_for_good` | a definite refusal, nothing happens | the same |
| `lose_reply` | it happens, the reply is unknown | it happens: a local effect is never unknown |
| `crash` | it happens, then the process dies | the process dies, nothing is committed |
| `crash_before` | the process dies, nothing happens | the same |

An entry with `look_up` (`done`, `not_done`, `unknown`) instead of an answer is what the provider says when it is asked afterwards; a script
without one offers no look-up.

`times` says how often an entry answers: a crash once, any other each time, unless told. Addresses in `when` may be spelt in any way
that is canonically the same.

It refuses to be: a simulation of a provider. It has no delays, no order of its own, no randomness.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from sqlmodel import Session

from app.connectors.address import BadAddress, canonical_address
from app.connectors.email_kind import canonical_email, email_kind, email_message_id
from app.connectors.http_kind import canonical_request, http_kind
from app.connectors.notify_kind import canonical_notification, notify_kind
from app.connectors.port import Connectors, EffectPort, LocalEffect, Lookup, ReadPort, Reply, Request
from app.connectors.records import RecordsGet, RecordsPut, RecordsPutMany, RecordsQuery, RecordsSnapshot
from app.spec.catalog import ConnectorKind

_CRASHES = ("crash", "crash_before")
_REFUSALS = {
    "refuse_now": Reply("refused_now", code="scripted_refusal", message="refused for now, by the script"),
    "refuse_for_good": Reply("refused", code="scripted_refusal", message="refused for good, by the script"),
}


class ScriptedCrash(BaseException):
    """The script's cue to die. No `except Exception` on its way may take it for a failure of the effect."""


@dataclass(frozen=True, slots=True)
class Performed:
    """One thing that happened in the scripted world."""

    effect_id: str
    effect: str
    connector: str
    item: dict[str, Any]
    message_id: str | None


def _raise_crash() -> NoReturn:
    raise ScriptedCrash


@dataclass(eq=False)
class Script:
    """The cues, and how often each has been given."""

    entries: Sequence[dict[str, Any]]
    crash: Callable[[], NoReturn] = _raise_crash
    _given: dict[int, int] = field(default_factory=dict)

    def answer(self, request: Request, addresses: tuple[str, ...] = ()) -> str | None:
        """The next answer for this request, counted as given; None where the script says nothing."""
        return self._next("answer", request, addresses)

    def look_up(self, request: Request, addresses: tuple[str, ...] = ()) -> str | None:
        """The same for a question about an effect that is unknown."""
        return self._next("look_up", request, addresses)

    @property
    def looks_up(self) -> bool:
        """Whether the script has an answer to such a question."""
        return any("look_up" in entry for entry in self.entries)

    def _next(self, kind: str, request: Request, addresses: tuple[str, ...]) -> str | None:
        for index, entry in enumerate(self.entries):
            if kind not in entry or not _is_meant(entry, request, addresses):
                continue
            times = entry.get("times") or (1 if entry[kind] in _CRASHES else None)
            given = self._given.get(index, 0)
            if times is None or given < times:
                self._given[index] = given + 1
                answer: str = entry[kind]
                return answer
        return None


def _is_meant(entry: dict[str, Any], request: Request, addresses: tuple[str, ...]) -> bool:
    named = entry.get("id") in (None, request.effect_id) and entry["effect"] == request.effect
    return named and _fits(entry.get("when") or {}, request.item, addresses)


def _fits(when: dict[str, Any], item: dict[str, Any], addresses: tuple[str, ...]) -> bool:
    return all(name in item and item[name] == (_address(value) if name in addresses else value) for name, value in when.items())


def _address(value: Any) -> Any:
    try:
        return canonical_address(value) if isinstance(value, str) else value
    except BadAddress:
        return value


@dataclass(frozen=True)
class ScriptedRemote(ABC):
    """A remote effect that sends nothing and answers on cue; of production's kind."""

    script: Script
    performed: list[Performed]
    kind: ConnectorKind
    concurrency: int = field(default=8, kw_only=True)

    @abstractmethod
    def canonical(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        """As in production."""

    @abstractmethod
    def message_id(self, effect_id: str, config: dict[str, Any]) -> str | None:
        """As in production."""

    @abstractmethod
    def receipt(self, request: Request) -> dict[str, Any]:
        """What the world says of one that happened, in the shape that production has."""

    async def perform(self, request: Request) -> Reply:
        """Answer on cue; raises ScriptedCrash where the cue is to die."""
        answer = self.script.answer(request, self.kind.canonical_fields)
        if answer in _REFUSALS:
            return _REFUSALS[answer]
        if answer == "crash_before":
            self.script.crash()
        self.performed.append(Performed(request.effect_id, request.effect, self.kind.name, request.item, request.message_id))
        if answer == "crash":
            self.script.crash()
        if answer == "lose_reply":
            return Reply("unknown", code="reply_lost", message="the reply was lost, by the script")
        return Reply("done", receipt=self.receipt(request))

    def looks_up(self, config: dict[str, Any]) -> bool:
        """Where the script has such an answer."""
        return self.script.looks_up

    async def look_up(self, request: Request) -> Lookup:
        """Answer on cue."""
        answer = self.script.look_up(request, self.kind.canonical_fields)
        if answer == "done":
            return Lookup("done", receipt={"reply": "found by the script"})
        if answer == "not_done":
            return Lookup("not_done", code="not_found", message="not found, by the script")
        return Lookup("unknown", code="unclear", message="the script cannot tell")


@dataclass(frozen=True)
class ScriptedEmail(ScriptedRemote):
    """`email.send` that sends nothing. It is remote whatever production uses: the harder case is the one to verify."""

    kind: ConnectorKind = field(default_factory=lambda: email_kind(local=False))

    def canonical(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        """As in production."""
        return canonical_email(self.kind, item)

    def message_id(self, effect_id: str, config: dict[str, Any]) -> str | None:
        """As in production."""
        return email_message_id(effect_id, config)

    def receipt(self, request: Request) -> dict[str, Any]:
        """A reply and a queue id."""
        return {"reply": "250 2.0.0 accepted by the script", "queue_id": f"S{len(self.performed)}"}


@dataclass(frozen=True)
class ScriptedHttp(ScriptedRemote):
    """`http.request` that asks nobody: every request is answered with 200, and the fields that the spec keeps with texts of the script."""

    kind: ConnectorKind = field(default_factory=http_kind)

    def canonical(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        """As in production."""
        return canonical_request(self.kind, config, item)

    def message_id(self, effect_id: str, config: dict[str, Any]) -> str | None:
        """As in production."""
        return effect_id

    def receipt(self, request: Request) -> dict[str, Any]:
        """A status, and what the spec keeps."""
        keep = request.config.get("keep", {})
        kept = {part: dict.fromkeys(keep.get(part, ()), "scripted") for part in ("headers", "fields")}
        return {"status": 200, **kept}


@dataclass(frozen=True)
class ScriptedNotify(ScriptedRemote):
    """`notify.send` that tells nobody."""

    kind: ConnectorKind = field(default_factory=notify_kind)

    def canonical(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        """As in production."""
        return canonical_notification(self.kind, config, item)

    def message_id(self, effect_id: str, config: dict[str, Any]) -> str | None:
        """As in production."""
        return effect_id

    def receipt(self, request: Request) -> dict[str, Any]:
        """The channel with a status, as of a webhook, or with the words of a mail server."""
        name = request.item["channel"]
        by_mail = "email" in request.config["channels"][name]
        return {"channel": name, **({"reply": "250 2.0.0 accepted by the script", "queue_id": "S"} if by_mail else {"status": 200})}


@dataclass(frozen=True)
class ScriptedLocal:
    """A local effect that is real, unless its cue says otherwise."""

    inner: LocalEffect
    script: Script

    @property
    def kind(self) -> ConnectorKind:
        return self.inner.kind

    def canonical(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        """As in production."""
        return self.inner.canonical(config, item)

    def message_id(self, effect_id: str, config: dict[str, Any]) -> str | None:
        """As in production."""
        return self.inner.message_id(effect_id, config)

    def perform(self, session: Session, request: Request) -> Reply:
        """Perform it, or answer on cue; raises ScriptedCrash inside the transaction where the cue is to die."""
        answer = self.script.answer(request)
        if answer in _REFUSALS:
            return _REFUSALS[answer]
        if answer in _CRASHES:
            self.script.crash()
        return self.inner.perform(session, request)


@dataclass(frozen=True)
class ScriptedQuery:
    """`records.query` whose pages are short where the query names no limit, so that a small world has more than one of them."""

    inner: RecordsQuery
    page: int

    @property
    def kind(self) -> ConnectorKind:
        return self.inner.kind

    def read(self, session: Session, tenant: str, config: dict[str, Any], query: dict[str, Any]) -> dict[str, Any]:
        """As in production, with another default."""
        return self.inner.read(session, tenant, config, {"limit": self.page, **query})


@dataclass(frozen=True)
class ScriptedConnectors(Connectors):
    """The twins. `performed` lists what happened outside our database, in order, repeats included."""

    performed: list[Performed] = field(kw_only=True)


def scripted(
    script: Sequence[dict[str, Any]] = (), crash: Callable[[], NoReturn] = _raise_crash, *, page: int | None = None
) -> ScriptedConnectors:
    """The twins of every kind. `crash` is what the cue to die does: raise ScriptedCrash, or kill a process of one's own.

    `page`: how many records a page has at most where its query does not say; None as in production.
    """
    cues = Script(list(script), crash)
    performed: list[Performed] = []
    effects: list[EffectPort] = [
        ScriptedEmail(cues, performed),
        ScriptedHttp(cues, performed),
        ScriptedNotify(cues, performed),
        ScriptedLocal(RecordsPut(), cues),
        ScriptedLocal(RecordsPutMany(), cues),
        ScriptedLocal(RecordsSnapshot(), cues),
    ]
    reads: list[ReadPort] = [RecordsGet(), RecordsQuery() if page is None else ScriptedQuery(RecordsQuery(), page)]
    return ScriptedConnectors({port.kind.name: port for port in reads}, {port.kind.name: port for port in effects}, performed=performed)
