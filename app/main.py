"""The web process: one FastAPI application that serves REST, MCP and the dashboard.

It refuses to be: where anything is decided. It opens the services and mounts the front doors.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from app.composition import Services, running
from app.core.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """The application for these settings; its services open with its lifespan and stand at `app.state.services`."""

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        async with running(settings, "web") as services:
            application.state.services = services
            yield

    application = FastAPI(title="Toolmint", lifespan=lifespan)
    _mount(application)
    application.add_middleware(TrimmedHeaders)
    return application


def _mount(application: FastAPI) -> None:
    """Every front door, in one place."""

    @application.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}


def services_of(application: FastAPI) -> Services:
    """The services of a started application."""
    services: Services = application.state.services
    return services


class TrimmedHeaders:
    """Headers without the space around their values, which the fast HTTP parser leaves in (RFC 9110, 5.5)."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, trimmed where it needs to be."""
        if any(value[-1:] in b" \t" for _name, value in scope.get("headers", ()) if value):
            scope = {**scope, "headers": [(name, value.strip(b" \t")) for name, value in scope["headers"]]}
        await self._application(scope, receive, send)


app = create_app(Settings.from_env())
