"""Who calls: the bearer key of the request, as an actor.

It refuses to be: authorisation. Each use case asks for the permission that it needs.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from app.access.authentication import authenticate, recall
from app.api.services import services_of
from app.core.actor import Actor


async def actor_of(request: Request) -> Actor:
    """The actor of `Authorization: Bearer KEY`. Raises Unauthenticated."""
    text = _key_of(request)
    database = services_of(request).database
    known = recall(database, text) if text else None
    return known if known is not None else await asyncio.to_thread(authenticate, database, text)


def check_key(request: Request) -> None:
    """For a stream, from time to time, in a thread. Raises Unauthenticated once the key of its request is no longer valid."""
    authenticate(services_of(request).database, _key_of(request))


def _key_of(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


Caller = Annotated[Actor, Depends(actor_of)]
