"""Specs: save a revision, read one."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api.bodies import parse_json, read_body
from app.api.callers import Caller
from app.api.once import once
from app.api.services import House
from app.connectors.named import warnings
from app.spec.revisions import read_spec, save_spec

router = APIRouter(tags=["specs"])
MOST_BYTES = 1_000_000


@router.post("/specs", status_code=201, summary="Save a revision of a spec; the same content is the same revision")
async def post_spec(request: Request, actor: Caller, house: House) -> Response:
    """The body is the spec; the answer is `{"name", "revision", "digest", "warnings"}`: named connections that are missing."""
    text = await read_body(request, MOST_BYTES)

    async def work() -> dict[str, Any]:
        body = parse_json(text)
        saved = await save_spec(actor, house.database, body, house.connectors.catalog)
        return {**saved, "warnings": await asyncio.to_thread(warnings, house.database, actor.tenant, body)}

    return await once(request, actor, text, work, 201)


@router.get("/specs/{name}", summary="Read a spec, the latest revision unless one is named")
def get_spec(name: str, actor: Caller, house: House, revision: int | None = None) -> dict[str, Any]:
    """`{"name", "revision", "digest", "spec"}`."""
    return read_spec(actor, house.database, name, revision)
