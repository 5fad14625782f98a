"""A thin HTTP client of one MCP tool: a kept-alive connection, the modern era, no SDK, whose own cost would hide the server's."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

PROTOCOL = "2026-07-28"
_META = {
    "io.modelcontextprotocol/protocolVersion": PROTOCOL,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}


@dataclass(frozen=True)
class Target:
    """A server's tool: where it is, the key for it if it wants one, and the arguments that are sent each time."""

    name: str
    port: int
    tool: str
    arguments: dict[str, Any]
    key: str = ""
    path: str = "/mcp"

    def request(self, number: int) -> bytes:
        params = {"name": self.tool, "arguments": self.arguments, "_meta": _META}
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode()
        head = [
            f"POST {self.path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            "Content-Type: application/json",
            "Accept: application/json, text/event-stream",
            f"MCP-Protocol-Version: {PROTOCOL}",
            "Mcp-Method: tools/call",
            f"Mcp-Name: {self.tool}",
            f"Content-Length: {len(body)}",
        ]
        if self.key:
            head.append(f"Authorization: Bearer {self.key}")
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Connection:
    """One kept-alive connection to a target."""

    def __init__(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._target = target
        self._reader = reader
        self._writer = writer
        self._number = 0

    @classmethod
    async def open(cls, target: Target) -> Connection:
        return cls(target, *await asyncio.open_connection("127.0.0.1", target.port))

    async def call(self) -> float:
        """One call; its time in ms. Raises AssertionError unless the tool answered with a result."""
        self._number += 1
        began = time.perf_counter()
        self._writer.write(self._target.request(self._number))
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        body = await self._body(head)
        took = (time.perf_counter() - began) * 1000
        if b'"structuredContent"' not in body or b'"isError":true' in body:
            raise AssertionError(f"{self._target.name} answered: {head} {body[:500]!r}")
        return took

    async def _body(self, head: str) -> bytes:
        if "content-length:" in head:
            length = int(head.partition("content-length:")[2].split("\r\n", 1)[0])
            return await self._reader.readexactly(length)
        body = b""
        while size := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
        return body

    def close(self) -> None:
        self._writer.close()


async def times(target: Target, calls: int) -> list[float]:
    """The times (ms) of `calls` calls, one after the other on one connection."""
    connection = await Connection.open(target)
    try:
        return [await connection.call() for _ in range(calls)]
    finally:
        connection.close()


async def rate(target: Target, calls: int, connections: int) -> float:
    """Calls a second with `connections` at once."""
    opened = [await Connection.open(target) for _ in range(connections)]

    async def lane(connection: Connection) -> None:
        for _ in range(calls // connections):
            await connection.call()

    began = time.perf_counter()
    try:
        await asyncio.gather(*(lane(connection) for connection in opened))
    finally:
        for connection in opened:
            connection.close()
    return (calls // connections) * connections / (time.perf_counter() - began)
