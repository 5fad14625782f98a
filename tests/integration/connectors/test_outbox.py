"""The built-in outbox: mail that goes nowhere, kept with the ledger's transaction, listed newest first."""

from __future__ import annotations

import pytest

from app.connectors.outbox import OutboxEffect, list_outbox
from app.connectors.port import is_local, is_remote
from app.connectors.production import production
from app.core.actor import SYSTEM, Actor
from app.core.db import Database
from app.core.errors import Forbidden, Invalid
from app.core.settings import Settings
from tests.support.requests import EMAIL_CONFIG, email_to, request_for


def fill(database: Database, count: int) -> None:
    port = OutboxEffect()
    with database.writing() as session:
        for i in range(count):
            port.perform(session, request_for(port, EMAIL_CONFIG, email_to(f"U{i}@Example.com"), effect_id=f"e{i}"))


def test_a_mail_is_kept_with_what_a_person_wants_to_see(database: Database) -> None:
    port = OutboxEffect()
    item = email_to(" Ann@Example.com ", html="<b>Hello</b>")
    with database.writing() as session:
        reply = port.perform(session, request_for(port, {**EMAIL_CONFIG, "from_local": "shop"}, item))
    (mail,) = list_outbox(SYSTEM, database).items
    assert reply.receipt == {"outbox_id": mail.id}
    assert (mail.recipient, mail.sender, mail.subject, mail.html) == ("ann@example.com", "shop@example.com", "Spring", "<b>Hello</b>")
    assert (mail.effect_id, mail.message_id) == ("effect_1", port.message_id("effect_1", EMAIL_CONFIG))


def test_pages_go_newest_first_and_meet_each_mail_once(database: Database) -> None:
    fill(database, 7)
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = list_outbox(SYSTEM, database, cursor, 3)
        found += [mail.recipient for mail in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == [f"u{i}@example.com" for i in reversed(range(7))]
    assert [mail.recipient for mail in list_outbox(SYSTEM, database, recipient="u3@example.com").items] == ["u3@example.com"]


def test_the_outbox_is_its_tenants_and_needs_a_permission(database: Database) -> None:
    fill(database, 1)
    assert list_outbox(Actor("a", "a", "other", frozenset({"*"})), database).items == []
    with pytest.raises(Forbidden):
        list_outbox(Actor("a", "a", "default", frozenset()), database)
    with pytest.raises(Invalid, match="cursor_invalid"):
        list_outbox(SYSTEM, database, "x")


def test_mail_is_local_without_a_server_and_remote_with_one(sqlite_database: Database) -> None:
    assert is_local(production(Settings(), sqlite_database).effects["email.send"])
    with_server = production(Settings(smtp_url="smtp://127.0.0.1:2525"), sqlite_database)
    assert is_remote(with_server.effects["email.send"])
    names = ["email.send", "http.request", "notify.send", "records.put", "records.put_many", "records.snapshot"]
    assert with_server.catalog.names("effect") == names
    assert with_server.catalog.names("read") == ["records.get", "records.query"]
    with pytest.raises(Invalid, match="smtp_url_invalid"):
        production(Settings(smtp_url="mail.example.com"), sqlite_database)
