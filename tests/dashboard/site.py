"""A dashboard for tests: a seeded database, the real application, a real server on a free port, in a thread.

It refuses to be: a stand-in. Only the front doors that are not the dashboard's are left out.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from app.connectors.port import Connectors
from app.connectors.production import production
from app.core.db import Database
from app.core.feed import Feed
from app.core.settings import Settings
from app.core.signing import Keyring
from app.invocation.desk import Calls
from app.registry.catalog import Catalog, following
from app.registry.sealing import seal_former
from app.runtime.process import Runtime
from app.sandbox.sandbox import Sandbox
from app.tables import metadata
from app.web.routes import mount
from tests.dashboard.seed import ADMIN_KEY, plant

_DATABASE = "dashboard.db"


@dataclass(frozen=True)
class Parts:
    """The services that pages use."""

    settings: Settings
    database: Database
    feed: Feed
    connectors: Connectors
    catalog: Catalog
    calls: Calls
    sandbox: Sandbox


@dataclass(frozen=True)
class Site:
    """A running dashboard."""

    url: str
    parts: Parts
    key: str = ADMIN_KEY

    @property
    def database(self) -> Database:
        return self.parts.database


def planted(home: Path) -> Path:
    """A home with a seeded database, to be copied for each dashboard: planting it takes a second."""
    database = Database(f"sqlite:///{home / _DATABASE}", durable=False)
    metadata.create_all(database.engine)
    plant(database, production(Settings(home=home, tools_dir=home / "tools", samples=False), database).catalog)
    seal_former(database, Keyring(home))
    database.close()
    return home


def build(home: Path, live: bool) -> tuple[FastAPI, Parts]:
    """The application over the seeded database under `home`; `live`: with the runtime started, so that tools run."""
    settings = Settings(home=home, tools_dir=home / "tools", samples=False)
    database = Database(f"sqlite:///{home / _DATABASE}", durable=False)
    connectors = production(settings, database)
    keys = Keyring(home)
    feed, sandbox = Feed(database, interval_s=0.05), Sandbox(home)
    catalog = Catalog(database, settings.tools_dir, connectors.catalog, keys)
    runtime = Runtime(database, sandbox, connectors, catalog.load, feed, role="web")
    parts = Parts(settings, database, feed, connectors, catalog, Calls(runtime, catalog), sandbox)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await feed.start()
        async with following(catalog, feed):
            if live:
                await sandbox.start()
                await runtime.start()
            yield
            if live:
                await runtime.stop()
                await sandbox.stop()
        await feed.stop()

    app = FastAPI(lifespan=lifespan)
    mount(app, parts)
    return app, parts


@contextmanager
def serving(home: Path, template: Path, live: bool = False) -> Iterator[Site]:
    """Serve a copy of the home `template`, as `planted` makes it, until the end of the block."""
    shutil.copytree(template, home, dirs_exist_ok=True)
    app, parts = build(home, live)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        if time.monotonic() > deadline:
            raise TimeoutError("the dashboard did not start")
        thread.join(0.01)
    try:
        yield Site(f"http://127.0.0.1:{listener.getsockname()[1]}", parts)
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
        parts.database.close()
