"""`email.send` over SMTP, as a remote effect: what the pool heard becomes a verdict.

| heard | verdict |
|---|---|
| 2xx to the final dot | done, with the server's words and its queue id |
| 4xx at any phase; a session that is refused; no connection; a break or the deadline before the final dot | refused_now |
| 5xx whose enhanced code (RFC 3463) is of class 4, or is about us and not about this mail (5.7.8, 5.3.2 and their like) | refused_now |
| any other 5xx to the envelope or the message | refused |
| a break, the deadline or nonsense after the final dot | unknown |

It refuses to be: exactly-once. Between the final dot and the reply nobody can know (RFC 1047).
"""

from __future__ import annotations

import re
import ssl
from dataclasses import InitVar, dataclass, field
from typing import Any

from app.connectors.deadlines import until
from app.connectors.domains import Domains
from app.connectors.email_kind import canonical_email, email_kind, email_message_id
from app.connectors.message import render
from app.connectors.port import LaneLimits, Reply, Request
from app.connectors.smtp_connection import SmtpReply
from app.connectors.smtp_pool import Delivery, SmtpPool
from app.connectors.smtp_server_url import SmtpServer
from app.core.clock import Clock
from app.spec.catalog import ConnectorKind

_QUEUE_ID = re.compile(r"\b(?:queued as|queued mail|id[ =:]|queue id)\s*<?([A-Za-z0-9._-]{4,80})", re.IGNORECASE)
_LONGEST_MESSAGE = 400
_CLOSING = 421
_ABOUT_THE_SESSION = frozenset({503, 530, 534, 535, 538})  # of the 5xx: not about this mail, and mended by an operator
_ABOUT_US = frozenset({"5.3.2", "5.7.8", "5.7.9", "5.7.11", "5.7.13", "5.7.14"})  # the same by enhanced code: not now, or not signed in
_WANTS_LESS = frozenset({"4.3.2", "4.4.5"})  # and all of 4.7: the receiver's system wants less for now


@dataclass
class SmtpEffect:
    """`email.send` through one pool. `start` and `stop` bracket its use in one event loop."""

    server: SmtpServer
    connections: int
    clock: Clock
    context: ssl.SSLContext | None = None
    limits: LaneLimits | None = None
    domains: Domains = field(default_factory=Domains)
    running: InitVar[bool] = False
    kind: ConnectorKind = field(default_factory=lambda: email_kind(local=False))
    _pool: SmtpPool | None = field(default=None, init=False, repr=False)

    @property
    def concurrency(self) -> int:
        """One mail for each connection of the pool."""
        return self.connections

    def canonical(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        """The item with canonical addresses. Raises Invalid `item_invalid`."""
        return canonical_email(self.kind, item)

    def message_id(self, effect_id: str, config: dict[str, Any]) -> str | None:
        """The Message-ID header, the same for each attempt."""
        return email_message_id(effect_id, config)

    def __post_init__(self, running: bool) -> None:
        if running:
            self._make_pool()

    async def start(self) -> None:
        """Make the pool; it connects with the first mail."""
        self._make_pool()

    def _make_pool(self) -> None:
        self._pool = SmtpPool(self.server, self.connections, context=self.context)

    async def stop(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def prepare(self, request: Request) -> None:
        """Nothing to look up: there is one server."""

    def lane_of(self, request: Request) -> str:
        """The recipient's domain."""
        return domain_of(request)

    def limits_of(self, lane: str) -> LaneLimits | None:
        """The same for each domain."""
        return self.limits

    def take(self, lane: str) -> bool:
        """Whether the domain takes one more mail now."""
        return self.domains.take(lane)

    def give_back(self, lane: str) -> None:
        """A mail to the domain is over."""
        self.domains.give_back(lane)

    def ready_in(self, lane: str) -> int:
        """In about how many ms the domain takes one more."""
        return self.domains.ready_in(lane)

    async def perform(self, request: Request) -> Reply:
        """Send it once, unless its deadline has passed."""
        pool = self._pool
        if pool is None:
            return Reply("refused_now", code="smtp_stopped", message="the connector is not running")
        by = until(request, self.clock)
        if by is None:
            return Reply("refused_now", code="deadline_passed", message="its time was over before anything was sent")
        message_id = request.message_id or email_message_id(request.effect_id, request.config)
        try:
            letter = render(request.config, request.item, message_id, self.clock.now())
        except ValueError as error:
            return Reply("refused", code="item_invalid", message=str(error))
        delivery = await pool.deliver(letter, by.leave)
        if delivery.reply is not None:
            wants_less = asks_for_rest(delivery.reply)
            (self.domains.said_too_much if wants_less else self.domains.went_well)(domain_of(request))
        return judge(delivery)


def domain_of(request: Request) -> str:
    """The recipient's domain."""
    to: str = request.item["to"]
    return to.rpartition("@")[2]


def asks_for_rest(reply: SmtpReply) -> bool:
    """Whether the recipient's domain wants less of this sender for a while."""
    return reply.code == _CLOSING or reply.enhanced.startswith("4.7.") or reply.enhanced in _WANTS_LESS


def is_alone(reply: SmtpReply) -> bool:
    """Whether a refusal for now is about one mailbox (busy, full, put off at its first mail) or its domain, and not about the server."""
    return reply.code != _CLOSING and (reply.code == 450 or reply.enhanced.startswith(("4.1.", "4.2.", "4.7.")))


def judge(delivery: Delivery) -> Reply:
    """The verdict on what the pool heard."""
    reply = delivery.reply
    if reply is None:
        return Reply("refused_now" if delivery.certain else "unknown", code=delivery.code, message=delivery.message)
    text = str(reply)[:_LONGEST_MESSAGE]
    if reply.code // 100 == 2:
        return Reply("done", receipt=receipt(reply))
    about_us = reply.code in _ABOUT_THE_SESSION or reply.enhanced in _ABOUT_US
    passing = reply.code // 100 == 4 or reply.enhanced.startswith("4.") or about_us
    return Reply("refused_now" if passing else "refused", code=f"smtp_{reply.code}", message=text, alone=passing and is_alone(reply))


def receipt(reply: SmtpReply) -> dict[str, Any]:
    """`{"reply", "queue_id"}`: the server's words and the id it gave the mail, null where it gave none."""
    text = str(reply)[:_LONGEST_MESSAGE]
    match = _QUEUE_ID.search(text)
    return {"reply": text, "queue_id": match.group(1) if match else None}
