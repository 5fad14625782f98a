"""Connections: what goes in and never comes out, what is refused, and tests that really connect."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from app.connectors import webhook
from app.connectors.connections import (
    Connections,
    change_connection,
    create_connection,
    delete_connection,
    list_connections,
    opened,
    read_connection,
)
from app.connectors.models import Connection
from app.connectors.named import missing, namings
from app.connectors.trying import check_connection
from app.connectors.vault import Vault
from app.core.actor import SYSTEM, Actor
from app.core.db import Database
from app.core.errors import Conflict, Failed, Forbidden, Invalid, NotFound, ToolmintError
from tests.support.certificates import write_certificate
from tests.support.http_server import http_server
from tests.support.smtp import SmtpProcess
from tests.support.waiting import until

SMTP = {"host": "127.0.0.1", "port": 2525, "tls": "none"}
HTTP = {"base_url": "https://api.example.com/v1"}
HOOK = {"url": "https://hooks.example.com/in"}


@pytest.fixture
def connections(database: Database, tmp_path: Path) -> Connections:
    return Connections(database, Vault(tmp_path / "home"))


@pytest.fixture
def here(sqlite_database: Database, tmp_path: Path) -> Connections:
    """The same on SQLite alone."""
    return Connections(sqlite_database, Vault(tmp_path / "home"))


def test_a_secret_goes_in_is_sealed_and_never_comes_out(connections: Connections) -> None:
    made = create_connection(SYSTEM, connections, "orders_api", "http", HTTP, "Bearer s3cr3t")
    shown = [made, read_connection(SYSTEM, connections, "orders_api"), *list_connections(SYSTEM, connections)["items"]]
    assert {view["secret"] for view in shown} == {"sealed"}
    with connections.database.reading() as session:
        rows = str(list(session.connection().exec_driver_sql("SELECT * FROM connection")))
        trail = str(list(session.connection().exec_driver_sql("SELECT * FROM audit_event")))
    assert "s3cr3t" not in f"{shown}{rows}{trail}"
    assert "connection.created" in trail
    found = opened(connections, "default", "orders_api", "http")
    assert (found.secret, "s3cr3t" in repr(found)) == ("Bearer s3cr3t", False)
    assert stat.S_IMODE((connections.vault.home / "connections.key").stat().st_mode) == 0o600


def test_a_sealed_secret_opens_for_its_own_connection_and_under_its_own_key_alone(here: Connections, tmp_path: Path) -> None:
    create_connection(SYSTEM, here, "one", "http", HTTP, "first")
    create_connection(SYSTEM, here, "two", "http", HTTP, "second")
    with here.database.writing() as session:
        session.connection().exec_driver_sql("UPDATE connection SET secret = (SELECT secret FROM connection WHERE name = 'one')")
    with pytest.raises(Failed, match="secret_unreadable"):
        opened(here, "default", "two", "http")
    assert opened(here, "default", "one", "http").secret == "first"
    elsewhere = Connections(here.database, Vault(tmp_path / "other"))
    with pytest.raises(Failed, match="secret_unreadable"):
        opened(elsewhere, "default", "one", "http")
    create_connection(SYSTEM, elsewhere, "three", "http", HTTP, "third")
    with pytest.raises(Failed, match="secret_unreadable"):
        opened(elsewhere, "default", "one", "http")


def test_a_key_that_others_may_read_is_not_used(here: Connections) -> None:
    create_connection(SYSTEM, here, "one", "http", HTTP, "first")
    (here.vault.home / "connections.key").chmod(0o644)
    with pytest.raises(Failed, match="vault_key_exposed"):
        opened(here, "default", "one", "http")


def test_a_secret_may_be_kept_elsewhere_and_named(here: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLMINT_SECRET_ORDERS", "from the environment")
    made = create_connection(SYSTEM, here, "one", "http", HTTP, secret_ref="env:TOOLMINT_SECRET_ORDERS")
    assert made["secret"] == "env:TOOLMINT_SECRET_ORDERS"
    assert opened(here, "default", "one", "http").secret == "from the environment"
    create_connection(SYSTEM, here, "two", "http", HTTP, secret_ref="file:orders")
    with pytest.raises(Failed, match="secret_unreadable"):
        opened(here, "default", "two", "http")
    (here.vault.home / "secrets").mkdir(parents=True)
    (here.vault.home / "secrets" / "orders").write_text("from a file\n")
    assert opened(here, "default", "two", "http").secret == "from a file"


@pytest.mark.parametrize("reference", ["env:TOOLMINT_ADMIN_KEY", "env:PATH", "file:../admin.key", "file:/etc/passwd", "sealed:1:x", "x"])
def test_no_other_variable_or_file_can_be_named(here: Connections, reference: str) -> None:
    with pytest.raises(Invalid, match="secret_reference_invalid"):
        create_connection(SYSTEM, here, "one", "http", HTTP, secret_ref=reference)


def test_settings_that_take_a_secret_elsewhere_must_bring_it_again(connections: Connections) -> None:
    create_connection(SYSTEM, connections, "orders_api", "http", HTTP, "s3cr3t")
    kept = change_connection(SYSTEM, connections, "orders_api", {**HTTP, "test_path": "/health"})
    assert (kept["version"], opened(connections, "default", "orders_api", "http").secret) == (2, "s3cr3t")
    with pytest.raises(Invalid, match="secret_needed"):
        change_connection(SYSTEM, connections, "orders_api", {"base_url": "https://evil.example.com"})
    change_connection(SYSTEM, connections, "orders_api", {"base_url": "https://api.example.org"}, "n3w")
    assert opened(connections, "default", "orders_api", "http").secret == "n3w"
    assert change_connection(SYSTEM, connections, "orders_api", HTTP, "")["secret"] == "none"


WRONG: list[tuple[str, dict[str, Any], str | None]] = [
    ("http", {}, None),
    ("http", {"base_url": "ftp://x"}, None),
    ("http", {"base_url": "http://api.example.com"}, None),
    ("http", {"base_url": "http://api.example.com", "plain_http": True}, "a secret"),
    ("http", {"base_url": "https://api.example.com/?q=1"}, None),
    ("http", {"base_url": "https://user:pw@api.example.com"}, None),
    ("http", {**HTTP, "more": 1}, None),
    ("http", HTTP, "two\nlines"),
    ("webhook", HOOK, None),
    ("smtp", {"port": 25}, None),
    ("smtp", {**SMTP, "user": "u"}, None),
    ("smtp", SMTP, "password"),
    ("smtp", {"host": "mail.example.com", "tls": "none", "user": "u"}, "password"),
    ("carrier_pigeon", {}, None),
]


@pytest.mark.parametrize(("kind", "config", "secret"), WRONG)
def test_what_cannot_be_used_or_would_be_unsafe_is_refused_by_name(
    here: Connections, kind: str, config: dict[str, Any], secret: str | None
) -> None:
    with pytest.raises(Invalid, match="connection_invalid") as refusal:
        create_connection(SYSTEM, here, "one", kind, config, secret)
    assert refusal.value.problems
    assert "password" not in refusal.value.detail or kind == "smtp"


def test_names_are_unique_and_of_their_tenant_and_need_the_permission(connections: Connections) -> None:
    create_connection(SYSTEM, connections, "mail", "smtp", SMTP)
    with pytest.raises(Conflict, match="connection_exists"):
        create_connection(SYSTEM, connections, "mail", "smtp", SMTP)
    stranger = Actor("key_x", "x", "other", frozenset({"connections:manage"}))
    with pytest.raises(NotFound, match="connection_not_found"):
        read_connection(stranger, connections, "mail")
    with pytest.raises(NotFound, match="connection_unknown"):
        opened(connections, "other", "mail", "smtp")
    with pytest.raises(Conflict, match="connection_of_other_kind"):
        opened(connections, "default", "mail", "http")
    with pytest.raises(Forbidden, match="connections:manage"):
        list_connections(Actor("key_y", "y", "default", frozenset({"tools:call"})), connections)
    assert delete_connection(SYSTEM, connections, "mail")["name"] == "mail"
    with pytest.raises(NotFound):
        delete_connection(SYSTEM, connections, "mail")


def test_what_a_spec_names_and_nobody_has_named_is_told_by_its_place(connections: Connections) -> None:
    create_connection(SYSTEM, connections, "orders_api", "http", HTTP)
    effects: list[dict[str, Any]] = [
        {"connector": "http.request", "config": {"connection": "orders_api", "methods": ["POST"]}},
        {"connector": "http.request", "config": {"connection": "nobody", "methods": ["POST"]}},
        {"connector": "email.send", "config": {"from_domain": "example.com", "connection": "orders_api"}},
        {"connector": "email.send", "config": {"from_domain": "example.com"}},
        {"connector": "notify.send", "config": {"channels": {"pager": {"webhook": {"connection": "pager"}}}}},
    ]
    found = missing(connections.database, "default", namings(effects))
    assert [problem.path for problem in found] == [
        "$.effects[1].config.connection",
        "$.effects[2].config.connection",
        "$.effects[4].config.channels.pager.webhook.connection",
    ]
    assert "of kind http, not smtp" in found[1].message


def seen_by_a_test(connections: Connections, name: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = uvloop.run(check_connection(SYSTEM, connections, name, **more))
    shown = read_connection(SYSTEM, connections, name)["test"]
    assert (shown["ok"], shown["text"]) == (found["ok"], found["text"])
    return found


def test_a_test_of_a_mail_server_signs_in_and_sends_nothing(here: Connections, start_server: Callable[..., SmtpProcess]) -> None:
    server = start_server("--login", "ann:s3cr3t")
    config = {**SMTP, "port": server.port, "user": "ann"}
    create_connection(SYSTEM, here, "mail", "smtp", config, "s3cr3t")
    good = seen_by_a_test(here, "mail")
    assert good["ok"] and "signed in as ann" in good["text"]
    change_connection(SYSTEM, here, "mail", config, "wr0ng")
    assert read_connection(SYSTEM, here, "mail")["test"] is None  # it was of other settings
    bad = seen_by_a_test(here, "mail")
    assert not bad["ok"] and "AUTH" in bad["text"] and "wr0ng" not in bad["text"]
    assert server.accepted() == []
    server.stop()
    assert seen_by_a_test(here, "mail")["text"].startswith("The server could not be reached")


def test_a_test_of_an_http_service_asks_with_the_credential(here: Connections, tmp_path: Path) -> None:
    with http_server() as server:
        config = {"base_url": server.url, "plain_http": True, "private_addresses": True, "header": "X-Key", "test_path": "/status/204"}
        create_connection(SYSTEM, here, "api", "http", config, "s3cr3t")
        assert seen_by_a_test(here, "api") | {"took_ms": 0, "at": ""} == {
            "ok": True,
            "text": "The server answered 204 Said.",
            "took_ms": 0,
            "at": "",
        }
        assert (server.heard[0].method, server.heard[0].headers["x-key"]) == ("HEAD", "s3cr3t")
        change_connection(SYSTEM, here, "api", {**config, "test_path": "/status/401", "test_method": "GET"})
        assert not seen_by_a_test(here, "api")["ok"]
        change_connection(SYSTEM, here, "api", {**config, "private_addresses": False})
        assert "private network" in seen_by_a_test(here, "api")["text"]
        create_connection(
            SYSTEM, here, "hook", "webhook", {"url": f"{server.url}/in", "plain_http": True, "private_addresses": True}, "k3y"
        )
        assert seen_by_a_test(here, "hook")["ok"]
        heard = server.heard[-1]
        signed = webhook.signature("k3y", heard.headers["webhook-id"], int(heard.headers["webhook-timestamp"]), heard.body)
        assert heard.headers["webhook-signature"] == signed
    with http_server(write_certificate(tmp_path)) as secure:
        create_connection(SYSTEM, here, "tls", "http", {"base_url": secure.url, "private_addresses": True})
        assert not seen_by_a_test(here, "tls")["ok"]


def test_two_processes_that_make_the_key_at_once_agree_on_one(tmp_path: Path) -> None:
    sealed = Vault(tmp_path).seal("text", "here")
    assert Vault(tmp_path).open(sealed, "here") == "text"
    assert [path.name for path in tmp_path.iterdir()] == ["connections.key"]
    with pytest.raises(ToolmintError):
        Vault(tmp_path).open(sealed, "there")


def test_a_secret_that_changes_at_the_same_time_does_not_go_where_the_former_one_went(connections: Connections) -> None:
    create_connection(SYSTEM, connections, "orders_api", "http", HTTP, "Bearer s3cr3t")
    refusals: list[str] = []

    def change() -> None:
        try:
            change_connection(SYSTEM, connections, "orders_api", {**HTTP, "test_path": "/health"})
        except ToolmintError as error:
            refusals.append(error.code)

    def waits() -> bool:
        if connections.database.is_sqlite or not changing.is_alive():
            return True
        with connections.database.reading() as session:
            return bool(session.connection().exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar())

    changing = threading.Thread(target=change)
    with connections.database.writing() as session:
        row = session.get_one(Connection, (SYSTEM.tenant, "orders_api"))
        row.config, row.secret, row.version = {"base_url": "https://other.example.com"}, "env:TOOLMINT_SECRET_OTHER", 2
        session.flush()
        changing.start()
        until(waits, what="the other change waits for this one")
    changing.join(10)
    assert read_connection(SYSTEM, connections, "orders_api")["config"] == {"base_url": "https://other.example.com"}
    assert refusals in (["connection_changed"], ["secret_needed"])  # the second where it began to look only afterwards
