"""Keys: made once, shown once, recognised fast, refused all alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlmodel import col, select

from app.access import admin, authentication, keys
from app.access.models import ApiKey
from app.core.actor import SYSTEM, Actor
from app.core.clock import ScriptedClock
from app.core.db import Database
from app.core.errors import Forbidden, Invalid, NotFound, ToolmintError, Unauthenticated
from app.core.settings import Settings
from app.observability.models import AuditEvent


def refused(database: Database, text: str | None) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        authentication.authenticate(database, text)
    return caught.value


def events(database: Database, action: str) -> list[AuditEvent]:
    with database.reading() as session:
        return list(session.exec(select(AuditEvent).where(AuditEvent.action == action).order_by(col(AuditEvent.id))))


def test_a_key_is_shown_once_and_kept_as_a_digest(database: Database) -> None:
    made = keys.create_key(SYSTEM, database, "campaigns", ["tools:call", "campaigns:send"])
    assert made["key"].startswith("tm_") and made["id"].startswith("key_") and made["expires_at"] is None
    assert made["key"].split("_")[1] == made["id"].removeprefix("key_")
    with database.reading() as session:
        row = session.exec(select(ApiKey)).one()
        told = session.exec(select(AuditEvent)).one()
    assert made["key"] not in repr(row) and row.digest == keys.digest_of(made["key"])
    assert made["key"] not in repr(told) and (told.action, told.outcome) == ("key.created", "done")
    (listed,) = keys.list_keys(SYSTEM, database)["items"]
    assert "key" not in listed and listed["id"] == made["id"] and listed["last_used_at"] is None


def test_the_key_makes_an_actor_with_its_permissions(database: Database) -> None:
    made = keys.create_key(SYSTEM, database, "campaigns", ["tools:call"])
    assert authentication.authenticate(database, made["key"]) == Actor(made["id"], "campaigns", "default", frozenset({"tools:call"}))


def test_every_refusal_has_its_code_and_the_same_detail(database: Database, clock: ScriptedClock) -> None:
    expiring = keys.create_key(SYSTEM, database, "short", [], clock.at + 5000)
    revoked = keys.create_key(SYSTEM, database, "gone", [])
    keys.revoke_key(SYSTEM, database, revoked["id"])
    clock.advance(5000)
    texts = {"key_missing": None, "key_invalid": expiring["key"] + "x", "key_expired": expiring["key"], "key_revoked": revoked["key"]}
    errors = {code: refused(database, text) for code, text in texts.items()}
    assert {code: error.code for code, error in errors.items()} == {code: code for code in texts}
    assert len({(error.detail, error.fix) for error in errors.values()}) == 1
    assert refused(database, "k" * 100_000).code == "key_invalid"
    assert refused(database, "\udcff").code == "key_invalid"


def test_a_verified_key_is_believed_for_a_second_and_no_longer(database: Database, clock: ScriptedClock) -> None:
    made = keys.create_key(SYSTEM, database, "campaigns", [])
    authentication.authenticate(database, made["key"])
    with database.writing() as session:  # as another process would revoke it
        row = session.get_one(ApiKey, made["id"])
        row.revoked_at = clock.at
        session.add(row)
    assert authentication.recall(database, made["key"]) is not None
    clock.advance(1000)
    assert authentication.recall(database, made["key"]) is None
    assert refused(database, made["key"]).code == "key_revoked"


def test_a_revocation_takes_effect_at_once_in_the_same_process(database: Database) -> None:
    made = keys.create_key(SYSTEM, database, "campaigns", [])
    authentication.authenticate(database, made["key"])
    assert keys.revoke_key(SYSTEM, database, made["id"])["revoked_at"] is not None
    assert refused(database, made["key"]).code == "key_revoked"


def test_an_expiry_holds_even_for_a_key_that_was_just_verified(database: Database, clock: ScriptedClock) -> None:
    made = keys.create_key(SYSTEM, database, "campaigns", [], "2026-03-01T09:00:00.500Z")
    authentication.authenticate(database, made["key"])
    clock.advance(500)
    assert refused(database, made["key"]).code == "key_expired"


def test_last_use_is_stamped_at_most_once_a_minute(database: Database, clock: ScriptedClock) -> None:
    made = keys.create_key(SYSTEM, database, "campaigns", [])
    stamps = []
    for step in (0, 30_000, 29_000, 1_000):
        clock.advance(step)
        authentication.authenticate(database, made["key"])
        stamps.append(keys.list_keys(SYSTEM, database)["items"][0]["last_used_at"])
    assert stamps == ["2026-03-01T09:00:00.000Z"] * 3 + ["2026-03-01T09:01:00.000Z"]


def test_refusals_are_told_to_the_audit_trail_once_a_minute(database: Database, clock: ScriptedClock) -> None:
    for _ in range(20):
        refused(database, "tm_guess")
    assert [(event.target, event.body) for event in events(database, "key.refused")] == [("unknown", {"code": "key_invalid"})]
    clock.advance(60_000)
    refused(database, "tm_guess")
    assert len(events(database, "key.refused")) == 2


def test_nobody_grants_what_they_do_not_hold(database: Database) -> None:
    agent = Actor("key_a", "agent", "default", frozenset({"keys:manage", "tools:call"}))
    assert keys.create_key(agent, database, "less", ["tools:call"])["permissions"] == ["tools:call"]
    for beyond in ("tools:publish", "*"):
        with pytest.raises(Forbidden) as caught:
            keys.create_key(agent, database, "more", ["tools:call", beyond])
        assert caught.value.code == "permission_escalation" and beyond in caught.value.detail
    assert [event.outcome for event in events(database, "key.created")] == ["done", "refused", "refused"]


def test_managing_keys_needs_the_permission_and_the_refusal_is_audited(database: Database) -> None:
    caller = Actor("key_a", "agent", "default", frozenset({"tools:call"}))
    with pytest.raises(Forbidden, match="permission_denied"):
        keys.list_keys(caller, database)
    with pytest.raises(Forbidden, match="permission_denied"):
        keys.create_key(caller, database, "x", [])
    assert len(events(database, "permission.denied")) == 2


@pytest.mark.parametrize(
    ("name", "permissions", "expires_at"),
    [
        *[("", [], None), ("a\nb", [], None), ("x" * 121, [], None), ("x", ["Tools"], None)],
        *[("x", [], 1), ("x", [], "2030-01-01T00:00:00"), ("x", [], "9999-12-31T23:59:59-23:59")],
    ],
)
def test_a_key_request_that_is_wrong_says_where(
    database: Database, name: str, permissions: list[str], expires_at: int | str | None
) -> None:
    with pytest.raises(Invalid) as caught:
        keys.create_key(SYSTEM, database, name, permissions, expires_at)
    assert caught.value.code == "key_request_invalid" and caught.value.problems[0].fix
    assert keys.list_keys(SYSTEM, database)["items"] == []


def test_keys_are_listed_in_pages_and_by_tenant(database: Database, clock: ScriptedClock) -> None:
    for number in range(5):
        clock.advance(1)
        keys.create_key(SYSTEM, database, f"key {number}", [])
    other = Actor("system", "system", "other", frozenset({"*"}))
    assert keys.list_keys(other, database) == {"items": [], "next_cursor": None}
    names, cursor = [], None
    while True:
        page = keys.list_keys(SYSTEM, database, cursor, 2)
        names += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == [f"key {number}" for number in reversed(range(5))]
    with pytest.raises(NotFound):
        keys.revoke_key(other, database, page["items"][0]["id"])


def test_the_first_start_makes_an_admin_key_in_a_private_file(database: Database, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    path = admin.ensure_admin(database, settings)
    assert path == tmp_path / "home" / "admin.key" and path.stat().st_mode & 0o777 == 0o600
    text = path.read_text().strip()
    assert authentication.authenticate(database, text).may("keys:manage")
    assert admin.ensure_admin(database, settings) is None
    assert authentication.authenticate(database, text).id == "key_admin"


def test_a_file_for_the_admin_key_that_is_empty_is_filled_at_the_first_start(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "admin.key"
    path.touch()
    assert admin.ensure_admin(database, Settings(home=tmp_path)) == path and path.stat().st_mode & 0o777 == 0o600
    assert authentication.authenticate(database, path.read_text().strip()).id == "key_admin"


def test_an_admin_key_from_the_settings_replaces_the_one_before(database: Database, tmp_path: Path) -> None:
    home = tmp_path / "home"
    path = admin.ensure_admin(database, Settings(home=home))
    assert path is not None
    assert admin.ensure_admin(database, Settings(home=home, admin_key="chosen-by-an-operator")) is None
    assert authentication.authenticate(database, "chosen-by-an-operator").id == "key_admin"
    assert refused(database, path.read_text().strip()).code == "key_invalid"
    with pytest.raises(ToolmintError, match="settings_invalid") as caught:
        admin.ensure_admin(database, Settings(home=home, admin_key="short"))
    assert "short" not in repr(caught.value.as_dict())


def test_a_slip_in_a_permission_of_the_service_is_refused_with_what_was_meant(database: Database) -> None:
    for wrong in ("tools:cal", "approval:tools:cal"):
        with pytest.raises(Invalid, match="key_request_invalid") as caught:
            keys.create_key(SYSTEM, database, "agent", [wrong])
        assert "Did you mean tools:call?" in caught.value.problems[0].fix and "keys:manage" in caught.value.problems[0].fix
    assert keys.create_key(SYSTEM, database, "agent", ["records:audit"], named={"records:audit"})["warnings"] == []


def test_a_permission_that_no_spec_names_is_warned_of_with_those_that_specs_name(database: Database) -> None:
    made = keys.create_key(
        SYSTEM, database, "agent", ["campaign:send", "tools:call", "approval:campaigns:send", "*"], named={"campaigns:send"}
    )
    assert len(made["warnings"]) == 1 and made["warnings"][0].startswith("campaign:send: ") and "campaigns:send" in made["warnings"][0]
    assert keys.create_key(SYSTEM, database, "agent", ["campaign:send"])["warnings"] == []


def test_who_holds_a_permission_may_grant_it_under_the_condition_of_an_approval_and_not_the_reverse(database: Database) -> None:
    holder = Actor("key_1", "one", "default", frozenset({"keys:manage", "tools:call"}))
    assert keys.create_key(holder, database, "agent", ["approval:tools:call"])["permissions"] == ["approval:tools:call"]
    asker = Actor("key_2", "two", "default", frozenset({"keys:manage", "approval:tools:call"}))
    assert asker.may_ask("tools:call") and not asker.may("tools:call")
    keys.create_key(asker, database, "agent", ["approval:tools:call"])
    with pytest.raises(Forbidden, match="permission_escalation"):
        keys.create_key(asker, database, "agent", ["tools:call"])
