"""The audit trail: who did what to which target, and whether the chain over it is sealed so far."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from app.access.trail import read_audit
from app.web.desk import At
from app.web.listing import PAGE, listing

router = APIRouter()
OUTCOMES = ("done", "refused", "failed")


@router.get("/audit")
def index(desk: At) -> Response:
    view = listing(desk, "/audit", "by", "action", "target", "outcome")
    found = read_audit(
        desk.actor,
        desk.database,
        by=view.given("by"),
        action=view.given("action"),
        target=view.given("target"),
        outcome=view.given("outcome"),
        cursor=view.cursor or None,
        limit=PAGE,
    )
    return desk.show("audit/index.html", part="audit/_rows.html", view=view, found=found, outcomes=OUTCOMES)
