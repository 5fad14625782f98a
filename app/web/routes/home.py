"""The overview: what needs somebody, then what is going on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from app.candidates.reading import list_candidates
from app.core import owners
from app.invocation.approvals import list_approvals
from app.registry.reading import list_tools
from app.runtime.views import QUEUES, count_effects, list_runs, open_runs
from app.web.addresses import address
from app.web.desk import At, Desk
from app.web.formats import plural

router = APIRouter()
SHOWN = 8
MOST = 50
_CAUSES = {"unknown": "unknown", "dead": "dead letter"}


@dataclass(frozen=True, slots=True)
class Matter:
    """One thing that waits for a person: a state for its sign, what it is, where to act on it, and since when if known."""

    state: str
    what: str
    about: str
    href: str
    action: str
    since: str | None = None


@router.get("/")
def show(desk: At) -> Response:
    groups = count_effects(desk.actor, desk.database)
    queues = {queue: sum(row["count"] for row in groups if row["state"] == queue) for queue in QUEUES}
    waiting = list_candidates(desk.actor, desk.database, "passed", None, "waiting", limit=MOST)
    tools = list_tools(desk.actor, desk.services.catalog, None, SHOWN)
    recent = list_runs(desk.actor, desk.database, limit=SHOWN)
    return desk.show(
        "home/page.html",
        queues=queues,
        waiting=waiting,
        open_runs=open_runs(desk.actor, desk.database),
        matters=_matters(desk, groups, waiting["items"], list_approvals(desk.actor, desk.database, state="waiting", limit=MOST)["items"]),
        tools=tools,
        recent=recent,
        worker=owners.alive(desk.database, "worker") > 0,
        base_url=desk.services.settings.base_url,
    )


def _matters(desk: Desk, groups: list[dict[str, Any]], waiting: list[dict[str, Any]], calls: list[dict[str, Any]]) -> list[Matter]:
    """Unknowns first, since nothing else can settle them; then dead letters, decisions, and runs that killed their workers."""
    found = [
        Matter(
            state,
            plural(row["count"], noun),
            f"{row['tool']}, {row['error_code'] or 'no error'}",
            address(f"/queues/{state}", tool=row["tool"], error_code=row["error_code"]),
            "Decide" if state == "unknown" and desk.actor.may("effects:resolve") else "Look",
        )
        for state, noun in _CAUSES.items()
        for row in sorted(groups, key=lambda row: -row["count"])
        if row["state"] == state
    ]
    for one in waiting:
        mine = one["author"] == desk.actor.id
        what = "Candidate waits for another actor" if mine else "Candidate waits for a decision"
        action = "Decide" if desk.actor.may("candidates:approve") and not mine else "Look"
        found.append(Matter("waiting", what, one["tool"], f"/candidates/{one['id']}", action, one["created_at"]))
    for one in calls:
        mine = one["actor"] == desk.actor.id
        what = "Your call waits for another actor" if mine else "Call waits for a decision"
        found.append(Matter("waiting", what, one["tool"], f"/approvals/{one['id']}", "Look" if mine else "Decide", one["created_at"]))
    stuck = list_runs(desk.actor, desk.database, state="quarantined", limit=SHOWN)["items"]
    found += [
        Matter("quarantined", "Run is quarantined", f"{run['tool']} v{run['version']}", f"/runs/{run['id']}", "Look", run["created_at"])
        for run in stuck
    ]
    return found
