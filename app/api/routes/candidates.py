"""Candidates: submit code, follow its verification, read files and report, approve or reject."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.api.bodies import Body, checked, one_of, parse_json, read_body, takes
from app.api.callers import Caller, check_key
from app.api.events import followed
from app.api.once import once
from app.api.services import House
from app.candidates.approval import approve_candidate
from app.candidates.cancelling import cancel_candidate, verify_again
from app.candidates.reading import candidate_files, list_candidates, read_candidate, read_report
from app.candidates.submission import submit_candidate
from app.core.pages import Page

router = APIRouter(tags=["candidates"])
MOST_BYTES = 1_500_000


class File(Body):
    """`tool.py` or `test_tool.py`."""

    path: str
    content: str


class Submission(Body):
    """Exactly two files, for a revision of the tool's spec (null: the latest)."""

    files: list[File] = Field(max_length=16)
    spec_revision: int | None = None
    full_report: bool = False
    notes: str = ""


class Decision(Body):
    """`approve` or `reject`, with a reason."""

    decision: str = one_of("approve", "reject")
    reason: str


@router.post("/tools/{name}/candidates", status_code=202, summary="Submit code; verification starts", openapi_extra=takes(Submission))
async def post_candidate(name: str, request: Request, actor: Caller, house: House) -> Response:
    """202 with the candidate; follow it at `/candidates/{id}/events`."""
    text = await read_body(request, MOST_BYTES)

    async def work() -> dict[str, Any]:
        body = checked(Submission, parse_json(text))
        files = [file.model_dump() for file in body.files]
        return await asyncio.to_thread(
            submit_candidate, actor, house.database, name, body.spec_revision, files, body.full_report, body.notes
        )

    return await once(request, actor, text, work, 202)


@router.get("/candidates", summary="List candidates, newest first")
def get_candidates(
    actor: Caller,
    house: House,
    state: str | None = None,
    tool: str | None = None,
    approval: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page:
    """`{"items", "next_cursor"}`."""
    return list_candidates(actor, house.database, state, tool, approval, cursor, limit)


@router.get("/candidates/{candidate_id}", summary="Read a candidate with its gates so far and its approvals")
def get_candidate(candidate_id: str, actor: Caller, house: House) -> dict[str, Any]:
    """States: queued, verifying, passed, refused, published, cancelled, error."""
    return read_candidate(actor, house.database, candidate_id)


@router.get("/candidates/{candidate_id}/files", summary="Read the files of a candidate")
def get_files(candidate_id: str, actor: Caller, house: House) -> dict[str, Any]:
    """`{"items": [{"path", "content"}], "next_cursor": null}`."""
    files = candidate_files(actor, house.database, candidate_id)
    return {"items": [{"path": path, "content": content} for path, content in files.items()], "next_cursor": None}


@router.get("/candidates/{candidate_id}/report", summary="Read the report; while verification is under way, the gates so far")
def get_report(candidate_id: str, actor: Caller, house: House) -> dict[str, Any]:
    """Gates with findings, and the rubric."""
    return read_report(actor, house.database, candidate_id)


@router.get("/candidates/{candidate_id}/events", summary="Follow a candidate as server-sent events")
async def get_events(candidate_id: str, request: Request, actor: Caller, house: House) -> StreamingResponse:
    """`event: candidate` with the candidate whenever it changes; the stream ends with its verification, or with the validity of the key."""

    def look() -> tuple[dict[str, Any], bool]:
        check_key(request)
        candidate = read_candidate(actor, house.database, candidate_id)
        return candidate, candidate["state"] not in ("queued", "verifying")

    await asyncio.to_thread(look)  # what is not there is a problem, not a stream
    return StreamingResponse(
        followed(house.feed, "candidate", lambda signal: signal.subject == candidate_id, look),
        media_type="text/event-stream",
        headers={"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"},
    )


@router.post(
    "/candidates/{candidate_id}/approvals", status_code=201, summary="Approve or reject, as another actor", openapi_extra=takes(Decision)
)
async def post_approval(candidate_id: str, request: Request, actor: Caller, house: House) -> Response:
    """201 with the decision."""
    text = await read_body(request, MOST_BYTES)

    async def work() -> dict[str, Any]:
        body = checked(Decision, parse_json(text))
        return await asyncio.to_thread(approve_candidate, actor, house.database, candidate_id, body.decision, body.reason)

    return await once(request, actor, text, work, 201)


@router.post("/candidates/{candidate_id}/cancellations", status_code=202, summary="Cancel a verification that waits or is under way")
async def post_cancellation(candidate_id: str, request: Request, actor: Caller, house: House) -> Response:
    """202 with the candidate; its `error` says who cancelled it and when."""

    async def work() -> dict[str, Any]:
        return await asyncio.to_thread(cancel_candidate, actor, house.database, candidate_id)

    return await once(request, actor, b"", work, 202)


@router.post("/candidates/{candidate_id}/verifications", status_code=202, summary="Verify again what was cancelled or broke")
async def post_verification(candidate_id: str, request: Request, actor: Caller, house: House) -> Response:
    """202 with the candidate, queued."""

    async def work() -> dict[str, Any]:
        return await asyncio.to_thread(verify_again, actor, house.database, candidate_id)

    return await once(request, actor, b"", work, 202)
