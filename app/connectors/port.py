"""The ports: what the runtime asks of a connector and what it may hear. Values and protocols only.

Two kinds of effect. A *local* one commits in our own database, in the transaction that records it done, and is never
unknown. A *remote* one leaves the process: whatever it cannot tell for certain is "unknown", which only a person, a
provider's lookup or the spec's policy may turn into something else.

It refuses to be: a base class. Connectors share no code through here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeGuard

from sqlmodel import Session

from app.core.errors import Invalid, Problem
from app.spec.catalog import ConnectorCatalog, ConnectorKind
from app.spec.schemas import Validator, compile_schema

Verdict = Literal["done", "refused_now", "refused", "unknown"]


@dataclass(slots=True)
class Request:
    """One item to perform once. For a port it is a value; whoever performs sets `attempt` and `deadline` when it begins.

    `effect_id` is the ledger row's, `effect` the id that the spec gives the effect, `item` is canonical, `attempt` counts from
    1. `deadline` is in ms of the database's monotonic clock: past it the owner's lease, as it was when this began, no longer covers the
    effect, and nothing that may commit must leave any more. The answer to what has left in time may be waited for until `answer_by`.
    """

    effect_id: str
    tenant: str
    tool: str
    effect: str
    connector: str
    config: dict[str, Any]
    item: dict[str, Any]
    message_id: str | None
    attempt: int
    deadline: int
    answer_by: int = 0

    @property
    def waits_until(self) -> int:
        """Until when an answer is waited for (ms, monotonic): `answer_by`, and `deadline` where there is none."""
        return max(self.deadline, self.answer_by)


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the provider said when it was asked whether an effect had happened.

    `done` with a receipt; `not_done`: it did not happen, and nothing of the attempt is still under way there; `unknown`: it could not
    say, or could not be asked. `code` and `message` as in a Reply.
    """

    verdict: Literal["done", "not_done", "unknown"]
    receipt: dict[str, Any] | None = None
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the world said.

    `done` with a receipt; `refused_now`: a definite refusal that may pass; `refused`: a definite refusal for good; `unknown`: it
    may have happened. `code` is stable snake_case, `message` the world's own words, neither holds a secret. `retry_after_ms` is
    how long the world asks to be left alone after `refused_now`. `alone`: what was refused for now was this one effect, by somebody
    who is there for others.
    """

    verdict: Verdict
    receipt: dict[str, Any] | None = None
    code: str = ""
    message: str = ""
    retry_after_ms: int = 0
    alone: bool = False


class EffectPort(Protocol):
    """What every effect connector offers, whatever its kind. Both methods are pure."""

    @property
    def kind(self) -> ConnectorKind: ...

    def canonical(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        """The item in the one spelling that keys are computed from. Raises Invalid `item_invalid`."""
        ...

    def message_id(self, effect_id: str, config: dict[str, Any]) -> str | None:
        """The id that the world will know this effect by, the same at each attempt; None where there is none."""
        ...


class RemoteEffect(EffectPort, Protocol):
    """An effect outside our database."""

    @property
    def concurrency(self) -> int:
        """How many may be in flight at once from one process; each of them may end unknown if the process dies."""
        ...

    async def perform(self, request: Request) -> Reply:
        """Perform it once. Never raises for what the world does; whatever is ambiguous is "unknown"."""
        ...


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """What a lane takes of all processes together: `at_once` under way, `per_second` begun; None: any number."""

    at_once: int | None = None
    per_second: float | None = None


class PacedEffect(RemoteEffect, Protocol):
    """A remote effect whose world takes only so much at once, or a second, of one kind: the mails to one domain.

    It names the limits, which the runtime keeps over all processes. What a lane said of itself, such as that it wants less, it keeps here.
    """

    async def prepare(self, request: Request) -> None:
        """Look up what the lanes of requests like this one need. Raises nothing: who cannot be looked up has no limits."""
        ...

    def lane_of(self, request: Request) -> str:
        """What shares a limit with what, in every process and with other ports of the same world."""
        ...

    def limits_of(self, lane: str) -> LaneLimits | None:
        """What its operator allows this lane; None: nothing is limited."""
        ...

    def take(self, lane: str) -> bool:
        """Whether the lane's world takes one more of this process now; if so it counts until it is given back."""
        ...

    def give_back(self, lane: str) -> None:
        """One that was taken is over."""
        ...

    def ready_in(self, lane: str) -> int:
        """In about how many ms the lane takes one more; 0 where it may at once. Takes nothing."""
        ...


