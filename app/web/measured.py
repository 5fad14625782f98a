"""How a measured fact of a gate looks on a page: as truths, as rows of a table, as one value, or as JSON. Pure functions.

It refuses to be: a schema of evidence. Gates note what they measure; what has no better form is shown as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

MOST_COLUMNS = 7
_CALLED = ("case", "name", "effect")
Form = Literal["truths", "rows", "value", "json"]


def form_of(value: Any) -> Form:
    """Which form suits a fact."""
    if isinstance(value, Mapping) and value and all(isinstance(part, bool) for part in value.values()):
        return "truths"
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        return "rows" if len(columns(value)) <= MOST_COLUMNS else "json"
    return "json" if isinstance(value, Mapping | list) and value else "value"


def columns(rows: list[Mapping[str, Any]]) -> list[str]:
    """The names of all fields of the rows in the order in which they first come, what a row is called before all others."""
    return sorted(dict.fromkeys(name for row in rows for name in row), key=lambda name: name not in _CALLED)


def hint_rows(hints: Mapping[str, Any], shown: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`{"hint", "value", "because"}` for each of MCP's hints, from the evidence that callers are given of them."""
    done = {name: times for name, times in shown.get("effects", {}).items() if times}
    undone = [name for name in done if name in shown.get("undone", ())]
    runs = f"{shown.get('runs', 0):,} runs"
    because = {
        "readOnlyHint": f"{runs} did {_counted(done)}" if done else f"{runs} did no effect",
        "destructiveHint": _left(done, undone),
        "idempotentHint": f"{shown.get('repeats', 0):,} calls made again added {_effects(shown.get('added', 0))}",
        "openWorldHint": f"{runs} used connectors {'outside' if hints['openWorldHint'] else 'inside'} this installation",
    }
    if shown.get("from", "runs") == "spec":
        because = dict.fromkeys(because, "as its spec declares; it was published without a proof")
    return [{"hint": name, "value": hints[name], "because": text} for name, text in because.items()]


def _counted(done: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {times:,} times" for name, times in done.items())


def _left(done: Mapping[str, int], undone: list[str]) -> str:
    if not done:
        return "nothing was done that could be undone"
    left = [name for name in done if name not in undone]
    return f"not undone: {', '.join(left)}" if left else f"done and undone on a stage: {', '.join(undone)}"


def _effects(number: int) -> str:
    return "nothing" if not number else f"{number:,} effect{'' if number == 1 else 's'}"


FILTERS = {"form": form_of, "columns": columns}
