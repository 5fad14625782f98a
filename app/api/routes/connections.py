"""Connections: named, changed, tested and forgotten by operators."""

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
from app.connectors.connections import (
    Connections,
    change_connection,
    create_connection,
    delete_connection,
    list_connections,
    read_connection,
)
from app.connectors.production import connections_of
from app.connectors.trying import check_connection

router = APIRouter(tags=["connections"])
MOST_BYTES = 50_000


class ConnectionChange(Body):
    """`secret` is kept sealed and never shown; `secret_ref` names where it is instead (`env:TOOLMINT_SECRET_…`, `file:…`)."""

    config: dict[str, Any]
    secret: str | None = None
    secret_ref: str | None = None


class NewConnection(ConnectionChange):
    """A way to a service outside: `kind` is smtp, http or webhook."""

    name: str
    kind: str


def _connections(house: House) -> Connections:
    return connections_of(house.settings, house.database)


@router.get("/connections", summary="List the connections, without their secrets")
def get_connections(actor: Caller, house: House, cursor: str | None = None, limit: int = 50) -> Any:
    """By name."""
    return list_connections(actor, _connections(house), cursor, limit)


@router.post("/connections", status_code=201, summary="Name a new connection", openapi_extra=takes(NewConnection))
async def post_connection(request: Request, actor: Caller, house: House) -> Response:
    """201 `{"name", "kind", "config", "secret": "none|sealed|env:…|file:…", "version", …, "test": null}`."""
    text = await read_body(request, MOST_BYTES)
    connections = _connections(house)
    mark = await asyncio.to_thread(connections.vault.mark, text)  # a digest of the body itself would let a weak secret be guessed

    async def work() -> dict[str, Any]:
        body = checked(NewConnection, parse_json(text))
        return await asyncio.to_thread(
            create_connection, actor, connections, body.name, body.kind, body.config, body.secret, body.secret_ref
        )

    return await once(request, actor, mark, work, 201)


@router.get("/connections/{name}", summary="Read a connection, without its secret")
def get_connection(name: str, actor: Caller, house: House) -> dict[str, Any]:
    """`test` is how the last test of this version went, or null."""
    return read_connection(actor, _connections(house), name)


@router.put("/connections/{name}", summary="Change a connection", openapi_extra=takes(ConnectionChange))
async def put_connection(name: str, request: Request, actor: Caller, house: House) -> dict[str, Any]:
    """Replaces the settings. The secret stays unless one is given; settings that take it elsewhere must bring it again."""
    body = checked(ConnectionChange, parse_json(await read_body(request, MOST_BYTES)))
    return await asyncio.to_thread(change_connection, actor, _connections(house), name, body.config, body.secret, body.secret_ref)


@router.delete("/connections/{name}", summary="Forget a connection and its secret")
def remove_connection(name: str, actor: Caller, house: House) -> dict[str, Any]:
    """What it was. Effects that name it are refused for now, and tried again while their spec lets them."""
    return delete_connection(actor, _connections(house), name)


@router.post("/connections/{name}/tests", summary="Test a connection: really connect, sign in and ask")
async def post_test(name: str, actor: Caller, house: House) -> dict[str, Any]:
    """`{"ok", "text", "took_ms", "at"}`; 200 also where the service does not answer."""
    return await check_connection(actor, _connections(house), name)
