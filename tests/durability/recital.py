"""Guests without a sandbox, for processes that die dozens of times: a tool that writes to each address of `to`, cued by the addresses.

The first word of an address says what happens to it, once: `later.ann@example.org` is refused once for now. What was cued is
remembered on disk, so that the process that takes over does not meet it again.

It refuses to be: the sandbox. The messages are those of a guest; everything behind them is the runtime itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from app.connectors.port import Lookup, Reply, Request
from app.connectors.scripted import Cue, Performed, ScriptedEmail
from app.runtime.departures import AHEAD
from app.runtime.flow.gate import UNGATED, GoOn
from app.sandbox.limits import GuestLimits
from app.sandbox.session import GuestSession, Usage

_USED = Usage(0, 0, 0, 0, 0, 0, 0)

CHUNK = AHEAD + 2
"""More than are begun at once, where they are sent one at a time."""


class Reciter:
    """One guest: it performs for eight addresses in one call and for the others in the next; it ends as `subject` says."""

    def __init__(self) -> None:
        self._cancelled = False
        self._answered = asyncio.Event()
        self._answered.set()
        self._messages: Iterator[dict[str, Any]] = iter(())

    async def start(self, args: Any, *, now: int, seed: str) -> None:
        self._messages = _recital(args)

    async def receive(self) -> dict[str, Any]:
        await self._answered.wait()
        if self._cancelled:
            return {"t": "cancelled"}
        message = next(self._messages)
        if message["t"] == "perform":
            self._answered.clear()
        return message

    async def answer(self, *_answer: Any, **_of: Any) -> None:
        """It goes on whatever the answer is."""
        self._answered.set()

    async def refuse(self, *_refusal: Any, **_of: Any) -> None:
        """As above."""
        self._answered.set()

    async def cancel(self) -> None:
        self._cancelled = True
        self._answered.set()

    async def close(self) -> Usage:
        return _USED

    def leave(self) -> asyncio.Task[Usage]:
        return asyncio.create_task(self.close())


def _recital(args: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    items = [_item(to, args.get("subject", "Hello")) for to in args["to"]]
    for step, part in enumerate(filter(None, (items[:CHUNK], items[CHUNK:])), start=1):
        yield {"t": "perform", "step": step, "chunk": 0, "first": 0, "id": "send", "items": part, "last": True, "each": True}
    if args.get("subject") == "fail":
        yield {"t": "tool_error", "code": "told_to", "message": "it was told to fail"}
    yield {"t": "result", "value": {"done": 0}}


def _item(to: str, subject: str) -> dict[str, Any]:
    if subject == "record":
        return {"key": to, "body": {}, **({"expected_version": 99} if to.startswith("no.") else {})}
    return {"to": to, "subject": subject, "text": "Hi"}


class Recital:
    """Where such guests come from."""

    async def session(self, digest: str, files: Mapping[str, str], limits: GuestLimits) -> GuestSession:
        return cast("GuestSession", Reciter())


@dataclass(frozen=True)
class Memory:
    """What was sent, and what has happened once: on disk before anybody is told, for all processes."""

    folder: Path

    def once(self, name: str) -> bool:
        """Whether this is the first time."""
        try:
            os.close(os.open(self.folder / name, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def sent(self) -> list[str]:
        """To whom, in order, repeats included."""
        diary = self.folder / "diary"
        return diary.read_text().split() if diary.exists() else []

    def note(self, to: str) -> None:
        with (self.folder / "diary").open("a") as file:
            file.write(f"{to}\n")


@dataclass(frozen=True)
class CuedEmail(ScriptedEmail):
    """E-mail that does what the address says, one at a time, so that a chapter is the same each time."""

    memory: Memory = field(kw_only=True)
    asides: Mapping[str, Callable[[Request], Awaitable[None]]] = field(kw_only=True)

    async def perform(self, request: Request) -> Reply:
        to = request.item["to"]
        word = to.partition(".")[0]
        if word == "never" and (self.memory.once(f"{to} 1") or self.memory.once(f"{to} 2")):
            return Reply("refused_now", code="not_now", message="not now, by the script")
        if word == "no":
            return Reply("refused", code="no", message="never, by the script")
        if word in ("later", "bad", "lost", "gone", "crash", *self.asides) and self.memory.once(to):
            return await self._cue(word, to, request)
        return self._happen(to, request)

    async def _cue(self, word: str, to: str, request: Request) -> Reply:
        match word:
            case "later":
                return Reply("refused_now", code="not_now", message="not now, by the script")
            case "bad":
                return Reply("refused", code="bad", message="for good, by the script")
            case "lost":
                return Reply("unknown", code="reply_lost", message="nothing happened, and nobody knows")
            case "gone":
                self._happen(to, request)
                return Reply("unknown", code="reply_lost", message="it happened, and nobody knows")
            case "crash":
                self.script.crash()
            case _:
                await self.asides[word](request)
        return self._happen(to, request)

    def _happen(self, to: str, request: Request) -> Reply:
        self.memory.note(to)
        self.performed.append(Performed(request.effect_id, request.effect, self.kind.name, request.item, request.message_id))
        return self.say(request, Cue())

    def looks_up(self, config: dict[str, Any]) -> bool:
        return True

    async def look_up(self, request: Request) -> Lookup:
        """The provider knows what is in the diary."""
        known = request.item["to"] in self.memory.sent()
        return Lookup("done", receipt={"reply": "found"}) if known else Lookup("not_done", code="not_found", message="not found")


@dataclass(frozen=True)
class RestingGate:
    """A gate that lets each effect wait once, as an open circuit does, and is open otherwise."""

    memory: Memory
    now: Callable[[], int]

    def __getattr__(self, name: str) -> Any:
        return getattr(UNGATED, name)

    async def admit(self, effect_id: str, go_on: GoOn) -> int | None:
        return self.now() if self.memory.once(f"rest {effect_id}") else None
