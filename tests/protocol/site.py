"""REST and MCP for tests: the real front doors over real parts and scripted connectors, behind a real server on a free port, in a thread.

Published tools and keys are planted through the rooms' own functions, on a connection of the test's own, so that the server hears of
them as it would from another process.

It refuses to be: a stand-in. Only the dashboard, Redis and the worker are left out.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI

from app.access.keys import create_key
from app.api import routes as rest
from app.api.edge import Edge
from app.connectors.scripted import ScriptedConnectors, scripted
from app.core.actor import SYSTEM
from app.core.db import Database
from app.core.feed import Feed
from app.core.settings import Settings
from app.core.signing import Keyring
from app.invocation.desk import Calls
from app.main import TrimmedHeaders
from app.mcp_server import server as mcp
from app.registry.catalog import Catalog, following
from app.runtime.flow.limits import Limits
from app.runtime.process import Runtime
from app.sandbox.sandbox import Sandbox

EVERYTHING = ("*",)


@dataclass
class Parts:
    """What `mount` is given."""

    settings: Settings
    database: Database
    feed: Feed
    connectors: ScriptedConnectors
    catalog: Catalog
    runtime: Runtime
    calls: Calls


@dataclass
class Site:
    """A running server. `catalog` is the test's own, on the same database."""

    url: str
    parts: Parts
    database: Database
    catalog: Catalog
    client: httpx2.Client
    keys: dict[tuple[str, ...], str] = field(default_factory=dict)

    def key(self, *permissions: str) -> str:
        """The text of a key with these permissions; the same again for the same."""
        if permissions not in self.keys:
            self.keys[permissions] = create_key(SYSTEM, self.database, "test " + " ".join(permissions), permissions)["key"]
        return self.keys[permissions]

    def ask(self, method: str, path: str, *permissions: str, headers: dict[str, str] | None = None, **options: Any) -> httpx2.Response:
        """A REST request below /api/v1 with a key of these permissions (all of them unless named)."""
        bearer = {"Authorization": f"Bearer {self.key(*(permissions or EVERYTHING))}"}
        return self.client.request(method, f"/api/v1{path}", headers={**bearer, **(headers or {})}, **options)

    def get(self, path: str, *permissions: str, **params: Any) -> httpx2.Response:
        return self.ask("GET", path, *permissions, params=params)

    def post(self, path: str, body: Any, *permissions: str, **options: Any) -> httpx2.Response:
        return self.ask("POST", path, *permissions, json=body, **options)


def build(home: Path, script: Sequence[dict[str, Any]] = ()) -> tuple[FastAPI, list[Parts]]:
    """The application; its parts are made in its lifespan, on the server's own loop, and put into the list."""
    made: list[Parts] = []
    settings = Settings(home=home, tools_dir=home / "tools", samples=False)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = Database(f"sqlite:///{home / 'test.db'}", durable=False)
        feed = Feed(database, interval_s=0.02)
        await feed.start()
        sandbox = Sandbox(home)
        proof = await sandbox.start()
        assert proof.ok, proof.failures()
        connectors = scripted(script)
        catalog = Catalog(database, settings.tools_dir, connectors.catalog, Keyring(home))
        runtime = Runtime(database, sandbox, connectors, catalog.load, feed, role="web", limits=Limits())
        await runtime.start()
        parts = Parts(settings, database, feed, connectors, catalog, runtime, Calls(runtime, catalog))
        rest.mount(app, parts)
        try:
            async with following(catalog, feed), mcp.mount(app, parts).running():
                made.append(parts)
                yield
        finally:
            await runtime.stop()
            await sandbox.stop()
            await feed.stop()
            await asyncio.to_thread(database.close)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Edge, hosts=settings.hosts)
    app.add_middleware(TrimmedHeaders)
    return app, made


@contextmanager
def serving(home: Path, template: Path, script: Sequence[dict[str, Any]] = ()) -> Iterator[Site]:
    """Serve until the end of the block, on a fresh copy of the database `template`."""
    shutil.copyfile(template, home / "test.db")
    app, made = build(home, script)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, http="httptools", loop="uvloop"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < deadline and thread.is_alive(), "the server did not start"
        thread.join(0.01)
    database = Database(f"sqlite:///{home / 'test.db'}", durable=False)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with httpx2.Client(base_url=url, timeout=60) as client:
            yield Site(url, made[0], database, Catalog(database, home / "tools", scripted().catalog, Keyring(home)), client)
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
        database.close()
