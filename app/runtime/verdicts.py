"""What a decision does to an effect: the moves of a redrive and of each verdict, as a table of values.

It refuses to be: a decision. Who may decide, and about which effects, is for the use cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import sqlalchemy as sa

from app.core.errors import Invalid, Problem
from app.runtime.repository.bulk import Shift
from app.runtime.repository.effects import effects

BY_LOOKUP = "lookup"
"""Who sent an effect round again, where no person did."""

Kind = Literal["redrive", "resolution"]
BEFORE: dict[str, str] = {"redrive": "dead", "resolution": "unknown"}
VERDICTS = {"confirm_done": "done", "retry": "planned", "abandon": "abandoned"}
_NOTHING_WRONG = {"error": None, "error_code": None}


def redriven(actor: str, decision: str, detail: str, at: int, version: int | None, policies: Mapping[str, str] | None) -> Shift:
    """dead → planned and due at once, its attempts counted afresh; with `version`, under that version's rules from now on."""
    values: dict[str, Any] = {"attempts": 0, "next_at": at, "decision": decision, **_NOTHING_WRONG}
    if version is not None:
        values |= {"version": version, "on_unknown": sa.case(dict(policies or {}), value=effects.c.effect, else_=effects.c.on_unknown)}
    return Shift("dead", "planned", actor, detail, values)


def resolved(verdict: str, actor: str, decision: str, detail: str, at: int, receipt: str | None = None) -> Shift:
    """unknown → what the verdict says: done, planned and due at once, or abandoned."""
    values: dict[str, Any] = {"next_at": at if verdict == "retry" else None, "decision": decision}
    if verdict == "confirm_done":
        values |= _NOTHING_WRONG
    if receipt is not None:
        values["receipt"] = receipt
    return Shift("unknown", VERDICTS[verdict], actor, detail, values)


def check_verdict(verdict: str | None, reason: str) -> None:
    """Raise Invalid `verdict_invalid` unless it is a known one (None: there is none) with a reason that a trail can show."""
    problems = []
    if verdict is not None and verdict not in VERDICTS:
        problems.append(Problem("$.verdict", f"is none of {', '.join(VERDICTS)}", "Use one of these."))
    if not 3 <= len(reason.strip()) <= 500:
        problems.append(Problem("$.reason", "must have 3 to 500 characters", "Say how you know; it goes into the audit trail."))
    if problems and verdict is None:
        raise Invalid("reason_invalid", "The reason is not usable.", problems=problems)
    if problems:
        raise Invalid("verdict_invalid", "The verdict is not usable.", problems=problems)
