"""One module per resource; a verb is a resource of its own (`POST /tools/{name}/rollbacks`). `mount` puts them together.

It refuses to be: the composition root. What routes need comes in as `Services`.
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from app.api.docs import docs_page
from app.api.problems import install
from app.api.routes import (
    approvals,
    candidates,
    connections,
    effects,
    generations,
    keys,
    ledgers,
    pauses,
    records,
    replays,
    runs,
    specs,
    tools,
)
from app.invocation.parts import Services

PREFIX = "/api/v1"
RESOURCES = (specs, candidates, generations, tools, runs, approvals, replays, ledgers, effects, records, connections, pauses, keys)


def mount(app: FastAPI, services: Services) -> None:
    """Put REST at `/api/v1` of `app`, and its description at `/docs`. May be called while `app` starts."""
    api = application(services)

    async def docs(_request: Request) -> Response:
        return HTMLResponse(docs_page(api.openapi()))

    app.mount(PREFIX, api, name="api")
    app.router.routes.append(Route("/docs", docs))


def application(services: Services) -> FastAPI:
    """REST as an application of its own, so that its errors are problems and nobody else's are."""
    api = FastAPI(title="Toolmint", docs_url=None, redoc_url=None, openapi_url="/openapi.json", redirect_slashes=False)
    api.state.api_services = services
    for resource in RESOURCES:
        api.include_router(resource.router)
    install(api)
    return api
