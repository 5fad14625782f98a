"""Generations: have a model write a candidate, and see how that goes."""

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
from app.codegen.generation import read_generation, start_generation

router = APIRouter(tags=["candidates"])
MOST_BYTES = 100_000


class Wish(Body):
    """Which model writes (null: the installation's), and what the spec does not say."""

    model: str | None = None
    brief: str = ""
    repairs: int = 0
    spec_revision: int | None = None


@router.post("/tools/{name}/generations", status_code=202, summary="Have a model write a candidate", openapi_extra=takes(Wish))
async def post_generation(name: str, request: Request, actor: Caller, house: House) -> Response:
    """202 with the generation. Send an Idempotency-Key, so that a doubled request is not paid twice."""
    text = await read_body(request, MOST_BYTES)

    async def work() -> dict[str, Any]:
        body = checked(Wish, parse_json(text or b"{}"))
        return await asyncio.to_thread(
            start_generation, actor, house.database, house.settings, name, body.model, body.brief, body.repairs, body.spec_revision
        )

    return await once(request, actor, text, work, 202)


@router.get("/generations/{generation_id}", summary="Read a generation")
def get_generation(generation_id: str, actor: Caller, house: House) -> dict[str, Any]:
    """`{"id", "state", "candidate_id", "error", "usage"}`."""
    return read_generation(actor, house.database, generation_id)
