"""The printed table: one line per scenario."""

from __future__ import annotations

from collections.abc import Mapping

from tests.chaos.judge import Findings

_HEAD = (
    *("scenario", "kills", "effective", "zombies", "around", "recipients"),
    *("unknown", "duplicates", "lost", "back: p50", "max", "all killed: max"),
)


def printed(results: Mapping[str, Findings]) -> str:
    """The findings as text, columns aligned; pairs are policy hold / policy retry."""
    cells = [_HEAD, *(_line(name, found) for name, found in results.items())]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)


def _line(name: str, found: Findings) -> tuple[str, ...]:
    pairs = [f"{counted['hold']} / {counted['retry']}" for counted in (found.recipients, found.unknown, found.duplicates)]
    alone, all_ = found.took("kill"), found.took("everything")
    return (
        name,
        str(found.kills),
        str(found.effective),
        str(found.zombies),
        ", ".join(f"{number} {kind}" for kind, number in sorted(found.around.items())),
        *pairs,
        str(found.lost),
        f"{found.median:.1f} s",
        f"{max(alone, default=0):.1f} s",
        f"{max(all_, default=0):.1f} s",
    )