class LookupEffect(RemoteEffect, Protocol):
    """A remote effect whose provider can be asked afterwards what became of an attempt."""

    def looks_up(self, config: dict[str, Any]) -> bool:
        """Whether it can be asked for effects of this config. Pure."""
        ...

    async def look_up(self, request: Request) -> Lookup:
        """Ask, by effect id or message id; changes nothing. Never raises for what the world does; in doubt it is "unknown"."""
        ...


class LocalEffect(EffectPort, Protocol):
    """An effect inside our database."""

    def perform(self, session: Session, request: Request) -> Reply:
        """Perform it inside the transaction that records it done. Never unknown."""
        ...


def is_local(port: EffectPort) -> TypeGuard[LocalEffect]:
    """Whether the effect commits in our own database."""
    return port.kind.local


def is_remote(port: EffectPort) -> TypeGuard[RemoteEffect]:
    """Whether the effect leaves the process."""
    return not port.kind.local


def is_paced(port: EffectPort) -> TypeGuard[PacedEffect]:
    """Whether the effect has lanes of its own."""
    return hasattr(port, "lane_of")


def is_lookup(port: EffectPort) -> TypeGuard[LookupEffect]:
    """Whether its provider can be asked what became of an effect; `looks_up` says for which configs."""
    return hasattr(port, "look_up")


class ReadPort(Protocol):
    """A way to see the world."""

    @property
    def kind(self) -> ConnectorKind: ...

    def read(self, session: Session, tenant: str, config: dict[str, Any], query: dict[str, Any]) -> Any:
        """A JSON value; pages are `{"items", "next_cursor"}`. Raises Invalid or NotFound."""
        ...


class Started(Protocol):
    """Something that holds connections between `start` and `stop`."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True)
class Connectors:
    """All connectors of one runtime, by kind name; `connected` are those that serve a config which names a connection."""

    reads: Mapping[str, ReadPort]
    effects: Mapping[str, EffectPort]
    connected: Mapping[str, EffectPort] = field(default_factory=dict, kw_only=True)
    parts: tuple[Started, ...] = field(default=(), kw_only=True)

    def effect(self, connector: str, config: Mapping[str, Any]) -> EffectPort:
        """The port that performs what a spec declares."""
        if "connection" in config and connector in self.connected:
            return self.connected[connector]
        return self.effects[connector]

    @property
    def catalog(self) -> ConnectorCatalog:
        """What specs may name."""
        kinds = [port.kind for port in self.reads.values()] + [port.kind for port in self.effects.values()]
        return ConnectorCatalog.of(kinds)

    async def start(self) -> None:
        """Make ready; opens no connection to the world yet."""
        for part in self.parts:
            await part.start()

    async def stop(self) -> None:
        """Close what is open."""
        for part in reversed(self.parts):
            await part.stop()


def check_item(kind: ConnectorKind, item: Any) -> None:
    """Raise Invalid `item_invalid` unless `item` fits the kind's schema."""
    problems = _validator(kind).problems(item, "$.item")
    if problems:
        raise bad_item(kind, *problems)


def bad_item(kind: ConnectorKind, *problems: Problem) -> Invalid:
    """The refusal of an item."""
    said = "; ".join(f"{problem.path} {problem.message}" for problem in problems[:3])
    return Invalid("item_invalid", f"This is no item for {kind.name}: {said}.", fix=problems[0].fix, problems=problems)


def check_query(kind: ConnectorKind, query: Any) -> None:
    """Raise Invalid `query_invalid` unless `query` fits the kind's schema."""
    problems = _validator(kind).problems(query, "$.query")
    if problems:
        said = "; ".join(f"{problem.path} {problem.message}" for problem in problems[:3])
        raise Invalid("query_invalid", f"This is no query for {kind.name}: {said}.", fix=problems[0].fix, problems=problems)


_compiled: dict[int, tuple[ConnectorKind, Validator]] = {}


def _validator(kind: ConnectorKind) -> Validator:
    # Finding a validator by its schema's digest costs 0.7 ms, more than all else that planning an item costs. The entry
    # keeps the kind alive, so that its id is not given to another.
    entry = _compiled.get(id(kind))
    if entry is None:
        entry = _compiled[id(kind)] = (kind, compile_schema(dict(kind.item_schema)))
    return entry[1]
