"""Approvals of calls: ask for one from a dry run, read the plan, decide as another actor."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api.bodies import Body, checked, one_of, parse_json, read_body, takes
from app.api.callers import Caller
from app.api.once import once
from app.api.services import House
from app.core.pages import Page
from app.invocation.approvals import KEPT_S, ask_approval, decide_approval, list_approvals, read_approval

router = APIRouter(tags=["approvals"])
MOST_BYTES = 100_000


class Question(Body):
    """What is asked for: leave to do what the caller's own dry run planned. `ttl_s`: for how long it is needed."""

    run_id: str
    note: str = ""
    ttl_s: int = KEPT_S


class CallDecision(Body):
    """`approve` or `reject`, with a reason."""

    decision: str = one_of("approve", "reject")
    reason: str


@router.post("/approvals", status_code=201, summary="Ask for the approval of a call, by its dry run", openapi_extra=takes(Question))
async def post_question(request: Request, actor: Caller, house: House) -> Response:
    """201 with the approval, waiting; the same one again while it is open. Call with its id as `approval` once it is approved."""
    text = await read_body(request, MOST_BYTES)

    async def work() -> dict[str, Any]:
        body = checked(Question, parse_json(text))
        return await asyncio.to_thread(ask_approval, actor, house.calls, body.run_id, body.note, body.ttl_s)

    answer = await once(request, actor, text, work, 201)
    house.feed.nudge()
    return answer


@router.get("/approvals", summary="List approvals of calls, newest first: your own, or all for those who decide")
def get_approvals(
    actor: Caller, house: House, state: str | None = None, tool: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page:
    """States: waiting, approved, rejected, used, expired."""
    return list_approvals(actor, house.database, state=state, tool=tool, cursor=cursor, limit=limit)


@router.get("/approvals/{approval_id}", summary="Read an approval with its arguments and plan")
def get_approval(approval_id: str, actor: Caller, house: House) -> dict[str, Any]:
    """`plan` is the list as far as it is kept, `plan_summary` says how many effects there are in all."""
    return read_approval(actor, house.database, approval_id)


@router.post(
    "/approvals/{approval_id}/decisions",
    status_code=201,
    summary="Approve or reject a call, as another actor",
    openapi_extra=takes(CallDecision),
)
async def post_decision(approval_id: str, request: Request, actor: Caller, house: House) -> Response:
    """201 with the approval as it is now. A yes can be taken back (`reject`) until it is used."""
    text = await read_body(request, MOST_BYTES)

    async def work() -> dict[str, Any]:
        body = checked(CallDecision, parse_json(text))
        return await asyncio.to_thread(decide_approval, actor, house.database, approval_id, body.decision, body.reason)

    answer = await once(request, actor, text, work, 201)
    house.feed.nudge()
    return answer
