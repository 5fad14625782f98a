"""An agent: an MCP client over HTTP with a key, by the official SDK."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent

PREFIX = "toolmint/"


class ToolFailed(AssertionError):
    """The call answered with isError; `code` is in the message."""


@dataclass(frozen=True)
class Answer:
    """What a call gave: the structured result, the text that stands for it, and what Toolmint says of the run."""

    result: dict[str, Any]
    text: str
    meta: dict[str, Any]

    @property
    def replayed(self) -> bool:
        return bool(self.meta.get("replayed"))


@dataclass(frozen=True)
class Agent:
    """`call` raises ToolFailed where the answer is an error."""

    client: Client

    async def call(self, tool: str, arguments: dict[str, Any], *, key: str | None = None) -> Answer:
        meta: Any = {f"{PREFIX}idempotencyKey": key} if key else None
        answer = await self.client.call_tool(tool, arguments, meta=meta)
        text = "".join(block.text for block in answer.content if isinstance(block, TextContent))
        if answer.is_error:
            raise ToolFailed(f"{tool}: {text}")
        said = {name.removeprefix(PREFIX): value for name, value in (answer.meta or {}).items() if name.startswith(PREFIX)}
        structured = answer.structured_content
        return Answer(structured if structured is not None else json.loads(text), text, said)

    async def tools(self) -> list[str]:
        """The names of the tools that this key may use."""
        names: list[str] = []
        cursor: str | None = None
        while True:
            page = await self.client.list_tools(cursor=cursor)
            names += [tool.name for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                return names


@asynccontextmanager
async def agent(url: str, key: str) -> AsyncIterator[Agent]:
    """Connect to `url`/mcp with `key`."""
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=180) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
    ):
        yield Agent(client)
