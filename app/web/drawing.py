"""Geometry of the few drawings: stacked bars and the timeline of a run. Numbers only; templates make SVG of them.

It refuses to be: a chart library, or the only place where a figure stands. Each drawing has its table beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.web.formats import duration, instant

WIDTH = 800.0
LABELS = 165.0
SHARE = 1000.0
ROW = 20.0
LEAST = 2.0
MOST_ROWS = 60
TONES = {"done": "good", "skipped": "calm", "retrying": "warn", "retry_wait": "warn", "failed": "bad", "dead": "bad", "unknown": "warn"}


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a stacked bar, in units of 1000."""

    name: str
    number: int
    x: float
    width: float
    tone: str


def segments(counts: Mapping[str, int], names: Sequence[str]) -> list[Segment]:
    """The parts of a bar over the `names` in `counts`, in that order, without empty ones."""
    total = sum(counts[name] for name in names)
    found: list[Segment] = []
    x = 0.0
    for name in names:
        number = counts[name]
        if number:
            width = SHARE * number / total
            found.append(Segment(name, number, round(x, 2), round(max(width, LEAST), 2), TONES.get(name, "calm")))
            x += width
    return found


@dataclass(frozen=True, slots=True)
class Bar:
    """One step on the timeline."""

    label: str
    title: str
    x: float
    y: float
    width: float
    tone: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Bars with their scale: `marks` are (x, text)."""

    bars: Sequence[Bar]
    marks: Sequence[tuple[float, str]]
    height: float
    left_out: int
    width: float = WIDTH


def timeline(steps: Sequence[Mapping[str, Any]]) -> Timeline | None:
    """Steps (`kind`, `name`, `at`, `duration_ms`, `items`) over time; None without any."""
    if not steps:
        return None
    shown = sorted(steps[:MOST_ROWS], key=lambda step: instant(step["at"]) or 0)
    starts = [instant(step["at"]) or 0 for step in shown]
    first = min(starts)
    span = max(max(start + step["duration_ms"] for start, step in zip(starts, shown, strict=True)) - first, 1)
    room = WIDTH - LABELS - 10
    bars = []
    for row, (start, step) in enumerate(zip(starts, shown, strict=True)):
        label = f"{step['kind']} {step['name']}".strip()
        title = f"{label}, {duration(step['duration_ms'])}" + (f", {step['items']:,} items" if step["items"] else "")
        x = LABELS + room * (start - first) / span
        width = max(room * step["duration_ms"] / span, LEAST)
        tone = "busy" if step["kind"].startswith("perform") else "calm"
        bars.append(Bar(label[:22], title, round(x, 1), 24 + row * ROW, round(width, 1), tone))
    marks = [(round(LABELS + room * quarter / 4, 1), duration(span * quarter / 4)) for quarter in range(4)]
    return Timeline(bars, marks, 24 + len(shown) * ROW + 4, len(steps) - len(shown))
