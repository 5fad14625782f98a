"""A guest session that is listened to: what the tool asked and what it was told, in order, while everything passes unchanged.

Whoever plays a schedule may be told of each moment of a session as it comes, to end the process there or to let another run go first.

It refuses to be: a part of the run. The runtime drives the very session that it would drive in production.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from app.runtime.values import Guests
from app.sandbox.limits import GuestLimits
from app.sandbox.messages import CLOSING
from app.sandbox.session import GuestSession, Seat, Usage, seat_of


@dataclass(slots=True)
class Act:
    """One item of one `perform`: `item` as the tool gave it, `outcome` as the tool was told; None where it never heard."""

    effect: str
    item: Any
    outcome: Mapping[str, Any] | None = None
    refused: str | None = None


@dataclass(slots=True)
class Heard:
    """One attempt at a run, as its guest lived it. `refused` lists `(kind, id, code)` of each request that the host refused.

    `asked` has the effect of each `perform`, whatever its number of items; `rows` are the records that pages gave it, `(collection, key)`,
    with their versions; `end` is the guest's closing message.
    """

    acts: list[Act] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    reads: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    logs: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    progress: int = 0
    usage: Usage | None = None
    end: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a session stands: the tool asks for effects, is about to be told what became of them, or has ended.

    `nth` counts the requests for effects of this attempt; `acts` are the items of the one that it is about.
    """

    what: Literal["asks", "told", "ends"]
    nth: int
    acts: Sequence[Act] = ()


Meeting = Callable[[Moment], Awaitable[None]]


async def _unmet(_moment: Moment) -> None:
    return None


def _still() -> None:
    return None


@dataclass
class Witness:
    """Guests that are listened to; `heard` has one entry a session, in order.

    `meet` is awaited at each moment of theirs, `tick` is called at each request.
    """

    guests: Guests
    heard: list[Heard] = field(default_factory=list)
    meet: Meeting = _unmet
    tick: Callable[[], None] = _still

    async def session(self, digest: str, files: Mapping[str, str], limits: GuestLimits) -> GuestSession:
        self.heard.append(Heard())
        return Witnessed(await self.guests.session(digest, files, limits), self.heard[-1], self.meet, self.tick)


class Witnessed(GuestSession):
    """Passes every call on to the session that it stands for."""

    def __init__(self, inner: GuestSession, heard: Heard, meet: Meeting, tick: Callable[[], None]) -> None:
        self._inner = inner
        self._heard = heard
        self._meet = meet
        self._tick = tick
        self._open: dict[Seat, tuple[str, str, list[Act]]] = {}
        self._queries: dict[Seat, Mapping[str, Any]] = {}
        self.limits = inner.limits

    @property
    def alive(self) -> bool:
        return self._inner.alive

    async def start(self, args: Any, *, now: int, seed: str) -> None:
        await self._inner.start(args, now=now, seed=seed)

    async def receive(self) -> dict[str, Any]:
        message = await self._inner.receive()
        kind = message["t"]
        if kind in ("read", "perform"):
            self._tick()
        if kind == "perform":
            acts = [Act(message["id"], item) for item in message["items"]]
            self._heard.acts += acts
            self._heard.asked.append(message["id"])
            self._open[seat_of(message)] = (kind, message["id"], acts)
            await self._meet(Moment("asks", len(self._heard.asked), acts))
        elif kind == "read":
            self._heard.reads.append((message["id"], message["query"]))
            self._open[seat_of(message)] = (kind, message["id"], [])
            self._queries[seat_of(message)] = message["query"]
        elif kind == "log":
            self._heard.logs.append((message["event"], message["fields"]))
        elif kind == "progress":
            self._heard.progress += 1
        elif kind in CLOSING:
            self._heard.end = message
            await self._meet(Moment("ends", len(self._heard.asked)))
        return message

    async def answer(self, value: Any, now: int, of: Seat | None = None) -> None:
        self._note_page(of, value)
        _, _, acts = self._close(of)
        for act, outcome in zip(acts, value if acts else (), strict=False):
            act.outcome = outcome
        if acts:
            await self._meet(Moment("told", len(self._heard.asked), acts))
        await self._inner.answer(value, now, of)

    async def refuse(self, code: str, message: str, now: int, of: Seat | None = None) -> None:
        kind, name, acts = self._close(of)
        self._heard.refused.append((kind, name, code))
        for act in acts:
            act.refused = code
        await self._inner.refuse(code, message, now, of)

    def _note_page(self, of: Seat | None, value: Any) -> None:
        query = self._queries.pop(next(iter(self._open)) if of is None else of, {})
        if "collection" in query and isinstance(value, Mapping):
            self._heard.rows |= {(query["collection"], row["key"]): row["version"] for row in value.get("items", ())}

    def _close(self, of: Seat | None) -> tuple[str, str, list[Act]]:
        return self._open.pop(next(iter(self._open)) if of is None else of)

    async def cancel(self) -> None:
        await self._inner.cancel()

    async def close(self) -> Usage:
        self._heard.usage = await self._inner.close()
        return self._heard.usage

    def on_close(self, after: Callable[[], Awaitable[None]]) -> None:
        self._inner.on_close(after)
