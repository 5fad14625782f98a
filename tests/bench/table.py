"""The printed table: what was measured, ours, the other's, the ratio, and the aim."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`ratio` is ours over the other's; `aim` says in words what it should be."""

    what: str
    ours: float
    other: float
    unit: str
    aim: str
    against: str

    @property
    def ratio(self) -> float:
        return self.ours / self.other


def printed(rows: list[Row]) -> str:
    """The rows as text, columns aligned."""
    cells = [("measured", "Toolmint", "other", "ratio", "aim", "against")]
    cells += [
        (row.what, f"{row.ours:.2f} {row.unit}", f"{row.other:.2f} {row.unit}", f"{row.ratio:.2f}", row.aim, row.against) for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)
