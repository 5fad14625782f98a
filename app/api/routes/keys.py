"""API keys, the audit trail, and what things cost: for operators."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.access.keys import create_key, list_keys, revoke_key
from app.access.trail import read_audit
from app.api.bodies import Body, checked, parse_json, read_body, takes
from app.api.callers import Caller
from app.api.once import once
from app.api.services import House
from app.core.actor import Actor
from app.core.pages import Page
from app.economics.costs import read_costs
from app.invocation.parts import Services
from app.spec.revisions import named_permissions

router = APIRouter(tags=["operators"])
MOST_BYTES = 100_000


class NewKey(Body):
    """A key for one agent, person or system; `expires_at` is an RFC 3339 instant."""

    name: str
    permissions: list[str] = Field(max_length=1000)
    expires_at: str | None = None


@router.get("/keys", summary="List keys, without their texts")
def get_keys(actor: Caller, house: House, cursor: str | None = None, limit: int = 50) -> Page:
    """Newest first."""
    return list_keys(actor, house.database, cursor, limit)


@router.post("/keys", status_code=201, summary="Make a key; its text is shown once", openapi_extra=takes(NewKey))
async def post_key(request: Request, actor: Caller, house: House) -> Response:
    """201 `{"id", "name", "key", "permissions", "expires_at", "warnings"}`. Repeated (Idempotency-Key), it shows no text: none is kept."""
    text = await read_body(request, MOST_BYTES)

    async def work() -> dict[str, Any]:
        body = checked(NewKey, parse_json(text))
        return await asyncio.to_thread(_make, actor, house, body)

    return await once(request, actor, text, work, 201, keep=lambda answer: {**answer, "key": None})


def _make(actor: Actor, house: Services, body: NewKey) -> dict[str, Any]:
    named = named_permissions(actor, house.database)
    return create_key(actor, house.database, body.name, body.permissions, body.expires_at, named)


@router.delete("/keys/{key_id}", summary="Revoke a key")
def delete_key(key_id: str, actor: Caller, house: House) -> dict[str, Any]:
    """The key as it is now, with `revoked_at`."""
    return revoke_key(actor, house.database, key_id)


@router.get("/audit", summary="Read the audit trail, newest first")
def get_audit(
    actor: Caller,
    house: House,
    by: str | None = None,
    action: str | None = None,
    target: str | None = None,
    outcome: str | None = None,
    since: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page:
    """`by` is the id of the actor asked about, `since` an RFC 3339 instant."""
    return read_audit(actor, house.database, by=by, action=action, target=target, outcome=outcome, since=since, cursor=cursor, limit=limit)


@router.get("/costs", summary="What generation and runs have cost")
def get_costs(actor: Caller, house: House) -> dict[str, Any]:
    """Raw usage added up; an unknown price is null, never zero."""
    return read_costs(actor, house.database)
