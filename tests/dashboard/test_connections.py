"""Connections in the dashboard: named, changed, tested and forgotten with plain forms; a secret is never shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
import pytest

from tests.dashboard.client import Client
from tests.dashboard.seed import VIEWER_KEY
from tests.dashboard.site import Site
from tests.support.http_server import http_server


@pytest.fixture(scope="module")
def admin(site: Site) -> Iterator[Client]:
    client = Client(site)
    yield client
    client.close()


def sent(client: Client, path: str, **fields: str) -> httpx2.Response:
    """The page that a form leads to."""
    answer = client.post(path, fields)
    return client.get(answer.headers["location"]) if answer.status_code == 303 else answer


def test_a_service_is_named_tested_changed_and_forgotten(admin: Client) -> None:
    with http_server() as server:
        form = {"name": "shop_api", "c_base_url": server.url, "c_private_addresses": "on", "c_plain_http": "on", "secret": "Bearer s3cr3t"}
        page = sent(admin, "/connections/new/http", **form, c_test_path="/status/200")
        assert "Test it before" in page.text
        assert "not tested yet" in page.text
        tested = sent(admin, "/connections/shop_api/tests")
        assert "The test went well" in tested.text
        assert server.heard[0].headers["authorization"] == "Bearer s3cr3t"
        settings = {"c_base_url": server.url, "c_private_addresses": "on", "c_plain_http": "on", "c_test_path": "/status/500"}
        changed = sent(admin, "/connections/shop_api", **settings)
        assert re.search(r"version 2\b", changed.text)
        assert "fails" in sent(admin, "/connections/shop_api/tests").text
        assert "fails" in admin.get("/connections").text
        elsewhere = sent(admin, "/connections/shop_api", c_base_url="https://evil.example.com")
        assert "secret_needed" in elsewhere.text
        assert "Nothing was deleted" in sent(admin, "/connections/shop_api/deletions", confirm="no").text
        gone = sent(admin, "/connections/shop_api/deletions", confirm="shop_api")
        assert "forgotten" in gone.text
        texts = [answer.text for answer in (page, tested, changed, elsewhere, gone)]
        assert all("s3cr3t" not in text for text in texts)


def test_a_form_that_is_wrong_says_where_and_keeps_what_was_typed(admin: Client) -> None:
    page = sent(admin, "/connections/new/smtp", name="Bad Name", c_host="mail.example.com", c_port="x")
    assert page.status_code == 422
    assert 'value="Bad Name"' in page.text
    assert 'value="mail.example.com"' in page.text
    page = sent(admin, "/connections/new/smtp", name="mail", c_host="mail.example.com", c_port="x")
    assert "$.config.port" in page.text
    assert admin.get("/connections/new/pigeon").status_code == 404


def test_whoever_may_not_manage_connections_sees_none(site: Site) -> None:
    client = Client(site, VIEWER_KEY)
    assert [client.get(path).status_code for path in ("/connections", "/connections/new/smtp", "/connections/orders_api")] == [403] * 3
    assert 'href="/connections"' not in client.get("/").text
    client.close()
