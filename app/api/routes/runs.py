"""Runs: call a tool, look at runs with their steps and logs, cancel one."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from app.api.bodies import Body, checked, parse_json, read_body, takes
from app.api.callers import Caller, check_key
from app.api.events import followed
from app.api.once import HEADER, once
from app.api.services import House
from app.core.pages import Page
from app.invocation.calling import MOST_WAIT_S, WAIT_S, Waiting, call_tool
from app.runtime.decisions import cancel_run
from app.runtime.state import OPEN_RUNS
from app.runtime.views import list_runs, read_arguments, read_logs, read_run, read_steps

router = APIRouter(tags=["runs"])


class Start(Body):
    """A call. `wait_s` is how long to wait for its end; 0 hands it to a worker at once. `approval`: the id of what lets it have effects."""

    args: dict[str, Any]
    version: int | None = None
    dry_run: bool = False
    approval: str | None = None
    wait_s: float = Field(default=WAIT_S, ge=0, le=MOST_WAIT_S)


@router.post("/tools/{name}/runs", summary="Call a tool", openapi_extra=takes(Start))
async def post_run(name: str, request: Request, actor: Caller, house: House) -> Response:
    """200 once the run is over (a failed one too, with `error`), else 202 with its id."""
    body = checked(Start, parse_json(await read_body(request)))
    answer = await call_tool(
        actor,
        house.calls,
        name,
        body.args,
        version=body.version,
        dry_run=body.dry_run,
        key=request.headers.get(HEADER),
        approval=body.approval,
        waiting=Waiting(body.wait_s),
    )
    location = {"location": f"/api/v1/runs/{answer.body['id']}"}
    return JSONResponse({**answer.body, "evidence_digest": answer.evidence.report}, 200 if answer.over else 202, location)


@router.get("/runs", summary="List runs, newest first")
def get_runs(
    actor: Caller, house: House, tool: str | None = None, state: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page:
    """`{"items", "next_cursor"}`."""
    return list_runs(actor, house.database, tool=tool, state=state, cursor=cursor, limit=limit)


@router.get("/runs/{run_id}", summary="Read a run")
def get_run(run_id: str, actor: Caller, house: House) -> dict[str, Any]:
    """With the ledger's present counts in `effects`."""
    return read_run(actor, house.database, run_id)


@router.get("/runs/{run_id}/args", summary="Read what a run was called with")
def get_arguments(run_id: str, actor: Caller, house: House) -> dict[str, Any]:
    """`{"args"}`; null once retention has taken them."""
    return read_arguments(actor, house.database, run_id)


@router.get("/runs/{run_id}/steps", summary="Read the journal of a run")
def get_steps(run_id: str, actor: Caller, house: House, cursor: str | None = None, limit: int = 100) -> Page:
    """What was asked of the host, when, and how long it took."""
    return read_steps(actor, house.database, run_id, cursor=cursor, limit=limit)


@router.get("/runs/{run_id}/logs", summary="Read what the tool logged during a run")
def get_logs(run_id: str, actor: Caller, house: House, cursor: str | None = None, limit: int = 100) -> Page:
    """In order."""
    return read_logs(actor, house.database, run_id, cursor=cursor, limit=limit)


@router.get("/runs/{run_id}/events", summary="Follow a run as server-sent events")
async def get_events(run_id: str, request: Request, actor: Caller, house: House) -> StreamingResponse:
    """`event: run` with the run, its progress and its counts whenever they change; the stream ends with the run, or with the key."""

    def look() -> tuple[dict[str, Any], bool]:
        check_key(request)
        run = read_run(actor, house.database, run_id)
        return run, run["state"] not in OPEN_RUNS

    await asyncio.to_thread(look)  # what is not there is a problem, not a stream
    return StreamingResponse(
        followed(house.feed, "run", lambda signal: signal.subject == run_id, look),
        media_type="text/event-stream",
        headers={"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"},
    )


@router.post("/runs/{run_id}/cancellations", status_code=202, summary="Cancel a run at its next effect boundary")
async def post_cancellation(run_id: str, request: Request, actor: Caller, house: House) -> Response:
    """202 with the run; one that only waited is cancelled already."""

    async def work() -> dict[str, Any]:
        run = await asyncio.to_thread(cancel_run, actor, house.database, run_id)
        house.feed.nudge()
        return run

    return await once(request, actor, b"", work, 202)
