"""The printed table: what was measured, ours, the other's, the ratio, and the aim."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`other` is what ours is held against, None where there is nothing; `aim` says in words what it should be."""

    what: str
    ours: float
    other: float | None
    unit: str
    aim: str
    against: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours over the other's; None without another."""
        return self.ours / self.other if self.other else None


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
