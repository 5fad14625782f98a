"""What was promised beside what is so: the table at the end of the demo, and its verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import zip_longest
from textwrap import wrap

MOST = (58, 24, 24, 6)


@dataclass(frozen=True, slots=True)
class Line:
    """One promise, what was expected, what was found."""

    promise: str
    expected: object
    found: object

    @property
    def kept(self) -> bool:
        return self.expected == self.found


@dataclass
class Promises:
    """`check` notes a line and says it at once; `kept` is the verdict over all of them."""

    lines: list[Line] = field(default_factory=list)

    def check(self, promise: str, expected: object, found: object) -> None:
        line = Line(promise, expected, found)
        self.lines.append(line)
        print(f"      {'ok ' if line.kept else 'NOT'} {promise}: {found}" + ("" if line.kept else f" (expected {expected})"), flush=True)

    @property
    def kept(self) -> bool:
        return bool(self.lines) and all(line.kept for line in self.lines)

    def table(self) -> str:
        shown = [("what was promised", "promised", "found", "")]
        shown += [(line.promise, str(line.expected), str(line.found), "kept" if line.kept else "BROKEN") for line in self.lines]
        widths = [min(MOST[column], max(len(row[column]) for row in shown)) for column in range(4)]
        return "\n".join(line for row in shown for line in _folded(row, widths))


def _folded(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """A row of the table in as many lines as its longest cell needs."""
    cells = [wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
    lines = zip_longest(*cells, fillvalue="")
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def say(text: str) -> None:
    """A step of the story."""
    print(f"\n==> {text}", flush=True)


def note(text: str) -> None:
    """A detail of a step."""
    print(f"      {text}", flush=True)
