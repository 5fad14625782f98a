"""The built-in outbox: `email.send` where no SMTP server is configured, as a local effect, and the list of what is in it.

It refuses to be: a queue. Nothing leaves it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session

from app.access.permissions import use_case
from app.connectors import repository
from app.connectors.email_kind import canonical_email, email_kind, email_message_id
from app.connectors.message import sender_address
from app.connectors.port import Reply, Request
from app.core.actor import Actor
from app.core.db import Database, now
from app.core.errors import Invalid
from app.spec.catalog import ConnectorKind


@dataclass(frozen=True, slots=True)
class OutboxEffect:
    """`email.send` into the outbox table, committed with the ledger row."""

    kind: ConnectorKind = field(default_factory=lambda: email_kind(local=True))

    def canonical(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        """The item with canonical addresses. Raises Invalid `item_invalid`."""
        return canonical_email(self.kind, item)

    def message_id(self, effect_id: str, config: dict[str, Any]) -> str | None:
        """The same as over SMTP."""
        return email_message_id(effect_id, config)

    def perform(self, session: Session, request: Request) -> Reply:
        """Receipt `{"outbox_id"}`."""
        item = request.item
        row = {
            "tenant": request.tenant,
            "effect_id": request.effect_id,
            "message_id": request.message_id or email_message_id(request.effect_id, request.config),
            "tool": request.tool,
            "sender": sender_address(request.config),
            "recipient": item["to"],
            "subject": item["subject"],
            "text": item["text"],
            "html": item.get("html"),
            "at": now(session),
        }
        return Reply("done", receipt={"outbox_id": repository.add_email(session, row)})

    def perform_once(self, session: Session, request: Request) -> Reply:
        """The same in a transaction of its own, for what is no local effect: a mail that is there already is not kept twice."""
        known = repository.email_of(session, request.effect_id)
        return Reply("done", receipt={"outbox_id": known}) if known is not None else self.perform(session, request)


@dataclass(frozen=True, slots=True)
class OutboxView:
    """One e-mail in the outbox; `at` is ms UTC."""

    id: int
    effect_id: str
    message_id: str
    tool: str
    sender: str
    recipient: str
    subject: str
    text: str
    html: str | None
    at: int


@dataclass(frozen=True, slots=True)
class OutboxPage:
    """E-mails, newest first; `next_cursor` is None on the last page."""

    items: list[OutboxView]
    next_cursor: str | None


@use_case("records:read")
def list_outbox(actor: Actor, database: Database, cursor: str | None = None, limit: int = 50, recipient: str | None = None) -> OutboxPage:
    """One page of 1 to 500 e-mails, of one recipient if told. Raises Invalid `cursor_invalid` or `limit_invalid`."""
    if not 1 <= limit <= 500:
        raise Invalid("limit_invalid", "A page has 1 to 500 e-mails.", fix="Ask for fewer and follow next_cursor.")
    if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise Invalid("cursor_invalid", "This cursor is not one of ours.", fix="Pass next_cursor as it came.")
    before = int(cursor) if cursor else None
    with database.reading() as session:
        found = repository.newest_emails(session, actor.tenant, before, limit + 1, recipient)
    rows = [OutboxView(**row.model_dump(exclude={"tenant"})) for row in found]
    return OutboxPage(rows[:limit], str(rows[limit - 1].id) if len(rows) > limit else None)


def expire_emails(database: Database, before: int, most: int = 500) -> int:
    """For the sweeper: remove the oldest e-mails that were put here before `before` (ms), at most `most`; returns how many.

    Their effects stay done in the ledger, with the id of what was here.
    """
    with database.writing() as session:
        return repository.drop_emails(session, before, most)
