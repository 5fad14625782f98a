"""Replays: a run played again from its journal, with no effect performed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.bodies import Body, checked, parse_json, read_body, takes
from app.api.callers import Caller
from app.api.services import House
from app.core.pages import Page
from app.runtime.replay import MOST_WAIT_S, WAIT_S, list_replays, read_replay, replay_run

router = APIRouter(tags=["runs"])
_OVER = ("same", "differs", "unusable")


class Again(Body):
    """`wait_s` is how long to wait for the report."""

    wait_s: float = Field(default=WAIT_S, ge=0, le=MOST_WAIT_S)


@router.post("/runs/{run_id}/replays", summary="Replay a run from its journal", openapi_extra=takes(Again))
async def post_replay(run_id: str, request: Request, actor: Caller, house: House) -> Response:
    """200 with the report once there is one, else 202 with its id. Nothing is performed; one replay of a run is under way at a time."""
    body = checked(Again, parse_json(await read_body(request) or b"{}"))
    found = await replay_run(actor, house.database, house.feed, run_id, wait_s=body.wait_s)
    location = {"location": f"/api/v1/runs/{run_id}/replays/{found['id']}"}
    return JSONResponse(found, 200 if found["state"] in _OVER else 202, location)


@router.get("/runs/{run_id}/replays", summary="List the replays of a run, newest first")
def get_replays(run_id: str, actor: Caller, house: House, cursor: str | None = None, limit: int = 50) -> Page:
    """With their reports."""
    return list_replays(actor, house.database, run_id, cursor=cursor, limit=limit)


@router.get("/runs/{run_id}/replays/{replay_id}", summary="Read a replay's report")
def get_replay(run_id: str, replay_id: str, actor: Caller, house: House) -> dict[str, Any]:
    """`waiting`, `replaying`, `same`, `differs` (with the first difference) or `unusable` (with the error)."""
    return read_replay(actor, house.database, run_id, replay_id)
