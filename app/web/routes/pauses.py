"""Pauses: what is paused and why, how connectors are, and the buttons that pause and resume."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from app.core.errors import Forbidden, Invalid, NotFound, ToolmintError
from app.invocation import pausing
from app.web.addresses import segment
from app.web.desk import At, Desk

router = APIRouter()
ALL = 500


@router.get("/pauses")
def index(desk: At) -> Response:
    return _page(desk)


@router.post("/pauses")
def begin(desk: At) -> Response:
    """`what` is `everything`, `tool:NAME` or `connector:NAME`."""
    scope, _, name = desk.form["what"].partition(":")
    try:
        pausing.pause(desk.actor, desk.services.calls, scope, name, desk.form["reason"])
    except (Invalid, NotFound, Forbidden) as error:
        return _page(desk, error)
    return _moved(desk, scope, name, f"Paused: {name or scope}. Every process obeys within a second.")


@router.post("/pauses/ends")
def end(desk: At) -> Response:
    scope, _, name = desk.form["what"].partition(":")
    try:
        pausing.resume(desk.actor, desk.services.calls, scope, name)
    except (Invalid, NotFound, Forbidden) as error:
        return _page(desk, error)
    return _moved(desk, scope, name, f"Resumed: {name or scope}. What waited goes on where it was.")


def _moved(desk: Desk, scope: str, name: str, note: str) -> Response:
    desk.services.feed.nudge()
    return desk.moved(f"/tools/{segment(name)}" if scope == "tool" else "/pauses", note)


def _page(desk: Desk, error: ToolmintError | None = None) -> Response:
    connectors = pausing.list_connectors(desk.actor, desk.services.calls, limit=ALL)["items"]
    status = error.status if error else 200
    return desk.show("pauses/index.html", status=status, connectors=connectors, error=error, sent=desk.form)
