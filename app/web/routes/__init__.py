"""One module per resource; a verb is a resource of its own (`POST /tools/{name}/rollbacks`). `mount` puts them together.

It refuses to be: the composition root. What pages need comes in as `Services`.
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from app.invocation.parts import Services
from app.web.desk import Hall
from app.web.failures import install
from app.web.pages import STATIC, environment
from app.web.routes import (
    approvals,
    audit,
    candidates,
    connections,
    effects,
    home,
    keys,
    ledgers,
    outbox,
    pauses,
    redrives,
    runs,
    sign_in,
    tools,
    tries,
    versions,
)
from app.web.security import Shield
from app.web.sessions import Sessions, signing_secret

RESOURCES = (
    *(sign_in, home, tools, versions, tries, candidates, runs, approvals, ledgers),
    *(effects, redrives, pauses, outbox, connections, audit, keys),
)


def mount(app: FastAPI, services: Services) -> None:
    """Put the dashboard at `/` of `app`. Call it last: it answers every address that nobody else does."""
    https = services.settings.base_url.startswith("https://")
    # Around the application and not among its middleware: what nobody foresaw is answered outside of that.
    app.mount("/", Shield(application(services), https=https), name="dashboard")


def application(services: Services) -> FastAPI:
    """The dashboard as an application of its own, so that its error pages touch nothing else."""
    settings = services.settings
    https = settings.base_url.startswith("https://")
    web = FastAPI(title="Toolmint dashboard", openapi_url=None, docs_url=None, redoc_url=None)
    web.state.hall = Hall(services, Sessions(signing_secret(settings.home), https, settings.port), environment(services.database.clock))
    for resource in RESOURCES:
        web.include_router(resource.router)
    web.mount("/static", StaticFiles(directory=STATIC), name="static")
    install(web)
    return web
