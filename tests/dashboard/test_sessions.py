"""Who gets in, what forged requests get, and what every answer carries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.routing import APIRoute
from sqlmodel import col

from app.access.keys import create_key, digest_of, revoke_key
from app.access.models import ApiKey
from app.core.actor import DEFAULT_TENANT, SYSTEM
from app.core.clock import ScriptedClock
from app.core.errors import Failed
from app.core.feed import announce
from app.web.routes import RESOURCES
from app.web.sessions import LIFETIME_MS, Sessions, Ticket, signing_secret
from tests.dashboard.client import Client
from tests.dashboard.ids import TOOL, UNKNOWN, approval, candidate, run
from tests.dashboard.seed import AGENT_KEY, OPERATOR_KEY, VIEWER_KEY
from tests.dashboard.site import Site

ROUTES = [route for resource in RESOURCES for route in resource.router.routes if isinstance(route, APIRoute)]
OPEN = {"/sign-in"}


def filled(path: str, site: Site) -> str:
    values = {"name": TOOL, "number": "2", "tab": "code", "candidate_id": candidate(site, "passed"), "run_id": run(site, "executing")}
    values |= {"state": "dead", "effect_id": UNKNOWN, "key_id": "key_agent", "group:path": "spring-2026", "approval_id": approval(site)}
    values |= {"decision_id": "redrive_seeded", "kind": "smtp"}
    for name, value in values.items():
        path = path.replace("{" + name + "}", value)
    assert "{" not in path
    return path


@pytest.fixture(scope="module")
def admin(site: Site) -> Iterator[Client]:
    client = Client(site)
    yield client
    client.close()


@pytest.fixture(scope="module")
def stranger(site: Site) -> Iterator[Client]:
    client = Client(site, key=None)
    yield client
    client.close()


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES if "GET" in (route.methods or ())} - OPEN))
def test_every_page_sends_a_stranger_to_the_sign_in_page(site: Site, stranger: Client, path: str) -> None:
    answer = stranger.get(filled(path, site))
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in")


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES if "POST" in (route.methods or ())} - OPEN))
def test_every_form_is_refused_without_the_token_of_this_very_session(site: Site, admin: Client, path: str) -> None:
    other = Client(site, OPERATOR_KEY)
    for token in ("", "0" * 64, "é", other.token):
        answer = admin.post(filled(path, site), token=token)
        assert answer.status_code == 403
        assert "form_expired" in answer.text
    for header in ("cross-site", "same-site"):
        answer = admin.post(filled(path, site), sec_fetch_site=header)
        assert answer.status_code == 403
        assert "cross_site" in answer.text
    assert admin.post(filled(path, site), origin="https://elsewhere.example").status_code == 403
    other.close()


def test_the_sign_in_form_is_refused_from_another_site(stranger: Client, site: Site) -> None:
    answer = stranger.http.post("/sign-in", data={"key": site.key}, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_wrong_key_is_told_and_sets_no_cookie(stranger: Client) -> None:
    answer = stranger.http.post("/sign-in", data={"key": "tm_wrong"})
    assert answer.status_code == 401
    assert "not valid" in answer.text
    assert "set-cookie" not in answer.headers


def test_the_cookie_is_kept_from_scripts_and_holds_no_key(site: Site) -> None:
    client = Client(site, key=None)
    answer = client.http.post("/sign-in", data={"key": site.key, "next": "/runs?state=failed"})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie  # this one is plain http
    assert site.key not in cookie
    assert answer.headers["location"] == "/runs?state=failed"
    client.close()


@pytest.mark.parametrize("wanted", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example", "javascript:1", "/a\nb"])
def test_signing_in_leads_nowhere_else(site: Site, wanted: str) -> None:
    client = Client(site, key=None)
    assert client.http.post("/sign-in", data={"key": site.key, "next": wanted}).headers["location"] == "/"
    client.close()


def test_a_revoked_key_ends_its_sessions(own_site: Site) -> None:
    client = Client(own_site, AGENT_KEY)
    assert client.get("/tools").status_code == 200
    revoke_key(SYSTEM, own_site.database, "key_agent")
    answer = client.get("/tools")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=/tools&over=1"
    assert "revoked" in client.get(answer.headers["location"]).text
    client.close()


def test_a_revoked_key_ends_its_streams(own_site: Site) -> None:
    client, run_id = Client(own_site, AGENT_KEY), run(own_site, "executing")
    with client.http.stream("GET", f"/runs/{run_id}/events") as answer:
        lines = answer.iter_lines()
        first = next(lines)
        revoke_key(SYSTEM, own_site.database, "key_agent")
        with own_site.database.writing() as session:
            announce(session, "run.progress", run_id, DEFAULT_TENANT)
        rest = list(lines)
    client.close()
    assert first.startswith("data: ") and rest[-3:] == ["event: done", "data: over", ""]


def test_signing_out_ends_the_session(own_site: Site) -> None:
    client = Client(own_site)
    assert client.post("/sign-out").headers["location"] == "/sign-in"
    assert client.get("/tools").headers["location"].startswith("/sign-in")
    client.close()


def test_htmx_is_sent_to_the_sign_in_page_by_a_header(stranger: Client) -> None:
    answer = stranger.get("/runs", hx_request="true", hx_request_type="partial")
    assert answer.headers["hx-redirect"].startswith("/sign-in")


def test_every_answer_carries_the_policy_and_pages_are_not_stored(admin: Client) -> None:
    for path in ("/", "/nothing", "/static/app.js", "/sign-in"):
        headers = admin.get(path).headers
        assert "script-src 'self';" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    assert admin.get("/").headers["cache-control"] == "no-store"


def test_the_page_for_what_nobody_foresaw_carries_the_policy_too(own_site: Site) -> None:
    client = Client(own_site)
    with own_site.database.writing() as session:
        session.connection().exec_driver_sql("DROP TABLE ledger")
    answer = client.get("/ledgers")
    client.close()
    assert answer.status_code == 500 and "page_failed" in answer.text
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"


def test_a_field_with_a_nul_is_refused(admin: Client) -> None:
    answer = admin.post("/keys", {"name": "a\0b", "permissions": "tools:call"})
    assert answer.status_code == 422 and "form_invalid" in answer.text


def test_a_form_that_outgrows_its_bound_is_refused(admin: Client) -> None:
    answer = admin.post("/keys", {"name": "x" * 8_500_000})
    assert answer.status_code == 413
    assert admin.post("/keys", {f"field{number}": "x" for number in range(600)}).status_code == 422


def test_a_key_without_permissions_is_told_what_it_lacks_and_its_refusal_is_recorded(site: Site, admin: Client) -> None:
    viewer = Client(site, VIEWER_KEY)
    for path, permission in (("/audit", "audit:read"), ("/keys", "keys:manage"), ("/outbox", "records:read")):
        answer = viewer.get(path)
        assert answer.status_code == 403
        assert permission in answer.text
    assert "permission.denied" in admin.get("/audit?by=key_viewer&action=permission").text
    assert "/keys" not in viewer.get("/").text
    viewer.close()


def test_a_ticket_is_good_for_its_time_and_for_its_signer_only(tmp_path: Path) -> None:
    clock = ScriptedClock()
    ours = Sessions(signing_secret(tmp_path / "a"), secure=False, port=1)
    theirs = Sessions(signing_secret(tmp_path / "b"), secure=False, port=1)
    sealed = ours.seal(ours.issue("key_x", clock.now()))
    assert ours.open(sealed, clock.now()) is not None
    assert theirs.open(sealed, clock.now()) is None
    assert ours.open(sealed, clock.now() + LIFETIME_MS) is None
    for broken in (None, "", ".", sealed[:-1], "x" + sealed, sealed.replace(".", ".0"), "é.é", ours.seal_note("hello")):
        assert ours.open(broken, clock.now()) is None
    assert ours.open_note(sealed) is None


def test_a_session_ends_when_the_text_of_its_key_is_replaced(site: Site) -> None:
    made = create_key(SYSTEM, site.parts.database, "rotated", ["audit:read"])
    client = Client(site, made["key"])
    assert client.get("/audit").status_code == 200
    with site.parts.database.writing() as session:
        session.connection().execute(sa.update(ApiKey).where(col(ApiKey.id) == made["id"]).values(digest=digest_of("another text")))
    answer = client.get("/audit")
    client.close()
    assert answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")


def test_the_secret_that_signs_sessions_is_made_once_for_its_owner_alone_and_an_empty_one_signs_nothing(tmp_path: Path) -> None:
    secret, path = signing_secret(tmp_path), tmp_path / "session.secret"
    assert signing_secret(tmp_path) == secret and len(secret) >= 32 and path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"")
    with pytest.raises(Failed) as refused:
        signing_secret(tmp_path)
    assert refused.value.code == "session_secret_broken" and refused.value.fix


def test_tokens_differ_between_sessions_of_one_key(tmp_path: Path) -> None:
    sessions = Sessions(signing_secret(tmp_path), secure=True, port=1)
    assert sessions.csrf(Ticket("key_x", "a", 1)) != sessions.csrf(Ticket("key_x", "b", 1))
    assert sessions.cookie == "__Host-toolmint"


def test_the_secret_is_made_once_and_is_readable_by_the_owner_alone(tmp_path: Path) -> None:
    assert signing_secret(tmp_path) == signing_secret(tmp_path)
    assert (tmp_path / "session.secret").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["session.secret"]
