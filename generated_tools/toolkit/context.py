"""What a tool is given beside its arguments: the only way to read, to act, to know the time and to speak.

It refuses to be: a client of anything. Each call is a message to the host, which authorises, performs, journals and answers; a run that
is resumed gets the journaled answers again, so a tool must take time, randomness and ids from here alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, cast

from .wire import MAX_CHUNK_BYTES, MAX_CHUNK_ITEMS, Message, dumps

if TYPE_CHECKING:
    from random import Random

Status: TypeAlias = Literal["done", "skipped", "duplicate", "retrying", "failed", "unknown"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_CHUNK = 50
_IN_FLIGHT = 2


class ToolError(Exception):
    """A business failure with a stable snake_case `code`, raised by a tool to end its run or by a call that the host refused."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message


class Cancelled(BaseException):
    """The run was cancelled. It derives from BaseException so that a broad `except` does not swallow it; let it pass."""


BEHIND = {"random": ("random",), "new_id": ("random", "uuid")}
"""Modules behind names of a context, which few tools use: loaded with the first use, so that no other run pays for them."""


class Outcome(NamedTuple):
    """What became of one item.

    `done`: performed by this run. `skipped`: done before by another run, with that receipt. `duplicate`: the same key came earlier
    in this run, with that item's outcome. `retrying`: refused for now, the queue goes on with it. `failed`: refused for good.
    `unknown`: it may or may not have happened; never assume either. `error` is `{"code", "message"}` where there is one; `differs`
    says that the item's content is not what was done under its key.
    """

    status: Status
    receipt: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    differs: bool = False

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Outcome:
        """The outcome in a host's answer; absent fields take their defaults."""
        return cls(cast(Status, answer["status"]), answer.get("receipt"), answer.get("error"), bool(answer.get("differs", False)))


class Exchange(Protocol):
    """What a context needs of its host: messages out, messages in. A channel is one, and so is a trial's world."""

    def send(self, message: Message) -> None: ...

    def receive(self) -> Message: ...


class _Ticket:
    """A request whose answer is awaited."""

    __slots__ = ("answer",)

    def __init__(self) -> None:
        self.answer: Message | None = None


class Context:
    """The second argument of every tool's `run`."""

    def __init__(self, exchange: Exchange, *, now: int, seed: str) -> None:
        """`now` is the run's start in milliseconds since the epoch; `seed` feeds `random` and `new_id`, by streams of their own."""
        self._seed = seed
        self._exchange = exchange
        self._now = now
        self._step = 0
        self._waiting: dict[tuple[int, int], _Ticket] = {}
        self._cancelled = False

    @cached_property
    def random(self) -> Random:
        """A generator that yields the same again on a resume."""
        from random import Random

        return Random(self._seed)  # noqa: S311 - it must be repeatable, and is no secret

    @cached_property
    def _ids(self) -> Random:
        from random import Random

        return Random(f"{self._seed}/ids")  # noqa: S311 - as above

    def read(self, read_id: str, /, **query: Any) -> Any:
        """One read declared in the spec, with its query. Raises ToolError where the host refuses."""
        return self._settle(self._request({"t": "read", "step": self._next_step(), "id": read_id, "query": query}))

    def read_pages(self, read_id: str, /, **query: Any) -> Iterator[Any]:
        """All items of a declared read, page by page as they are consumed. Each page is a step. Raises ToolError as `read` does."""
        cursor: str | None = None
        while True:
            step = self._next_step()
            page = self._settle(self._request({"t": "read", "step": step, "id": read_id, "query": query, "cursor": cursor}))
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def perform(self, effect_id: str, item: Any) -> Outcome:
        """One declared effect on one item. Raises ToolError where the host refuses the call itself (undeclared, over a limit)."""
        ticket = self._perform(self._next_step(), effect_id, [item], chunk=0, first=0, last=True, each=False)
        return Outcome.of(self._settle(ticket)[0])

    def perform_each(self, effect_id: str, items: Iterable[Any]) -> Iterator[Outcome]:
        """One outcome per item, in order, for an iterable of any length, in flat memory.

        Items are sent ahead in chunks (500 items or 1 MiB at most, two in flight), so a tool that stops consuming has still performed
        what was sent. One call is one step. Raises ToolError as `perform` does.
        """
        return self._pipeline(self._next_step(), effect_id, iter(items))

    def perform_many(self, effect_id: str, items: Iterable[Any]) -> list[Outcome]:
        """`perform_each` as a list."""
        return list(self.perform_each(effect_id, items))

    def now(self) -> datetime:
        """The time, UTC, in whole seconds, carried by the host's latest answer; it moves only at a call."""
        return _EPOCH + timedelta(milliseconds=self._now)

    def new_id(self) -> str:
        """A fresh id in the shape of a UUID, the same again when the run is resumed."""
        from uuid import UUID

        return str(UUID(int=self._ids.getrandbits(128), version=4))

    def log(self, event: str, /, **fields: Any) -> None:
        """One structured line in the run's log. The host keeps a bounded number; personal data does not belong here."""
        self._exchange.send({"t": "log", "event": event, "fields": fields})

    def progress(self, done: int, total: int | None = None) -> None:
        """How far the run is; shown live. The host keeps what it needs of a fast sequence."""
        self._exchange.send({"t": "progress", "done": done, "total": total})

    def _next_step(self) -> int:
        self._step += 1
        return self._step

    def _perform(self, step: int, effect_id: str, items: list[Any], *, chunk: int, first: int, last: bool, each: bool) -> _Ticket:
        return self._request(
            {"t": "perform", "step": step, "chunk": chunk, "first": first, "id": effect_id, "items": items, "last": last, "each": each}
        )

    def _pipeline(self, step: int, effect_id: str, items: Iterator[Any]) -> Iterator[Outcome]:
        flying: deque[_Ticket] = deque()
        first = 0
        for chunk, (part, last) in enumerate(_chunks(items)):
            flying.append(self._perform(step, effect_id, part, chunk=chunk, first=first, last=last, each=True))
            first += len(part)
            if len(flying) == _IN_FLIGHT:
                yield from map(Outcome.of, self._settle(flying.popleft()))
        while flying:
            yield from map(Outcome.of, self._settle(flying.popleft()))

    def _request(self, message: Message) -> _Ticket:
        if self._cancelled:
            raise Cancelled
        self._exchange.send(message)
        ticket = self._waiting[message["step"], message.get("chunk", 0)] = _Ticket()
        return ticket

    def _settle(self, ticket: _Ticket) -> Any:
        while ticket.answer is None:
            answer = self._exchange.receive()
            if answer["t"] == "cancel":
                self._cancelled = True
            if self._cancelled:
                raise Cancelled
            request = (answer["step"], answer["chunk"]) if "step" in answer else next(iter(self._waiting))
            self._waiting.pop(request).answer = answer
        answer = ticket.answer
        self._now = max(self._now, answer.get("now", self._now))
        if answer["t"] == "refuse":
            raise ToolError(answer["code"], answer.get("message", ""))
        return answer["value"]


def _chunks(items: Iterator[Any]) -> Iterator[tuple[list[Any], bool]]:
    """Parts of at most 500 items and about 1 MiB, each with whether it is the last; the first is small, to answer early."""
    part: list[Any] = []
    size, count = 0, _FIRST_CHUNK
    for item in items:
        length = len(dumps(item))
        if part and (len(part) >= count or size + length > MAX_CHUNK_BYTES):
            yield part, False
            part, size, count = [], 0, MAX_CHUNK_ITEMS
        part.append(item)
        size += length
    if part:
        yield part, True
