"""Effects that need somebody: retry queue, dead letters, unknowns; one effect with its history; the verdict on an unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from app.core.errors import Conflict, Forbidden, Invalid, NotFound, ToolmintError
from app.runtime.causes import list_causes
from app.runtime.decisions import resolve_effect
from app.runtime.views import QUEUES, count_effects, list_effects, read_effect
from app.web.desk import At, Desk, go_to
from app.web.listing import PAGE, listing
from app.web.routes.redrives import FILTERS, KINDS, VERDICTS

router = APIRouter()
MOST_CAUSES = 200


@router.get("/queues")
def queues(desk: At) -> Response:
    """The queue that needs a person most."""
    waiting = {row["state"] for row in count_effects(desk.actor, desk.database)}
    first = next((state for state in ("unknown", "dead", "retry_wait") if state in waiting), "retry_wait")
    return go_to(desk.request, f"/queues/{first}")


@router.get("/queues/{state}")
def index(desk: At, state: str) -> Response:
    if state not in QUEUES:
        raise NotFound("queue_not_found", "There is no such queue.", fix="Open the queues from the sidebar.")
    view = listing(desk, f"/queues/{state}", *FILTERS)
    given = {name: view.given(name) for name in FILTERS}
    found = list_effects(desk.actor, desk.database, state=state, **given, cursor=view.cursor or None, limit=PAGE)
    decides = state in KINDS and desk.actor.may("effects:resolve")
    more = {} if desk.partial else _around(desk, state, view.filters)
    return desk.show("effects/index.html", part="effects/_rows.html", view=view, found=found, state=state, decides=decides, **more)


def _around(desk: Desk, state: str, filters: Mapping[str, str]) -> dict[str, Any]:
    """What stands around the rows: the queues with their totals, the causes, how many match the filters (None: too many causes to say)."""
    groups = count_effects(desk.actor, desk.database)
    totals = {queue: sum(row["count"] for row in groups if row["state"] == queue) for queue in QUEUES}
    causes = list_causes(desk.actor, desk.database, state=state, limit=MOST_CAUSES)
    fitting = [row for row in causes["items"] if all(value in ("", row[name]) for name, value in filters.items())]
    matching = None if causes["next_cursor"] else sum(row["count"] for row in fitting)
    return {"totals": totals, "causes": causes, "matching": matching}


@router.get("/effects/{effect_id}")
def show(desk: At, effect_id: str) -> Response:
    return _page(desk, effect_id)


@router.post("/effects/{effect_id}/resolutions")
def resolve(desk: At, effect_id: str) -> Response:
    verdict, reason = desk.form["verdict"], desk.form["reason"]
    try:
        resolve_effect(desk.actor, desk.database, effect_id, verdict, reason)
    except (Invalid, Conflict, Forbidden) as error:
        return _page(desk, effect_id, error)
    desk.services.feed.nudge()
    return desk.moved(f"/effects/{effect_id}", "The verdict is recorded.")


def _page(desk: Desk, effect_id: str, error: ToolmintError | None = None) -> Response:
    effect: dict[str, Any] = read_effect(desk.actor, desk.database, effect_id)
    status = error.status if error else 200
    return desk.show("effects/page.html", status=status, effect=effect, verdicts=VERDICTS, error=error, sent=desk.form)
