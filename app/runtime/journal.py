"""The journal of one run: what the guest asked and was told, in order, so that a resume gives the same answers.

Steps wait in memory and are written with the next durable write (a claim of effects, the run's end), always before
anything that could depend on them leaves the process; a run without effects costs two commits in all.

It refuses to be: a log. A request that differs from the recorded one stops the run.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.core.db import Database
from app.core.errors import Conflict
from app.runtime.repository import journal as repository
from app.runtime.repository.journal import Journaled

INLINE_BYTES = 2048
REFUSED = " refused"
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def digest_text(text: str) -> str:
    """SHA-256 (hex) of UTF-8 text."""
    return hashlib.sha256(text.encode()).hexdigest()


def encode(value: Any) -> str:
    """The JSON text that digests are taken of: compact, keys sorted."""
    return _encode(value)


def request_digest(message: Mapping[str, Any]) -> str:
    """What tells one request of a guest from another at the same step: the id, the first index, and the items or the query."""
    items = message["items"] if message["t"] == "perform" else [message["query"], message.get("cursor")]
    return digest_text(encode([message["id"], message.get("first", 0), items]))


@dataclass(frozen=True, slots=True)
class Recorded:
    """A journaled answer and the time that it carried. `refused`: the value is `[code, message]`."""

    value: Any
    at: int
    refused: bool = False


@dataclass(slots=True)
class Journal:
    """`unasked` holds the `(step, chunk)` that earlier attempts recorded and this one has not asked for yet."""

    database: Database
    run_id: str
    unasked: set[tuple[int, int]] = field(default_factory=set)
    steps: list[dict[str, Any]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    highest: int = 0

    async def resume(self) -> None:
        """Read what earlier attempts recorded."""
        self.unasked = await asyncio.to_thread(self._seats)

    async def recorded(self, step: int, chunk: int, kind: str, name: str, request: str) -> Recorded | None:
        """The answer recorded for this very request, None if there is none yet. Raises Conflict `nondeterminism`."""
        self.highest = max(self.highest, step)
        if (step, chunk) not in self.unasked:
            return None
        row, text = await asyncio.to_thread(self._look_up, step, chunk)
        if (row.kind.removesuffix(REFUSED), row.name, row.request) != (kind, name, request):
            raise _differs(step, f"recorded {row.kind} {row.name}, now {kind} {name}" if row.name != name else "its request differs")
        self.unasked.discard((step, chunk))
        return Recorded(json.loads(text), row.at, row.kind.endswith(REFUSED))

    def ended(self) -> None:
        """The guest has finished. Raises Conflict `nondeterminism` if it asked for less than is recorded."""
        if self.unasked:
            raise _differs(min(self.unasked)[0], "it was not asked for again")

    def note(
        self, step: int, chunk: int, kind: str, name: str, request: str, answer: Any, at: int, *, items: int, duration_ms: int
    ) -> None:
        """Remember an answer that the guest is about to see."""
        text = encode(answer)
        inline = len(text) <= INLINE_BYTES
        if not inline:
            self.texts.append((digest_text(text), text))
        self.steps.append(
            {
                "run_id": self.run_id,
                "step": step,
                "chunk": chunk,
                "kind": kind,
                "name": name,
                "request": request,
                "answer": text if inline else None,
                "payload": None if inline else self.texts[-1][0],
                "items": items,
                "at": at,
                "duration_ms": duration_ms,
            }
        )

    def take(self) -> Journaled:
        """Hand over what is not written yet; the caller writes it in its transaction."""
        taken = (self.steps, self.texts)
        self.steps, self.texts = [], []
        return taken

    def _look_up(self, step: int, chunk: int) -> Any:
        with self.database.reading() as session:
            return repository.step_at(session, self.run_id, step, chunk)

    def _seats(self) -> set[tuple[int, int]]:
        with self.database.reading() as session:
            return repository.seats(session, self.run_id)


def _differs(step: int, what: str) -> Conflict:
    return Conflict(
        "nondeterminism",
        f"The tool behaves differently from its journal; the first differing step is {step}: {what}.",
        fix="Take time, randomness and ids from the context alone, and iterate over nothing unordered.",
        data={"step": step},
    )
