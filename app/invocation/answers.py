"""What a caller is told of a run: the run as REST answers it, from memory or from the run's row.

It refuses to be: a view of everything about a run; that is the runtime's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core.actor import Actor
from app.core.db import Database
from app.registry.proof import Evidence
from app.runtime.ending import Ending
from app.runtime.state import OPEN_RUNS
from app.runtime.values import RunView
from app.runtime.views import read_run

SHOWN = ("id", "tool", "version", "channel", "state", "result", "error", "plan", "plan_summary", "approval", "effects", "trace_id")
NO_EVIDENCE = Evidence()
HIDDEN_IN_ERRORS = ("traceback",)


@dataclass(frozen=True, slots=True)
class RunAnswer:
    """`body` is the run as REST answers it; `over`: it has come to its end; `evidence` is what its version was published on."""

    body: dict[str, Any]
    over: bool
    evidence: Evidence = NO_EVIDENCE


def answer_of_ending(tool: str, channel: str | None, run: RunView, ending: Ending, evidence: Evidence) -> RunAnswer:
    """The first answer of a run that ended here, without asking the database again."""
    body = {
        "id": run.id,
        "tool": tool,
        "version": run.version,
        "channel": channel,
        "state": ending.state,
        "replayed": False,
        "result": ending.result,
        "error": _error(ending.error),
        "plan": ending.plan,
        "plan_summary": ending.plan_summary,
        "approval": run.approval,
        "effects": ending.effects or {},
        "trace_id": run.trace_id,
    }
    return RunAnswer(body, True, evidence)


def answer_of_row(actor: Actor, database: Database, run_id: str, *, replayed: bool) -> RunAnswer:
    """The answer of a run as it stands, with the ledger's present counts."""
    return answer_of(read_run(actor, database, run_id), replayed=replayed)


def answer_of(row: Mapping[str, Any], *, replayed: bool = False, evidence: Evidence = NO_EVIDENCE) -> RunAnswer:
    """The same of a run that was read (`read_run`)."""
    over = row["state"] not in OPEN_RUNS
    body = {name: row[name] for name in SHOWN} | ({} if over else {"progress": row["progress"]})
    return RunAnswer({**body, "error": _error(row["error"]), "replayed": replayed and over}, over, evidence)


def _error(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if error is None else {name: value for name, value in error.items() if name not in HIDDEN_IN_ERRORS}
