"""The parts of one process, put together: what front doors and jobs receive as a value.

`running(settings, role)` opens everything in order, yields a frozen `Services`, and closes in reverse order.

It refuses to be: a registry to look things up in by name, or a place for behaviour.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from app.connectors.port import Connectors
from app.connectors.production import production
from app.core import migration
from app.core.db import Database
from app.core.feed import Feed
from app.core.settings import Settings
from app.core.signing import Keyring
from app.invocation.desk import Calls
from app.observability import logs, metrics
from app.observability.sealing import AUDIT_EVENTS
from app.registry.catalog import Catalog, following
from app.registry.sealing import seal_former
from app.runtime.chain import EFFECT_EVENTS
from app.runtime.flow.limits import Limits
from app.runtime.process import Runtime
from app.sandbox.sandbox import Sandbox

Role = Literal["web", "worker"]
CHAIN = (AUDIT_EVENTS, EFFECT_EVENTS)
"""The tables whose rows the audit chain covers, in the order in which it does."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a process holds. Use cases receive the part that they need."""

    settings: Settings
    role: Role
    database: Database
    feed: Feed
    sandbox: Sandbox
    connectors: Connectors
    runtime: Runtime
    catalog: Catalog
    calls: Calls


@asynccontextmanager
async def running(settings: Settings, role: Role) -> AsyncIterator[Services]:
    """The services of a process of `role`. Raises Unavailable `database_not_migrated` rather than work on an old schema.

    A sandbox that cannot be proven does not keep the process from starting: it says so, and refuses what needs it.
    """
    async with AsyncExitStack() as stack:
        metrics.start(settings.home / "metrics")
        stack.callback(metrics.stop)
        limits = Limits.of(settings)
        database = Database(settings.database)
        stack.callback(database.close)
        await asyncio.to_thread(migration.check, database)
        feed = Feed(database)
        await feed.start()
        stack.push_async_callback(feed.stop)
        sandbox = Sandbox(settings.home)
        stack.push_async_callback(sandbox.stop)
        await sandbox.start()
        connectors = production(settings, database)
        await connectors.start()
        stack.push_async_callback(connectors.stop)
        keys = Keyring(settings.home)
        await asyncio.to_thread(seal_former, database, keys)
        catalog = Catalog(database, settings.tools_dir, connectors.catalog, keys)
        await stack.enter_async_context(following(catalog, feed))
        lease = {"lease_s": settings.lease_s, "heartbeat_s": settings.heartbeat_s}
        runtime = Runtime(database, sandbox, connectors, catalog.load, feed, role=role, limits=limits, **lease)
        await runtime.start()
        stack.push_async_callback(runtime.stop)
        calls = Calls(runtime, catalog, settings.web_guests, limits.calls_per_actor, limits.calls_per_tool)
        yield Services(settings, role, database, feed, sandbox, connectors, runtime, catalog, calls)


def keep_loaded() -> None:
    """Tell the garbage collector that what a process has loaded by now stays: to look through all of it, which it does every few hundred
    calls, stops everything else for 0.1 s."""
    gc.collect()
    gc.freeze()


def start_logging(settings: Settings) -> None:
    """JSON lines on standard error, without secrets, and without libraries that say what nobody asked."""
    hidden = [text for text in (settings.admin_key, settings.anthropic_api_key, settings.smtp_url) if text]
    logs.setup(settings.log_level, hidden)
    for name in ("alembic", "arq", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
