"""`http.request` as a remote effect: requests to hosts that the spec declares, or below the address of a named connection.

| heard | verdict |
|---|---|
| 2xx | done, with the status and the headers and fields that the spec keeps |
| no connection, no address, a failed handshake, the deadline: before the first byte of the request | refused_now |
| an address that may not be connected to; a redirect out of what is declared | refused |
| 408, 425, 429; 503 with Retry-After; 401 to a connection's credential, which an operator mends | refused_now, not before Retry-After |
| any other 4xx | refused |
| any other 5xx | unknown, since a server may fail after it has acted; refused_now where the spec's `on_5xx` says so |
| 301, 302, 303 and whatever else is no answer to a request that changes something | unknown |
| a break, the deadline or nonsense after the first byte of the request | unknown |

307 and 308 are followed, three at most, to a declared host; with a connection only below its base_url. Each attempt carries the same
`Idempotency-Key`, the effect's id. A credential goes to its connection's own origin and nowhere else.

It refuses to be: exactly-once on its own. Whether a repeat is harmless is the server's promise; the ledger sends none by itself.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from app.connectors.connections import Opened
from app.connectors.deadlines import until
from app.connectors.http_exchange import Answered, Asked, Exchanges, Unanswered
from app.connectors.http_kind import (
    DEFAULT_TIMEOUT_S,
    body_of,
    canonical_request,
    http_kind,
    is_declared,
    is_plain,
    judge,
    judge_lookup,
    url_problem,
)
from app.connectors.opening import Directory, Pools
from app.connectors.port import Lookup, Reply, Request
from app.core.clock import Clock
from app.core.errors import ToolmintError
from app.spec.catalog import ConnectorKind

AT_ONCE = 10
MOST_REDIRECTS = 3
AGENT = "Toolmint/1"
_URL = re.compile(r"https?://[!-~]{1,2000}")


@dataclass(frozen=True, slots=True)
class Target:
    """Where one effect's requests go: an absolute URL, the connection behind it if any, and what they may be redirected to."""

    url: str
    config: dict[str, Any]
    connection: Opened | None

    def admits(self, url: str) -> bool:
        """Whether a redirect to this URL stays within what is declared."""
        if not _URL.fullmatch(url):
            return False
        if self.connection is None:
            return is_declared(self.config, url)
        return url.startswith(f"{base_of(self.connection)}/") and is_plain(urlsplit(url).path)


@dataclass
class HttpRequest:
    """`http.request` through one pool for declared hosts and one for each connection. `start` and `stop` bracket its use."""

    directory: Directory
    clock: Clock
    context: ssl.SSLContext | None = None
    kind: ConnectorKind = field(default_factory=http_kind)
    concurrency: int = AT_ONCE
    _pools: Pools[Exchanges] | None = field(default=None, init=False, repr=False)

    def canonical(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        """The item itself, once it is known to stay within the config. Raises Invalid `item_invalid`."""
        return canonical_request(self.kind, config, item)

    def message_id(self, effect_id: str, config: dict[str, Any]) -> str | None:
        """The Idempotency-Key, the same for each attempt: the effect's id."""
        return effect_id

    async def start(self) -> None:
        """Make ready; nothing is connected yet."""
        self._pools = Pools(Exchanges.close)

    async def stop(self) -> None:
        """Close the connections."""
        if self._pools is not None:
            await self._pools.close()
            self._pools = None

    async def perform(self, request: Request) -> Reply:
        """Send it once, unless its deadline has passed."""
        try:
            target = await self._target(request, request.item["url"])
        except ToolmintError as error:
            return Reply("refused_now", code=error.code, message=error.detail)
        headers = _headers(request, target)
        heard = await self._send(target, Asked(request.item["method"], target.url, headers, body_of(request.item)), request)
        return judge(request.config, heard, target.connection.secret if target.connection else "")

    def looks_up(self, config: dict[str, Any]) -> bool:
        """Whether the spec says how to ask the provider."""
        return "lookup" in config

    async def look_up(self, request: Request) -> Lookup:
        """GET the lookup's URL: 2xx it happened, 404 or 410 it did not, anything else says nothing."""
        url = request.config["lookup"]["url"].replace("{effect_id}", request.effect_id)
        problem = url_problem(request.config, url)
        if problem is not None:
            return Lookup("unknown", code="lookup_undeclared", message=f"config.lookup.url {problem[0]}")
        try:
            target = await self._target(request, url)
        except ToolmintError as error:
            return Lookup("unknown", code=error.code, message=error.detail)
        headers = {name: value for name, value in _headers(request, target).items() if name not in ("Content-Type", "Idempotency-Key")}
        heard = await self._send(target, Asked("GET", target.url, headers), request)
        return judge_lookup(request.config, heard, target.connection.secret if target.connection else "")

    async def _target(self, request: Request, url: str) -> Target:
        name = request.config.get("connection")
        if name is None:
            return Target(url, request.config, None)
        connection = await self.directory.get(request.tenant, name, "http")
        return Target(base_of(connection) + url, request.config, connection)

    async def _send(self, target: Target, asked: Asked, request: Request) -> Answered | Unanswered:
        by = until(request, self.clock)
        if self._pools is None or by is None:
            return Unanswered(True, "deadline_passed", "its time was over before anything was sent")
        deadline = min(by.answer, asyncio.get_running_loop().time() + target.config.get("timeout_s", DEFAULT_TIMEOUT_S))
        connection = target.connection
        settings = connection.config if connection else {}
        name = (connection.tenant, connection.name) if connection else ("", "")

        def make() -> Exchanges:
            return Exchanges(settings.get("connections", AT_ONCE), private=settings.get("private_addresses", False), context=self.context)

        async with self._pools.lend(name, connection.version if connection else 0, make) as exchanges:
            heard = await exchanges.ask(asked, deadline, by.leave)
            for _ in range(MOST_REDIRECTS):
                following = _redirected(target, asked, heard)
                if following is None:
                    break
                heard = await exchanges.ask(following, deadline, by.leave)
                asked = following
        return heard


def base_of(connection: Opened) -> str:
    """The base_url without a slash at its end."""
    base: str = connection.config["base_url"]
    return base.rstrip("/")


def credential(connection: Opened | None) -> dict[str, str]:
    """The header that signs a request in."""
    return {connection.config.get("header", "Authorization"): connection.secret} if connection and connection.secret else {}


def _headers(request: Request, target: Target) -> dict[str, str]:
    kind = {"Content-Type": "application/json"} if "json" in request.item else {}
    kind |= {"Content-Type": "text/plain; charset=utf-8"} if "text" in request.item else {}
    given = {name.title(): value for name, value in request.config.get("headers", {}).items()}
    own = {"User-Agent": AGENT, "Accept": "application/json, */*;q=0.5", "Accept-Encoding": "identity"}
    signed = credential(target.connection)
    taken = {name.lower() for name in signed}
    merged = {name: value for name, value in {**own, **given, **kind}.items() if name.lower() not in taken}
    return {**merged, "Idempotency-Key": request.effect_id, **signed}


def _redirected(target: Target, asked: Asked, heard: Answered | Unanswered) -> Asked | None:
    if isinstance(heard, Unanswered) or heard.status not in (307, 308):
        return None
    url = urljoin(asked.url, heard.headers.get("location", "")).partition("#")[0]
    return Asked(asked.method, url, asked.headers, asked.body) if url != asked.url and target.admits(url) else None
