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

What the world says meanwhile has the form that it has in production: see `lifelike`.

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
from app.connectors.http_kind import canonical_request, http_kind, judge_lookup
from app.connectors.http_kind import judge as judge_answer
from app.connectors.lifelike import REFUSALS, answered, conflicted, mailed, status_answer
from app.connectors.notify import of_channel, webhook_reply
from app.connectors.notify_kind import canonical_notification, notify_kind
from app.connectors.port import Connectors, EffectPort, LocalEffect, Lookup, ReadPort, Reply, Request
from app.connectors.records import RecordsGet, RecordsPut, RecordsPutMany, RecordsQuery, RecordsSnapshot
from app.connectors.smtp import judge as judge_delivery
from app.spec.catalog import ConnectorKind

_CRASHES = ("crash", "crash_before")


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


@dataclass(frozen=True, slots=True)
class Cue:
    """What a script says of a request. `varied`: it was played by an effect's id, so that the form of the answer may be any."""

    answer: str | None = None
    varied: bool = False


@dataclass(eq=False)
class Script:
    """The cues, and how often each has been given."""

    entries: Sequence[dict[str, Any]]
    crash: Callable[[], NoReturn] = _raise_crash
    _given: dict[int, int] = field(default_factory=dict)

    def answer(self, request: Request, addresses: tuple[str, ...] = ()) -> Cue:
        """The next answer for this request, counted as given; an empty cue where the script says nothing."""
        return self._next("answer", request, addresses)

    def look_up(self, request: Request, addresses: tuple[str, ...] = ()) -> Cue:
        """The same for a question about an effect that is unknown."""
        return self._next("look_up", request, addresses)

    @property
    def looks_up(self) -> bool:
        """Whether the script has an answer to such a question."""
        return any("look_up" in entry for entry in self.entries)

    def _next(self, kind: str, request: Request, addresses: tuple[str, ...]) -> Cue:
        for index, entry in enumerate(self.entries):
            if kind not in entry or not _is_meant(entry, request, addresses):
                continue
            times = entry.get("times") or (1 if entry[kind] in _CRASHES else None)
            given = self._given.get(index, 0)
            if times is None or given < times:
                self._given[index] = given + 1
                return Cue(entry[kind], varied="id" in entry)
        return Cue()


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
    def say(self, request: Request, cue: Cue) -> Reply:
        """What the world says: of one that happened, a refusal, or nothing that one could be sure of."""

    async def perform(self, request: Request) -> Reply:
        """Answer on cue; raises ScriptedCrash where the cue is to die."""
        cue = self.script.answer(request, self.kind.canonical_fields)
        if cue.answer == "crash_before":
            self.script.crash()
        if cue.answer not in REFUSALS:
            self.performed.append(Performed(request.effect_id, request.effect, self.kind.name, request.item, request.message_id))
        if cue.answer == "crash":
            self.script.crash()
        return self.say(request, cue)

    def looks_up(self, config: dict[str, Any]) -> bool:
        """Where the script has such an answer."""
        return self.script.looks_up

    async def look_up(self, request: Request) -> Lookup:
        """Answer on cue, as a provider does that is asked over HTTP."""
        answer = self.script.look_up(request, self.kind.canonical_fields).answer
        if answer == "done":
            return Lookup("done", receipt=self.say(request, Cue()).receipt)
        return judge_lookup(request.config, status_answer(404 if answer == "not_done" else 503))


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

    def say(self, request: Request, cue: Cue) -> Reply:
        """As a mail server."""
        return judge_delivery(mailed(request, cue.answer, varied=cue.varied))


@dataclass(frozen=True)
class ScriptedHttp(ScriptedRemote):
    """`http.request` that asks nobody: what the spec keeps of an answer is made up, for each item its own."""

    kind: ConnectorKind = field(default_factory=http_kind)

    def canonical(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        """As in production."""
        return canonical_request(self.kind, config, item)

    def message_id(self, effect_id: str, config: dict[str, Any]) -> str | None:
        """As in production."""
        return effect_id

    def say(self, request: Request, cue: Cue) -> Reply:
        """As an HTTP server."""
        return judge_answer(request.config, answered(request, cue.answer, varied=cue.varied))


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

    def say(self, request: Request, cue: Cue) -> Reply:
        """As the mail server or the HTTP server of the channel."""
        by_mail = "email" in request.config["channels"][request.item["channel"]]
        if by_mail:
            reply = judge_delivery(mailed(request, cue.answer, varied=cue.varied))
        else:
            reply = webhook_reply(answered(request, cue.answer, varied=cue.varied))
        return of_channel(request, reply)


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
        answer = self.script.answer(request).answer
        if answer in REFUSALS:
            return conflicted(request, answer)
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
