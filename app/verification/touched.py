"""What the runs of a gate touched: which reads were answered and which effects were done, counted by id over all of them.

It refuses to be: a judgement, or a list of what was read. Counts hold no data of an example, a held-out one's neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.verification.stage import Played


@dataclass
class Touched:
    """Counts that grow with each run; `as_dict` is the gate's fact `touched`."""

    runs: int = 0
    reads: Counter[str] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)

    def add(self, played: Played) -> None:
        """Count one run, with every attempt at it."""
        self.runs += 1
        for attempt in played.attempts:
            self.reads.update(name for name, _ in attempt.reads)
            self.reads.subtract(name for kind, name, _ in attempt.refused if kind == "read")
        self.effects.update(done.effect for done in played.done if done.status == "done")

    def as_dict(self) -> dict[str, Any]:
        """`{"runs", "reads": {id: times}, "effects": {id: items}}`."""
        return {"runs": self.runs, "reads": _counted(self.reads), "effects": _counted(self.effects)}


def touched(plays: Iterable[Played]) -> dict[str, Any]:
    """The fact of these runs."""
    counts = Touched()
    for played in plays:
        counts.add(played)
    return counts.as_dict()


def summed(facts: Iterable[Mapping[str, Any]]) -> Touched:
    """The facts of several gates together."""
    total = Touched()
    for fact in facts:
        total.runs += fact["runs"]
        total.reads.update(fact["reads"])
        total.effects.update(fact["effects"])
    return total


def _counted(counts: Counter[str]) -> dict[str, int]:
    return {name: number for name, number in sorted(counts.items()) if number > 0}
