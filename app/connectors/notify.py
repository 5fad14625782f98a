"""`notify.send` as a remote effect: one notification to one channel, an e-mail or a signed webhook.

An e-mail gets the verdicts of `email.send`. A webhook gets those of `http.request`, but a 5xx is refused for now: its receiver knows
repeats by `webhook-id`, which is what the specification asks of it. Redirects of webhooks are not followed.

The e-mails share limits and rests by recipient domain with those of `email.send` that go through the same server.

It refuses to be: a broadcast. Each channel is an effect of its own.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app.connectors.connections import Opened
from app.connectors.deadlines import until
from app.connectors.email_kind import canonical_email, email_message_id
from app.connectors.http_exchange import Answered, Asked, Exchanges, Unanswered
from app.connectors.http_kind import DEFAULT_TIMEOUT_S, judge
from app.connectors.http_request import AGENT
from app.connectors.notify_kind import canonical_notification, email_config, email_item, notify_kind
from app.connectors.opening import Directory, Pools
from app.connectors.outbox import OutboxEffect
from app.connectors.port import LaneLimits, PacedEffect, Reply, Request
from app.connectors.smtp import SmtpEffect
from app.connectors.smtp_connected import ConnectedEmail
from app.connectors.webhook import signed_headers
from app.core.db import Database
from app.core.errors import ToolmintError
from app.spec.catalog import ConnectorKind

AT_ONCE = 8


@dataclass
class NotifySend:
    """`notify.send`. `mail` sends where a channel names no connection (None: into the built-in outbox), `connected` where it does."""

    database: Database
    directory: Directory
    connected: ConnectedEmail
    mail: SmtpEffect | None
    context: ssl.SSLContext | None = None
    kind: ConnectorKind = field(default_factory=notify_kind)
    concurrency: int = AT_ONCE
    _outbox: OutboxEffect = field(default_factory=OutboxEffect, init=False, repr=False)
    _pools: Pools[Exchanges] | None = field(default=None, init=False, repr=False)

    def canonical(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        """The item itself, once its channel is known. Raises Invalid `item_invalid`."""
        return canonical_notification(self.kind, config, item)

    def message_id(self, effect_id: str, config: dict[str, Any]) -> str | None:
        """The webhook-id, the same for each attempt; an e-mail's Message-ID follows from it."""
        return effect_id

    async def start(self) -> None:
        """Make ready; nothing is connected yet."""
        self._pools = Pools(Exchanges.close)

    async def stop(self) -> None:
        """Close the connections of webhooks; those of e-mails are not this one's."""
        if self._pools is not None:
            await self._pools.close()
            self._pools = None

    async def prepare(self, request: Request) -> None:
        """Look up the limits of the connections that any channel of the config has for its e-mails."""
        for name in request.config["channels"]:
            mail = self._as_email(request, name)
            if mail is not None and "connection" in mail.config:
                await self.connected.prepare(mail)

    def lane_of(self, request: Request) -> str:
        """That of its e-mail; empty for what is none, or is kept in the outbox."""
        mail = self._as_email(request, request.item["channel"])
        if mail is None:
            return ""
        port = self.connected if "connection" in mail.config else self.mail
        return port.lane_of(mail) if port is not None else ""

    def limits_of(self, lane: str) -> LaneLimits | None:
        """Those of the e-mail's server."""
        port = self._port_of(lane)
        return None if port is None else port.limits_of(lane)

    def take(self, lane: str) -> bool:
        """Whether the e-mail's domain takes one more now."""
        port = self._port_of(lane)
        return port is None or port.take(lane)

    def give_back(self, lane: str) -> None:
        """A notification is over."""
        port = self._port_of(lane)
        if port is not None:
            port.give_back(lane)

    def ready_in(self, lane: str) -> int:
        """In about how many ms the e-mail's domain takes one more."""
        port = self._port_of(lane)
        return 0 if port is None else port.ready_in(lane)

    def _port_of(self, lane: str) -> PacedEffect | None:
        """Through what the e-mails of a lane go; those of connections name them in lines before the domain."""
        return self.connected if "\n" in lane else self.mail if lane else None

    async def perform(self, request: Request) -> Reply:
        """Send it once to its channel; a receipt names the channel."""
        name = request.item["channel"]
        mail = self._as_email(request, name)
        reply = await (self._webhook(request, request.config["channels"][name]["webhook"]) if mail is None else self._email(mail))
        return of_channel(request, reply)

    def _as_email(self, request: Request, name: str) -> Request | None:
        """The e-mail that the notification is to this channel; None for a webhook."""
        channel = request.config["channels"][name]
        if "email" not in channel:
            return None
        config = email_config(channel["email"])
        item = canonical_email(self.connected.kind, email_item(channel["email"], request.item))
        return replace(request, config=config, item=item, message_id=email_message_id(request.effect_id, config))

    async def _email(self, mail: Request) -> Reply:
        if "connection" in mail.config:
            return await self.connected.perform(mail)
        if self.mail is not None:
            return await self.mail.perform(mail)
        return await asyncio.to_thread(self._keep, mail)

    def _keep(self, mail: Request) -> Reply:
        with self.database.writing() as session:
            return self._outbox.perform_once(session, mail)

    async def _webhook(self, request: Request, channel: Mapping[str, Any]) -> Reply:
        pools, by = self._pools, until(request, self.database.clock)
        if pools is None or by is None:
            return Reply("refused_now", code="deadline_passed", message="its time was over before anything was sent")
        deadline = min(by.answer, asyncio.get_running_loop().time() + DEFAULT_TIMEOUT_S)
        try:
            connection = await self.directory.get(request.tenant, channel["connection"], "webhook")
        except ToolmintError as error:
            return Reply("refused_now", code=error.code, message=error.detail)

        def make() -> Exchanges:
            return Exchanges(AT_ONCE, private=connection.config.get("private_addresses", False), context=self.context)

        async with pools.lend((connection.tenant, connection.name), connection.version, make) as exchanges:
            heard = await exchanges.ask(webhook_request(connection, request, self.database.clock.now()), deadline, by.leave)
        return webhook_reply(heard, connection.secret)


def of_channel(request: Request, reply: Reply) -> Reply:
    """The reply with the channel in its receipt."""
    return replace(reply, receipt={"channel": request.item["channel"], **reply.receipt}) if reply.receipt is not None else reply


def webhook_reply(heard: Answered | Unanswered, secret: str = "") -> Reply:
    """What a webhook's answer means; its receipt is the status alone."""
    reply = judge({"on_5xx": "refused_now"}, heard, secret)
    return replace(reply, receipt={"status": reply.receipt["status"]}) if reply.receipt is not None else reply


def webhook_request(connection: Opened, request: Request, at_ms: int) -> Asked:
    """The signed POST: `{"id", "tool", "channel", "subject", "text", "data"}`, signed anew at each attempt under the same id."""
    item = request.item
    content = {"id": request.effect_id, "tool": request.tool, **{name: item[name] for name in ("channel", "subject", "text")}}
    body = json.dumps({**content, "data": item.get("data", {})}, ensure_ascii=False, separators=(",", ":")).encode()
    return signed_post(connection, request.effect_id, at_ms, body)


def signed_post(connection: Opened, message_id: str, at_ms: int, body: bytes) -> Asked:
    """A POST of JSON to a webhook connection."""
    headers = {"User-Agent": AGENT, "Content-Type": "application/json", "Accept-Encoding": "identity"}
    signed = signed_headers(connection.secret, message_id, at_ms, body)
    return Asked("POST", connection.config["url"], {**headers, "Idempotency-Key": message_id, **signed}, body)
