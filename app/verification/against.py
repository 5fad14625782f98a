"""What changed against the version that a candidate would replace: scores, gates, findings, from the two reports alone.

It refuses to be: a judgement. A lower score that still reaches its threshold is told and blocks nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MOST_FINDINGS = 50
Report = Mapping[str, Any]


def against(version: int, before: Report | None, after: Report) -> dict[str, Any]:
    """`{"version", "known", "scores", "gates", "findings": {"new", "gone"}}`.

    `scores` has each dimension with its score `before`, `after` and the `change`; `gates` those whose status changed; `findings` those that
    only one of the two reports has. `known` is false where the version's report is not there any more, and then the rest is empty.
    """
    if before is None:
        return {"version": version, "known": False, "scores": [], "gates": [], "findings": {"new": [], "gone": []}}
    was, now = _findings(before), _findings(after)
    return {
        "version": version,
        "known": True,
        "scores": list(_scores(before["rubric"], after["rubric"])),
        "gates": list(_gates(before["gates"], after["gates"])),
        "findings": {"new": _only(now, was), "gone": _only(was, now)},
    }


def _scores(before: Sequence[Report], after: Sequence[Report]) -> Iterator[dict[str, Any]]:
    old, new = ({row["dimension"]: row["score"] for row in rows} for rows in (before, after))
    for name in [*new, *(name for name in old if name not in new)]:
        was, now = old.get(name), new.get(name)
        yield {"dimension": name, "before": was, "after": now, "change": None if was is None or now is None else round(now - was, 3)}


def _gates(before: Sequence[Report], after: Sequence[Report]) -> Iterator[dict[str, Any]]:
    old, new = ({gate["gate"]: gate["status"] for gate in gates} for gates in (before, after))
    for name in [*new, *(name for name in old if name not in new)]:
        if old.get(name) != new.get(name):
            yield {"gate": name, "before": old.get(name), "after": new.get(name)}


def _findings(report: Report) -> dict[tuple[Any, ...], dict[str, Any]]:
    """By what they say; the line may move without a new finding."""
    found = {}
    for gate in report["gates"]:
        for finding in gate["findings"]:
            told = {"gate": gate["gate"], **{name: finding.get(name) for name in ("rule", "severity", "file", "line", "message", "fix")}}
            told |= {"held_out": True} if finding.get("held_out") else {}
            found[gate["gate"], finding["rule"], finding.get("file"), finding.get("message")] = told
    return found


def _only(these: Mapping[Any, dict[str, Any]], others: Mapping[Any, Any]) -> list[dict[str, Any]]:
    return [finding for key, finding in these.items() if key not in others][:MOST_FINDINGS]
