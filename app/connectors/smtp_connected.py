"""`email.send` through a mail server that an operator has named: one pool, one set of limits and of rests by domain for each connection.

It refuses to be: another way to send. What becomes of a mail is decided in `smtp`.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any

from app.connectors.connection_kinds import smtp_server
from app.connectors.connections import Opened
from app.connectors.domains import Domains
from app.connectors.email_kind import canonical_email, email_kind, email_message_id
from app.connectors.opening import Directory, Pools
from app.connectors.port import LaneLimits, Reply, Request
from app.connectors.smtp import SmtpEffect, domain_of
from app.core.clock import Clock
from app.core.errors import ToolmintError
from app.spec.catalog import ConnectorKind

AT_ONCE = 10


@dataclass
class ConnectedEmail:
    """`email.send` for configs that name a connection. `start` and `stop` bracket its use in one event loop."""

    directory: Directory
    clock: Clock
    context: ssl.SSLContext | None = None
    kind: ConnectorKind = field(default_factory=lambda: email_kind(local=False))
    concurrency: int = AT_ONCE
    _pools: Pools[SmtpEffect] | None = field(default=None, init=False, repr=False)
    _domains: dict[tuple[str, str], Domains] = field(default_factory=dict, init=False, repr=False)
    _limits: dict[tuple[str, str], LaneLimits] = field(default_factory=dict, init=False, repr=False)

    def canonical(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        """The item with canonical addresses. Raises Invalid `item_invalid`."""
        return canonical_email(self.kind, item)

    def message_id(self, effect_id: str, config: dict[str, Any]) -> str | None:
        """The Message-ID header, the same for each attempt."""
        return email_message_id(effect_id, config)

    async def start(self) -> None:
        """Make ready; nothing is connected yet."""
        self._pools = Pools(SmtpEffect.stop)

    async def stop(self) -> None:
        """Close the connections."""
        if self._pools is not None:
            await self._pools.close()
            self._pools = None

    async def prepare(self, request: Request) -> None:
        """Look the connection's limits up."""
        try:
            self._note(await self._opened(request))
        except ToolmintError:
            return  # performing says what is wrong; what cannot be sent needs no limit

    def lane_of(self, request: Request) -> str:
        """The connection and the recipient's domain."""
        return f"{request.tenant}\n{request.config['connection']}\n{domain_of(request)}"

    def limits_of(self, lane: str) -> LaneLimits | None:
        """Those of the connection, the same for each domain."""
        tenant, name, _ = lane.split("\n", 2)
        return self._limits.get((tenant, name))

    def take(self, lane: str) -> bool:
        """Whether the domain takes one more mail now."""
        domains, domain = self._lane(lane)
        return domains is None or domains.take(domain)

    def give_back(self, lane: str) -> None:
        """A mail to the domain is over."""
        domains, domain = self._lane(lane)
        if domains is not None:
            domains.give_back(domain)

    def ready_in(self, lane: str) -> int:
        """In about how many ms the domain takes one more."""
        domains, domain = self._lane(lane)
        return 0 if domains is None else domains.ready_in(domain)

    async def perform(self, request: Request) -> Reply:
        """Send it once, unless its deadline has passed; without its connection it is refused for now."""
        pools = self._pools
        if pools is None:
            return Reply("refused_now", code="smtp_stopped", message="the connector is not running")
        try:
            connection = await self._opened(request)
        except ToolmintError as error:
            return Reply("refused_now", code=error.code, message=error.detail)

        def make() -> SmtpEffect:
            server = smtp_server(connection.config, connection.secret)
            size = connection.config.get("connections", AT_ONCE)
            return SmtpEffect(server, size, self.clock, self.context, domains=self._note(connection), running=True)

        async with pools.lend((connection.tenant, connection.name), connection.version, make) as effect:
            return await effect.perform(request)

    async def _opened(self, request: Request) -> Opened:
        return await self.directory.get(request.tenant, request.config["connection"], "smtp")

    def _note(self, connection: Opened) -> Domains:
        name, config = (connection.tenant, connection.name), connection.config
        limits = LaneLimits(config.get("per_domain_at_once"), config.get("per_domain_per_second"))
        if limits == LaneLimits():
            self._limits.pop(name, None)
        else:
            self._limits[name] = limits
        return self._domains.setdefault(name, Domains())

    def _lane(self, lane: str) -> tuple[Domains | None, str]:
        tenant, name, domain = lane.split("\n", 2)
        return self._domains.get((tenant, name)), domain
