"""The door of `/mcp`: the bearer key becomes an actor before the protocol sees the request, and a broken line is noticed.

The actor travels in the request's scope and not in a context variable, since a legacy session answers every request from one task.

It refuses to be: authorisation. What an actor may list and call is asked where it is listed and called.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.authentication import authenticate, recall
from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import Unauthenticated
from app.observability.traces import current_trace, new_trace

_CALLER = "toolmint.caller"


class Caller:
    """Who sent a request, under which trace, and whether the line to it is broken."""

    __slots__ = ("actor", "gone", "trace")

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.trace = current_trace() or new_trace()
        self.gone = False


class Door:
    """Lets requests with a valid key through to the protocol; answers 401 to all others."""

    def __init__(self, app: ASGIApp, database: Database) -> None:
        self._app = app
        self._database = database

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = _bearer(scope)
        try:
            known = recall(self._database, key)
            actor = known if known is not None else await asyncio.to_thread(authenticate, self._database, key)
        except Unauthenticated as error:
            await _refuse(send, error)
            return
        caller = Caller(actor)
        token = AccessToken(token="", client_id=actor.id, scopes=[], subject=actor.id)  # sessions are bound to the subject

        async def watched() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                caller.gone = True
            return message

        await self._app({**scope, _CALLER: caller, "user": AuthenticatedUser(token)}, watched, send)


def caller_of(request: Any) -> Caller:
    """The caller of a request that came through the door."""
    caller = request.scope.get(_CALLER) if request is not None else None
    if not isinstance(caller, Caller):
        raise MCPError(INTERNAL_ERROR, "This request did not come through the door")
    return caller


def _bearer(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, key = value.decode("latin-1").partition(" ")
            return key.strip() if scheme.lower() == "bearer" else ""
    return ""


async def _refuse(send: Send, error: Unauthenticated) -> None:
    body = json.dumps({"error": "invalid_token", "error_description": error.detail, "code": error.code, "fix": error.fix}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"www-authenticate", b'Bearer realm="toolmint", error="invalid_token"'),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
