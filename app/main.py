"""The web process: one FastAPI application that serves REST, MCP and the dashboard.

It refuses to be: where anything is decided. It opens the services, mounts the front doors in order and says how it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from redis.asyncio import Redis
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import routes as rest
from app.api.edge import Edge
from app.composition import Services, keep_loaded, running
from app.core.errors import Unavailable
from app.core.settings import Settings
from app.mcp_server import server as mcp
from app.observability import metrics
from app.observability.health import Probe, Samples, database_probe, readiness, worker_probe
from app.registry import bundled
from app.web import routes as dashboard


def create_app(settings: Settings) -> FastAPI:
    """The application for these settings. Its services open with its lifespan, and the front doors with them."""

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            services = await stack.enter_async_context(running(settings, "web"))
            redis = Redis.from_url(settings.redis, socket_connect_timeout=1, socket_timeout=1)
            stack.push_async_callback(redis.aclose)
            await _open(application, services, redis, stack)
            keep_loaded()
            yield

    application = FastAPI(title="Toolmint", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    application.add_middleware(Edge, hosts=settings.hosts)
    application.add_middleware(TrimmedHeaders)
    return application


async def _open(application: FastAPI, services: Services, redis: Redis, stack: AsyncExitStack) -> None:
    """Every door, in the order in which a request meets them; the dashboard answers what nobody else does."""
    application.state.services = services
    application.router.routes += _signs_of_life(services, redis)
    rest.mount(application, services)
    await stack.enter_async_context(mcp.mount(application, services).running())
    dashboard.mount(application, services)


def _signs_of_life(services: Services, redis: Redis) -> list[Route]:
    probes = _probes(services, redis)

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_request: Request) -> Response:
        found = await readiness(probes, await asyncio.to_thread(_samples, services))
        return JSONResponse(found.body(), status_code=200 if found.ready else 503)

    async def all_metrics(_request: Request) -> Response:
        return Response(metrics.render(), media_type=metrics.CONTENT_TYPE)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", all_metrics)]


def _samples(services: Services) -> Samples:
    if not services.settings.samples:
        return "off"
    return "verifying" if bundled.waiting(services.catalog) else "published"


def _probes(services: Services, redis: Redis) -> Mapping[str, Probe]:
    async def ask_redis() -> None:
        await redis.ping()

    async def look_at_proof() -> None:
        proof = services.sandbox.proof
        if proof is None or not proof.ok:
            raise Unavailable("sandbox_unproven", "isolation could not be proven", fix="Run `toolmint doctor`: it names what is missing.")

    return {
        "database": database_probe(services.database),
        "redis": ask_redis,
        "sandbox": look_at_proof,
        "worker": worker_probe(services.database),
    }


class TrimmedHeaders:
    """Headers without the space after their values, which the fast HTTP parser leaves in (RFC 9110, 5.5)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, trimmed where it needs to be."""
        if any(value and value[-1] in b" \t" for _name, value in scope.get("headers", ())):
            scope = {**scope, "headers": [(name, value.strip(b" \t")) for name, value in scope["headers"]]}
        await self._app(scope, receive, send)


app = create_app(Settings.from_env())
