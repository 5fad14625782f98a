"""`tools/list_changed`, in both eras: to listening streams of the modern one, to open connections of the legacy one.

It refuses to be: a list of what changed. A client lists again; what it may see is decided then.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from mcp.server.subscriptions import InMemorySubscriptionBus, ToolsListChanged
from mcp.shared.exceptions import MCPError, NoBackChannelError

from app.core.feed import Feed, Signal

_GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, NoBackChannelError, MCPError)
PATIENCE_S = 2.0


class Changes:
    """One per server. `bus` is what the modern era listens to."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()

    def remember(self, session: Any) -> None:
        """Tell this legacy connection of changes, for as long as it lives."""
        self._connections.add(session._connection)  # the SDK has no public way to reach a connection later

    async def tell(self) -> None:
        """Tell everybody who listens."""
        await self.bus.publish(ToolsListChanged())
        for connection in list(self._connections):
            with suppress(TimeoutError, *_GONE):
                async with asyncio.timeout(PATIENCE_S):
                    await connection.send_tool_list_changed()

    @asynccontextmanager
    async def following(self, feed: Feed) -> AsyncIterator[None]:
        """Tell of every `tools.changed` of the change feed until the end of the block."""

        async def tell(_signal: Signal) -> None:
            await self.tell()

        async with feed.told(lambda signal: signal.topic == "tools.changed", tell):
            yield
