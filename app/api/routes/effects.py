"""Effects that wait for somebody: queues and their causes, redrives of dead letters, verdicts on unknowns, one by one or in bulk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.api.bodies import Body, checked, one_of, parse_json, read_body, takes
from app.api.callers import Caller
from app.api.once import once
from app.api.services import House
from app.core.errors import Invalid, Problem
from app.core.pages import Page
from app.runtime.causes import Causes, list_causes
from app.runtime.decisions import resolve_effect
from app.runtime.redrives import Selection, cancel_decision, list_decisions, read_decision, redrive_effects, resolve_effects
from app.runtime.verdicts import VERDICTS, Kind
from app.runtime.views import list_effects, read_effect

router = APIRouter(tags=["effects"])
MOST_BYTES = 200_000
State = Literal["running", "completed", "cancelled"]


class Verdict(Body):
    """What is taken as true of an unknown effect from now on: `confirm_done`, `retry` or `abandon`."""

    verdict: str = one_of(*VERDICTS)
    reason: str


class Filter(Body):
    """Which effects of the queue: all of them where nothing is named. `error_code` `none` stands for those without one."""

    tool: str | None = Field(default=None, max_length=64)
    effect: str | None = Field(default=None, max_length=64)
    error_code: str | None = Field(default=None, max_length=200)


class Several(Body):
    """Either `ids` (1 to 1,000) or a `filter`. `mark`, from the causes that were looked at, leaves out what has moved since."""

    ids: list[str] | None = None
    filter: Filter | None = None
    mark: int | None = Field(default=None, ge=0, le=(1 << 63) - 1)
    reason: str

    def selection(self) -> Selection:
        """Raises Invalid `selection_invalid` unless it is one of the two."""
        if (self.ids is None) == (self.filter is None):
            problem = Problem("$", "needs either ids or a filter", 'A filter of {} stands for all of them: {"filter": {}}.')
            raise Invalid("selection_invalid", "It is not said which effects are meant.", problems=[problem])
        narrowed = self.filter or Filter()
        named = None if self.ids is None else tuple(self.ids)
        return Selection(named, narrowed.tool, narrowed.effect, narrowed.error_code, self.mark)


class Redrive(Several):
    """With `version`, dead letters of one tool go on under that published version: its config and retry policy, the same keys."""

    version: int | None = Field(default=None, ge=1, le=1_000_000)


class Resolution(Several):
    """One verdict on many unknowns."""

    verdict: str = one_of(*VERDICTS)


@router.get("/effects", summary="The retry queue, the dead letters or the unknowns")
def get_effects(
    actor: Caller,
    house: House,
    state: str,
    tool: str | None = None,
    effect: str | None = None,
    error_code: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page:
    """`state` is `retry_wait`, `dead` or `unknown`; `next_at` says when an effect is tried, or its provider asked, next."""
    given = {"tool": tool, "effect": effect, "error_code": error_code}
    return list_effects(actor, house.database, state=state, **given, cursor=cursor, limit=limit)


@router.get("/effects/causes", summary="The effects of a queue by tool, effect and error code")
def get_causes(
    actor: Caller, house: House, state: str = "dead", tool: str | None = None, cursor: str | None = None, limit: int = 50
) -> Causes:
    """`{"items": [{"tool", "effect", "error_code", "count", "oldest", "newest", "example"}], "next_cursor", "mark"}`."""
    return list_causes(actor, house.database, state=state, tool=tool, cursor=cursor, limit=limit)


@router.post("/effects/redrives", status_code=201, summary="Send dead letters round again", openapi_extra=takes(Redrive))
async def post_redrive(request: Request, actor: Caller, house: House) -> Response:
    """201 with the redrive: `count` dead letters match, `moved` of them wait for the queue already; `state` says when all do."""

    def work(body: Redrive) -> dict[str, Any]:
        return redrive_effects(actor, house.catalog, body.selection(), body.reason, body.version)

    return await _decided(request, actor, house, Redrive, work)


@router.get("/effects/redrives", summary="List redrives, newest first")
def get_redrives(actor: Caller, house: House, state: State | None = None, cursor: str | None = None, limit: int = 50) -> Page:
    """`{"items", "next_cursor"}`."""
    return list_decisions(actor, house.database, "redrive", state=state, cursor=cursor, limit=limit)


@router.get("/effects/redrives/{redrive_id}", summary="Read a redrive with its progress")
def get_redrive(redrive_id: str, actor: Caller, house: House) -> dict[str, Any]:
    """With `effects`: what became of what it moved, by state."""
    return read_decision(actor, house.database, redrive_id, "redrive")


@router.post("/effects/redrives/{redrive_id}/cancellations", status_code=202, summary="Cancel a redrive that is under way")
async def post_redrive_cancellation(redrive_id: str, request: Request, actor: Caller, house: House) -> Response:
    """202 with the redrive: the `moved` stay with the retry queue, the rest stays dead."""
    return await _cancelled(request, actor, house, redrive_id, "redrive")


@router.post("/effects/resolutions", status_code=201, summary="Give one verdict on many unknowns", openapi_extra=takes(Resolution))
async def post_resolutions(request: Request, actor: Caller, house: House) -> Response:
    """201 with the resolution: `count` unknowns match, `moved` of them are settled already; `state` says when all are."""

    def work(body: Resolution) -> dict[str, Any]:
        return resolve_effects(actor, house.database, body.selection(), body.verdict, body.reason)

    return await _decided(request, actor, house, Resolution, work)


B = TypeVar("B", bound=Body)


async def _decided(request: Request, actor: Caller, house: House, kind: type[B], decide: Callable[[B], dict[str, Any]]) -> Response:
    """Carry out a decision about many effects once, whatever its idempotency key sees again, and have its progress shown at once."""
    text = await read_body(request, MOST_BYTES)

    async def work() -> dict[str, Any]:
        made = await asyncio.to_thread(decide, checked(kind, parse_json(text)))
        house.feed.nudge()
        return made

    return await once(request, actor, text, work, 201)


@router.get("/effects/resolutions", summary="List verdicts on many unknowns, newest first")
def get_resolutions(actor: Caller, house: House, state: State | None = None, cursor: str | None = None, limit: int = 50) -> Page:
    """`{"items", "next_cursor"}`."""
    return list_decisions(actor, house.database, "resolution", state=state, cursor=cursor, limit=limit)


@router.get("/effects/resolutions/{resolution_id}", summary="Read a verdict on many unknowns with its progress")
def get_resolution(resolution_id: str, actor: Caller, house: House) -> dict[str, Any]:
    """With `effects`: what became of what it moved, by state."""
    return read_decision(actor, house.database, resolution_id, "resolution")


@router.post("/effects/resolutions/{resolution_id}/cancellations", status_code=202, summary="Cancel a verdict that is being carried out")
async def post_resolution_cancellation(resolution_id: str, request: Request, actor: Caller, house: House) -> Response:
    """202 with the resolution: the `moved` are settled, the rest stays unknown."""
    return await _cancelled(request, actor, house, resolution_id, "resolution")


async def _cancelled(request: Request, actor: Caller, house: House, decision_id: str, kind: Kind) -> Response:
    async def work() -> dict[str, Any]:
        made = await asyncio.to_thread(cancel_decision, actor, house.database, decision_id, kind)
        house.feed.nudge()
        return made

    return await once(request, actor, b"", work, 202)


@router.get("/effects/{effect_id}", summary="Read an effect with its item and history")
def get_effect(effect_id: str, actor: Caller, house: House) -> dict[str, Any]:
    """With every transition that it made."""
    return read_effect(actor, house.database, effect_id)


@router.post("/effects/{effect_id}/resolutions", status_code=201, summary="Decide on an unknown effect", openapi_extra=takes(Verdict))
async def post_resolution(effect_id: str, request: Request, actor: Caller, house: House) -> Response:
    """201 with the effect's row."""
    text = await read_body(request, MOST_BYTES)

    async def work() -> dict[str, Any]:
        body = checked(Verdict, parse_json(text))
        return await asyncio.to_thread(resolve_effect, actor, house.database, effect_id, body.verdict, body.reason)

    return await once(request, actor, text, work, 201)
