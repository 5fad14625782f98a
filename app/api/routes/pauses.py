"""Pauses of a tool, a connector or everything, and how connectors are."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api.bodies import Body, checked, parse_json, read_body, takes
from app.api.callers import Caller
from app.api.once import once
from app.api.services import House
from app.core.actor import Actor
from app.core.pages import Page
from app.invocation import pausing

router = APIRouter(tags=["pauses"])
MOST_BYTES = 10_000


class Pausing(Body):
    """Why: everybody who is refused reads it."""

    reason: str


@router.get("/pauses", summary="List what is paused")
def get_pauses(actor: Caller, house: House, cursor: str | None = None, limit: int = 50) -> Page:
    """`{"items": [{"scope", "name", "reason", "actor", "since"}], "next_cursor"}`."""
    return pausing.list_pauses(actor, house.calls, cursor, limit)


@router.get("/connectors", summary="List connectors with their pauses and circuits")
def get_connectors(actor: Caller, house: House, cursor: str | None = None, limit: int = 50) -> Page:
    """A circuit is open while what a tool does through the connector is not tried, because it has not answered."""
    return pausing.list_connectors(actor, house.calls, cursor, limit)


@router.post("/tools/{name}/pause", status_code=201, summary="Pause a tool: calls are refused, runs wait", openapi_extra=takes(Pausing))
async def pause_tool(name: str, request: Request, actor: Caller, house: House) -> Response:
    """201 with the pause."""
    return await _pause(request, actor, house, "tool", name)


@router.delete("/tools/{name}/pause", summary="Resume a tool")
async def resume_tool(name: str, actor: Caller, house: House) -> dict[str, Any]:
    """What the pause was."""
    return await _resume(actor, house, "tool", name)


@router.post("/connectors/{name}/pause", status_code=201, summary="Pause the effects of a connector", openapi_extra=takes(Pausing))
async def pause_connector(name: str, request: Request, actor: Caller, house: House) -> Response:
    """201 with the pause."""
    return await _pause(request, actor, house, "connector", name)


@router.delete("/connectors/{name}/pause", summary="Resume a connector")
async def resume_connector(name: str, actor: Caller, house: House) -> dict[str, Any]:
    """What the pause was."""
    return await _resume(actor, house, "connector", name)


@router.post("/pause", status_code=201, summary="Pause everything", openapi_extra=takes(Pausing))
async def pause_everything(request: Request, actor: Caller, house: House) -> Response:
    """201 with the pause."""
    return await _pause(request, actor, house, "everything", "")


@router.delete("/pause", summary="End the pause of everything")
async def resume_everything(actor: Caller, house: House) -> dict[str, Any]:
    """What the pause was; those of single tools and connectors stay."""
    return await _resume(actor, house, "everything", "")


async def _pause(request: Request, actor: Actor, house: House, scope: str, name: str) -> Response:
    text = await read_body(request, MOST_BYTES)

    async def work() -> dict[str, Any]:
        body = checked(Pausing, parse_json(text))
        return await asyncio.to_thread(pausing.pause, actor, house.calls, scope, name, body.reason)

    answer = await once(request, actor, text, work, 201)
    house.feed.nudge()
    return answer


async def _resume(actor: Actor, house: House, scope: str, name: str) -> dict[str, Any]:
    ended = await asyncio.to_thread(pausing.resume, actor, house.calls, scope, name)
    house.feed.nudge()
    return ended
