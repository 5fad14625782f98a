"""Connections and snapshots over REST, and what a spec that names a connection is told along its way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.protocol.site import Site
from tests.protocol.test_mcp import connected
from tests.protocol.test_rest import problem_of
from tests.support.http_server import http_server
from tests.support.published import pass_candidate
from tests.support.worlds import SENDER, sender_spec

HTTP = {"base_url": "https://api.example.com/v1"}


def test_a_connection_is_named_read_changed_tested_and_forgotten(site: Site) -> None:
    with http_server() as server:
        config = {"base_url": server.url, "private_addresses": True, "plain_http": True, "test_path": "/status/200"}
        body = {"name": "rest_api", "kind": "http", "config": config, "secret": "Bearer s3cr3t"}
        made = site.post("/connections", body, headers={"Idempotency-Key": "c1"})
        again = site.post("/connections", body, headers={"Idempotency-Key": "c1"})
        assert (made.status_code, again.json()) == (201, made.json())
        assert (made.json()["secret"], made.json()["version"], made.json()["test"]) == ("sealed", 1, None)
        tested = site.post("/connections/rest_api/tests", {}).json()
        assert (tested["ok"], tested["text"]) == (True, "The server answered 200 Said.")
        assert server.heard[0].headers["authorization"] == "Bearer s3cr3t"
        read = site.get("/connections/rest_api").json()
        assert (read["test"]["ok"], read["config"]) == (True, config)
        changed = site.ask("PUT", "/connections/rest_api", json={"config": {**config, "test_path": "/"}})
        assert (changed.json()["version"], changed.json()["test"], changed.json()["secret"]) == (2, None, "sealed")
        problem_of(site.ask("PUT", "/connections/rest_api", json={"config": HTTP}), 422, "secret_needed")
        listed = site.get("/connections").json()
        assert "rest_api" in [row["name"] for row in listed["items"]]
        gone = site.ask("DELETE", "/connections/rest_api")
        assert gone.json()["name"] == "rest_api"
        assert "s3cr3t" not in "".join(answer.text for answer in (made, changed, gone)) + json.dumps([read, listed])
    problem_of(site.get("/connections/rest_api"), 404, "connection_not_found")
    problem_of(site.post("/connections/rest_api/tests", {}), 404, "connection_not_found")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "x", "kind": "http"}, "body_invalid"),
        ({"name": "Big Name", "kind": "http", "config": HTTP}, "connection_invalid"),
        ({"name": "x", "kind": "http", "config": {**HTTP, "header": "Idempotency-Key"}, "secret": "a"}, "connection_invalid"),
        ({"name": "x", "kind": "http", "config": HTTP, "secret": "a", "secret_ref": "env:TOOLMINT_SECRET_A"}, "connection_invalid"),
        ({"name": "x", "kind": "http", "config": HTTP, "secret_ref": "env:TOOLMINT_ADMIN_KEY"}, "secret_reference_invalid"),
    ],
)
def test_what_cannot_be_a_connection_is_refused_with_its_place(site: Site, body: dict[str, Any], code: str) -> None:
    problem = problem_of(site.post("/connections", body), 422, code)
    assert problem["errors"] and problem["fix"]


def test_connections_need_their_own_permission(site: Site) -> None:
    for method, path in (("GET", "/connections"), ("POST", "/connections/x/tests"), ("DELETE", "/connections/x")):
        problem_of(site.ask(method, path, "tools:call", "keys:manage", "records:write"), 403, "permission_denied")
    body = {"name": "mine", "kind": "http", "config": HTTP}
    problem_of(site.post("/connections", body, "tools:call"), 403, "permission_denied")


def test_a_spec_that_names_what_is_not_there_is_warned_then_kept_from_being_published_or_called(site: Site) -> None:
    named = {"from_domain": "example.com", "connection": "rest_mail"}
    spec = sender_spec(_name="send_by_rest_mail", config=named)
    example = {"name": "nobody", "args": {"group": "g", "to": []}, "result": {"done": 0}}
    saved = site.post("/specs", spec.body() | {"examples": [example]}).json()
    (warning,) = saved["warnings"]
    assert warning["path"] == "$.effects[0].config.connection"
    assert "rest_mail" in warning["message"] and warning["fix"]
    candidate = pass_candidate(site.database, spec, SENDER)
    refused = site.post("/tools/send_by_rest_mail/versions", {"candidate_id": candidate})
    problem = problem_of(refused, 409, "connection_unknown")
    assert problem["retryable"] and problem["errors"][0]["path"] == "$.effects[0].config.connection"
    smtp = {"name": "rest_mail", "kind": "smtp", "config": {"host": "mail.example.com"}}
    assert site.post("/connections", smtp).status_code == 201
    assert site.post("/tools/send_by_rest_mail/versions", {"candidate_id": candidate}).status_code == 201
    assert site.post("/specs", spec.body() | {"examples": [example]}).json()["warnings"] == []
    body = {"args": {"group": "g", "to": ["a@example.com"]}}
    first = site.post("/tools/send_by_rest_mail/runs", body, headers={"Idempotency-Key": "named"}).json()
    assert first["result"]["done"] == 1
    site.ask("DELETE", "/connections/rest_mail")
    problem_of(site.post("/tools/send_by_rest_mail/runs", body), 409, "connection_unknown")
    replayed = site.post("/tools/send_by_rest_mail/runs", body, headers={"Idempotency-Key": "named"}).json()
    assert (replayed["replayed"], replayed["result"]) == (True, first["result"])
    assert site.post("/tools/send_by_rest_mail/runs", {**body, "dry_run": True}).json()["plan"]


def test_a_snapshot_is_taken_listed_read_and_deleted(site: Site) -> None:
    for number in range(3):
        site.ask("PUT", f"/records/rest_kept/k{number}", json={"n": number})
    taken = site.post("/records/rest_kept/snapshots", {})
    again = site.ask("POST", "/records/rest_kept/snapshots")
    assert (taken.status_code, again.json()) == (201, taken.json())
    name = taken.json()["id"]
    site.ask("PUT", "/records/rest_kept/k1", json={"n": "changed"})
    some = site.post("/records/rest_kept/snapshots", {"filter": {"n": "changed"}}).json()
    assert (some["count"], some["filter"]) == (1, {"n": "changed"})
    page = site.get(f"/snapshots/{name}/records", limit=2).json()
    assert [row["body"]["n"] for row in page["items"]] == [0, 1]
    assert [row["key"] for row in site.get(f"/snapshots/{name}/records", cursor=page["next_cursor"]).json()["items"]] == ["k2"]
    assert {row["id"] for row in site.get("/snapshots", collection="rest_kept").json()["items"]} == {name, some["id"]}
    assert site.get(f"/snapshots/{name}").json() == taken.json()
    problem_of(site.post("/records/rest_kept/snapshots", {"filter": {"n": {}}}), 422, "filter_invalid")
    problem_of(site.post("/records/rest_kept/snapshots", {}, "records:read"), 403, "permission_denied")
    assert site.ask("DELETE", f"/snapshots/{name}").json()["id"] == name
    problem_of(site.get(f"/snapshots/{name}"), 404, "snapshot_not_found")


@pytest.mark.anyio
async def test_over_mcp_a_spec_is_warned_and_a_snapshot_is_what_rest_shows(site: Site) -> None:
    spec = sender_spec(_name="send_by_mcp_mail", config={"from_domain": "example.com", "connection": "mcp_mail"})
    example = {"name": "nobody", "args": {"group": "g", "to": []}, "result": {"done": 0}}
    site.ask("PUT", "/records/mcp_kept/a", json={"n": 1})
    async with connected(site, "auto", "specs:write", "records:write", "records:read") as client:
        saved = await client.call_tool("toolmint_save_spec", spec.body() | {"examples": [example]})
        assert [warning["path"] for warning in saved.structured_content["warnings"]] == ["$.effects[0].config.connection"]
        taken = await client.call_tool("toolmint_snapshot_records", {"collection": "mcp_kept", "filter": {"n": 1}})
        assert taken.structured_content == site.get(f"/snapshots/{taken.structured_content['id']}").json()
        wrong = await client.call_tool("toolmint_snapshot_records", {"collection": "mcp_kept", "filter": {"n": {}}})
        assert wrong.is_error and (wrong.meta or {})["toolmint/code"] == "filter_invalid"
