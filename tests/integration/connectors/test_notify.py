"""`notify.send` against real servers: each channel on its own, so that none is told twice because another one was deaf."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from app.connectors import webhook
from app.connectors.connections import Connections, create_connection
from app.connectors.outbox import list_outbox
from app.connectors.port import Reply
from app.connectors.production import connections_of, production
from app.connectors.scripted import scripted
from app.core.actor import SYSTEM
from app.core.clock import SystemClock
from app.core.db import Database
from app.core.errors import Invalid
from app.core.settings import Settings
from app.spec.lint_effects import keys_make_sense
from app.spec.model import Effect, EffectLimits
from tests.support.contracts import contract
from tests.support.http_server import HttpServer, http_server
from tests.support.requests import request_for
from tests.support.smtp import SmtpProcess

CLOCK = SystemClock()
CONFIG: dict[str, Any] = {
    "channels": {
        "ops": {"email": {"to": "Ops@Example.com", "from_domain": "example.com"}},
        "night": {"email": {"to": "night@example.com", "from_domain": "example.com", "connection": "mail"}},
        "pager": {"webhook": {"connection": "pager"}},
    }
}
ALARM = {"subject": "Stock is low", "text": "Only 3 lamps are left.", "data": {"sku": "L-1", "left": 3}}
KEY = "whsec_c2VjcmV0LWtleQ=="


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def told(settings: Settings, database: Database, *channels: str, effect_id: str = "effect_1") -> list[Reply]:
    async def main() -> list[Reply]:
        connectors = production(settings, database)
        await connectors.start()
        port: Any = connectors.effects["notify.send"]
        try:
            deadline = CLOCK.monotonic() + 5000
            requests = [
                request_for(port, CONFIG, {**ALARM, "channel": name}, effect_id=effect_id, effect="tell", deadline=deadline)
                for name in channels
            ]
            return [await port.perform(request) for request in requests]
        finally:
            await connectors.stop()

    return uvloop.run(main())


def pager(connections: Connections, server: HttpServer) -> None:
    config = {"url": f"{server.url}/alarms", "plain_http": True, "private_addresses": True}
    create_connection(SYSTEM, connections, "pager", "webhook", config, KEY)


def test_each_channel_is_told_in_its_own_way_with_a_receipt_of_its_own(
    settings: Settings, sqlite_database: Database, start_server: Callable[..., SmtpProcess]
) -> None:
    connections, mail = connections_of(settings, sqlite_database), start_server()
    create_connection(SYSTEM, connections, "mail", "smtp", {"host": "127.0.0.1", "port": mail.port, "tls": "none"})
    with http_server() as server:
        pager(connections, server)
        ops, night, paged = told(settings, sqlite_database, "ops", "night", "pager")
        (heard,) = server.heard
    (kept,) = list_outbox(SYSTEM, sqlite_database).items
    assert (kept.recipient, kept.subject, ops.receipt) == ("ops@example.com", ALARM["subject"], {"channel": "ops", "outbox_id": kept.id})
    (line,) = mail.accepted()
    assert night.receipt == {"channel": "night", "reply": f"250 2.0.0 Ok: queued as {line['queue_id']}", "queue_id": line["queue_id"]}
    assert paged == Reply("done", {"channel": "pager", "status": 201})
    assert json.loads(heard.body) == {"id": "effect_1", "tool": "tool", "channel": "pager", **ALARM}
    assert kept.message_id == line["message_id"]


def test_a_webhook_is_signed_anew_at_each_attempt_under_the_same_id(settings: Settings, sqlite_database: Database) -> None:
    with http_server() as server:
        pager(connections_of(settings, sqlite_database), server)
        server.cues["/alarms"] = 503, {}, b""
        refused = told(settings, sqlite_database, "pager")[0]
        del server.cues["/alarms"]
        assert (refused.verdict, refused.code) == ("refused_now", "http_503")  # its receiver knows repeats by their id
        assert told(settings, sqlite_database, "pager")[0].verdict == "done"
        first, second = server.heard
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == second.headers["idempotency-key"] == "effect_1"
    assert first.body == second.body
    for heard in (first, second):
        at = int(heard.headers["webhook-timestamp"])
        assert abs(at - CLOCK.now() / 1000) < 60
        assert heard.headers["webhook-signature"] == webhook.signature(KEY, "effect_1", at, heard.body)
    assert KEY not in str([first.headers, second.headers])


def test_the_signature_is_that_of_the_published_specification() -> None:
    key, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    signed = webhook.signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_channel_that_is_deaf_is_refused_and_the_others_are_not(settings: Settings, sqlite_database: Database) -> None:
    ops, night, paged = told(settings, sqlite_database, "ops", "night", "pager")
    assert ops.verdict == "done"
    assert [(reply.verdict, reply.code) for reply in (night, paged)] == [("refused_now", "connection_unknown")] * 2


def test_a_repeat_of_an_e_mail_to_the_outbox_is_not_kept_twice(settings: Settings, sqlite_database: Database) -> None:
    first, second = told(settings, sqlite_database, "ops", "ops")
    assert first == second
    assert len(list_outbox(SYSTEM, sqlite_database).items) == 1


def test_a_channel_that_the_spec_does_not_declare_is_no_item(settings: Settings, sqlite_database: Database) -> None:
    port = production(settings, sqlite_database).effects["notify.send"]
    with pytest.raises(Invalid, match="item_invalid"):
        port.canonical(CONFIG, {**ALARM, "channel": "boss"})
    wrong = {"channels": {"ops": {"email": {"to": "no address", "from_domain": "example.com"}}}}
    with pytest.raises(Invalid, match="item_invalid"):
        port.canonical(wrong, {**ALARM, "channel": "ops"})


def test_a_key_without_the_channel_would_lose_one_and_is_refused() -> None:
    limits = EffectLimits(per_run=5)
    tell = Effect(id="tell", connector="notify.send", config=CONFIG, key="[item.subject]", undo_reason="said is said", limits=limits)
    wrong = contract().model_copy(update={"effects": (tell,)})
    right = contract().model_copy(update={"effects": (tell.model_copy(update={"key": "[item.channel]"}),)})
    (problem,) = keys_make_sense(wrong, scripted().catalog)
    assert (problem.path, problem.fix) == ("$.effects[0].key", "Add item.channel.")
    assert list(keys_make_sense(right, scripted().catalog)) == []
