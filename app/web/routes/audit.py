"""The audit trail: who did what to which target, and whether the chain over it is sealed so far."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from app.access.trail import read_audit
from app.observability.trail import OUTCOMES
from app.web.addresses import segment
from app.web.desk import At
from app.web.listing import PAGE, listing

router = APIRouter()
PLACES = (
    (re.compile(r"^run_\w+$"), "/runs/{}"),
    (re.compile(r"^leave_\w+$"), "/approvals/{}"),
    (re.compile(r"^cand_\w+$"), "/candidates/{}"),
    (re.compile(r"^(?:redrive|resolution)_\w+$"), "/redrives/{}"),
    (re.compile(r"^(?P<tool>[a-z][a-z0-9_]*)/(?P<version>\d+)$"), "/tools/{tool}/versions/{version}"),
)
_DAY = re.compile(r"^\d{4}-\d\d-\d\d$")
BY_NOUN = {"effect": "/effects/{}", "tool": "/tools/{}"}


@router.get("/audit")
def index(desk: At) -> Response:
    view = listing(desk, "/audit", "by", "action", "target", "outcome", "since")
    found = read_audit(
        desk.actor,
        desk.database,
        by=view.given("by"),
        action=view.given("action"),
        target=view.given("target"),
        outcome=view.given("outcome"),
        since=_instant(view.given("since")),
        cursor=view.cursor or None,
        limit=PAGE,
    )
    return desk.show("audit/index.html", part="audit/_rows.html", view=view, found=found, outcomes=OUTCOMES, place_of=place_of)


def _instant(since: str | None) -> str | None:
    """The beginning of a day, as pages count days, for what a form gives; an instant as it is."""
    return f"{since}T00:00:00Z" if since and _DAY.match(since) else since


def place_of(event: Mapping[str, Any]) -> str | None:
    """The page of an event's target, where it has one: by the form of its id, which a tool's name may have too, or the action's noun."""
    target, noun = str(event["target"]), str(event["action"]).partition(".")[0]
    for form, place in PLACES:
        match = form.match(target) if noun != "tool" else None
        if match:
            return place.format(target, **match.groupdict())
    address = BY_NOUN.get(noun)
    return address.format(segment(target)) if address and event["outcome"] == "done" else None
