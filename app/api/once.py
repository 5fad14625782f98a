"""`Idempotency-Key` for every POST but runs, which have identities of their own: do it once, give the first answer again.

It refuses to be: a lock around a use case. The claim is a row; a crash leaves it to the next request.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.services import services_of
from app.core.actor import Actor
from app.invocation.posts import Given, claim_post, release, settle

HEADER = "idempotency-key"
Work = Callable[[], Awaitable[Any]]


async def once(
    request: Request, actor: Actor, body: bytes, work: Work, status: int = 200, keep: Callable[[Any], Any] = lambda answer: answer
) -> Response:
    """Answer with what `work` returns, as JSON with `status`; with a key, the first answer again.

    `keep` takes out what must not be kept of an answer: secrets.
    """
    key = request.headers.get(HEADER)
    if not key:
        return JSONResponse(await work(), status)
    database = services_of(request).database
    where = f"{request.method} {request.url.path}?{request.url.query}"
    found = await asyncio.to_thread(claim_post, actor, database, where, key, hashlib.sha256(body).hexdigest())
    if isinstance(found, Given):
        return JSONResponse(found.body, found.status, {"idempotency-replayed": "true"})
    try:
        answer = await work()
    except BaseException:
        await asyncio.shield(asyncio.to_thread(release, database, found))
        raise
    await asyncio.to_thread(settle, database, found, status, keep(answer))
    return JSONResponse(answer, status)
