"""Published tools: the catalog, versions, publishing, rolling back."""

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
from app.registry.channels import roll_back
from app.registry.evidence import MEDIA_TYPE
from app.registry.publishing import publish
from app.registry.reading import list_tools, read_bundle, read_tool, read_version

router = APIRouter(tags=["tools"])
MOST_BYTES = 100_000


class EvidenceResponse(Response):
    """The file of an evidence bundle."""

    media_type = MEDIA_TYPE


class Publication(Body):
    """Which candidate becomes the next version."""

    candidate_id: str
    channel: str = one_of("stable", default="stable")
    reason: str = ""


class RollBack(Body):
    """Why, and to which version (null: the one before)."""

    reason: str
    version: int | None = None


@router.get("/tools", summary="List the tools that you may know of")
def get_tools(actor: Caller, house: House, query: str = "", cursor: str | None = None, limit: int = 50) -> Page:
    """`{"items", "next_cursor"}`; `query` wants every one of its words."""
    return list_tools(actor, house.catalog, cursor, limit, query)


@router.get("/tools/{name}", summary="Read a tool with its versions and the moves of its channels")
def get_tool(name: str, actor: Caller, house: House) -> dict[str, Any]:
    """An unknown tool and a forbidden one look the same."""
    return read_tool(actor, house.catalog, name)


@router.get("/tools/{name}/versions/{version}", summary="Read a version: files, scores, evidence")
def get_version(name: str, version: int, actor: Caller, house: House) -> dict[str, Any]:
    """With the text of every file and the manifest that pins them."""
    return read_version(actor, house.catalog, name, version)


@router.get(
    "/tools/{name}/versions/{version}/bundle", summary="Download a version's signed evidence bundle", response_class=EvidenceResponse
)
def get_bundle(name: str, version: int, actor: Caller, house: House) -> Response:
    """One file for `toolmint verify-bundle`. Without `specs:held_out` it lacks the parts with held-out examples, and still verifies."""
    content = read_bundle(actor, house.catalog, name, version)
    headers = {"content-disposition": f'attachment; filename="{name}-{version}.bundle"', "cache-control": "private, no-cache"}
    return EvidenceResponse(content, headers=headers)


@router.post(
    "/tools/{name}/versions", status_code=201, summary="Publish a candidate and move the channel", openapi_extra=takes(Publication)
)
async def post_version(name: str, request: Request, actor: Caller, house: House) -> Response:
    """201 `{"tool", "version", "digest", "channel"}`."""
    text = await read_body(request, MOST_BYTES)

    async def work() -> dict[str, Any]:
        body = checked(Publication, parse_json(text))
        return await asyncio.to_thread(publish, actor, house.catalog, body.candidate_id, body.channel, tool=name, reason=body.reason)

    answer = await once(request, actor, text, work, 201)
    house.feed.nudge()
    return answer


@router.post("/tools/{name}/rollbacks", status_code=201, summary="Roll back to the version before", openapi_extra=takes(RollBack))
async def post_rollback(name: str, request: Request, actor: Caller, house: House) -> Response:
    """201 `{"tool", "channel", "version", "before", "reason"}`."""
    text = await read_body(request, MOST_BYTES)

    async def work() -> dict[str, Any]:
        body = checked(RollBack, parse_json(text))
        return await asyncio.to_thread(roll_back, actor, house.catalog, name, body.reason, body.version)

    answer = await once(request, actor, text, work, 201)
    house.feed.nudge()
    return answer
