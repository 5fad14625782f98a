"""The printed table: what was measured, ours, the other's, the ratio, and the aim; and the promises among the aims that were not kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`other` is what ours is held against, None where there is nothing; `aim` says in words what their ratio should be.

    `least` and `most` are the bounds of that ratio that are promised; an aim without them is none of the promises.
    """

    what: str
    ours: float
    other: float | None
    unit: str
    aim: str
    against: str = ""
    least: float | None = None
    most: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours over the other's; None without another."""
        return self.ours / self.other if self.other else None

    @property
    def broken(self) -> str | None:
        """The promise that was not kept, in words; one that nothing was measured for is none that was."""
        if self.least is None and self.most is None:
            return None
        bound = f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"
        if self.ratio is None:
            return f"{self.what.strip()}: held against nothing, where {bound} is promised"
        if (self.least or 0.0) <= self.ratio <= (self.most or math.inf):
            return None
        return f"{self.what.strip()}: {self.ratio:.2f} of {self.against or 'the aim'}, where {bound} is promised"


def broken_promises(rows: Sequence[Row]) -> list[str]:
    """What was promised and was not measured so."""
    return [row.broken for row in rows if row.broken is not None]


def printed(rows: list[Row]) -> str:
    """The rows as text, columns aligned."""
    cells = [("measured", "Toolmint", "other", "ratio", "aim", "against")]
    cells += [
        (row.what, _amount(row.ours, row.unit), _amount(row.other, row.unit), _number(row.ratio), row.aim, row.against) for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)


def _amount(value: float | None, unit: str) -> str:
    return f"{_number(value)} {unit}" if value is not None else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"
