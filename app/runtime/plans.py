"""What a dry run found: a plan of any length as counts, a digest of the whole and a bounded list; and what an approved plan binds a run to.

It refuses to be: a promise. A plan says what would happen to the world as it was; an approved run is held to it, effect by effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session

from app.core.errors import Conflict

MOST_LISTED = 500
MOST_LISTED_BYTES = 1_000_000
MOST_BOUND = 200_000
"""How many effects an approved plan may have: each is remembered by 16 bytes for as long as the run goes on."""

MARK = 16
FORMAT = b"plan/1\n"
Summary = dict[str, Any]


Proviso = Callable[[Session, str], None]
"""Asked, with the run's id, in the transaction that begins the run: raises and nothing has begun."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a run is begun: with the seed and at the instant of a run before it, so that it comes to the same. No instant: its own.

    With an `approval`, it may perform the effects of `marks` alone, those of the approved plan one after the other.
    """

    seed: str
    as_of: int | None = None
    approval: str | None = None
    marks: bytes | None = None


@dataclass(slots=True)
class PlanBook:
    """The plan as it grows: memory is flat but for the marks, and those stop being kept where nobody may approve the plan any more."""

    listed: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    total: int = 0
    may_differ: int = 0
    marks: bytearray = field(default_factory=bytearray)
    _bytes: int = 0
    _digest: Any = field(default_factory=lambda: hashlib.sha256(FORMAT))

    def add(self, entry: dict[str, Any], identity: str, fingerprint: str, size: int) -> None:
        """One effect: `{"effect", "key", "item", "would", "may_differ"}`, its identity, its canonical item's fingerprint and size."""
        effect, would = entry["effect"], entry["would"]
        tally = self.counts.setdefault(effect, {})
        tally[would] = tally.get(would, 0) + 1
        self.total += 1
        self.may_differ += entry["may_differ"]
        self._digest.update(f"{effect}\n{identity}\n{fingerprint}\n{would}\n".encode())
        if self.total <= MOST_BOUND:
            self.marks += mark(identity, fingerprint)
        if len(self.listed) < MOST_LISTED and self._bytes <= MOST_LISTED_BYTES:
            self._bytes += size
            self.listed.append(entry)

    def summary(self) -> Summary:
        """`{"digest", "total", "listed", "counts": {effect: {would: number}}, "may_differ"}`; the digest is of the whole plan, in order."""
        return {
            "digest": self._digest.hexdigest(),
            "total": self.total,
            "listed": len(self.listed),
            "counts": self.counts,
            "may_differ": self.may_differ,
        }


def mark(identity: str, fingerprint: str) -> bytes:
    """Says that an effect with this identity and content is in a plan."""
    return hashlib.sha256(f"{identity}\n{fingerprint}".encode()).digest()[:MARK]


def bound_by(marks: bytes) -> frozenset[bytes]:
    """The marks as a set."""
    return frozenset(marks[start : start + MARK] for start in range(0, len(marks), MARK))


def hold_to(bound: frozenset[bytes], effect: str, intents: Iterable[tuple[str, str, int]]) -> None:
    """Raise Conflict `effect_not_approved` unless each `(identity, fingerprint, position)` is in the plan; nothing of them was begun."""
    for identity, fingerprint, position in intents:
        if mark(identity, fingerprint) not in bound:
            raise Conflict(
                "effect_not_approved",
                f"The tool asked for an effect {effect!r} (item {position}) that is not in the approved plan. The run stopped before it.",
                fix="Make a new dry run and have its plan approved. What this run has done stays done and is not done again.",
                data={"effect": effect, "position": position},
            )
