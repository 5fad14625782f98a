"""Saving and reading specs, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import Forbidden, Invalid, NotFound
from app.spec.model import ExecutionSpec
from app.spec.revisions import list_revisions, load_spec, named_permissions, read_spec, save_checked, save_spec
from tests.unit.spec.sample import CATALOG, spec_body

AUTHOR = Actor("key_author", "author", "default", frozenset({"specs:write"}))
JUDGE = Actor("key_judge", "judge", "default", frozenset({"specs:held_out"}))
READER = Actor("key_reader", "reader", "default", frozenset({"candidates:submit"}))
CALLER = Actor("key_caller", "caller", "default", frozenset({"tools:call"}))
STRANGER = Actor("key_stranger", "stranger", "elsewhere", frozenset({"specs:write"}))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url, durable=False)
    yield database
    database.close()


def save(database: Database, changes: dict[str, Any] | None = None, actor: Actor = AUTHOR) -> dict[str, Any]:
    """Save what the check, which takes a process of its own, would find right."""
    row = save_checked(actor, database, ExecutionSpec.parse(json.dumps(spec_body(changes)).encode()))
    return {"name": row.name, "revision": row.revision, "digest": row.digest}


def check_and_save(database: Database, changes: dict[str, Any] | None = None, actor: Actor = AUTHOR) -> dict[str, Any]:
    return asyncio.run(save_spec(actor, database, spec_body(changes), CATALOG))


def test_revisions_count_from_one_and_the_same_content_is_the_same_revision(database: Database) -> None:
    first = check_and_save(database)
    second = save(database, {"title": "Greet them all"})
    assert (first["name"], first["revision"], second["revision"]) == ("greet", 1, 2)
    assert first["digest"] != second["digest"]
    assert save(database) == first
    assert save(database, {"run_key_ttl_s": 86_400}) == first  # the default, spelled out
    assert [row["revision"] for row in list_revisions(READER, database, "greet")] == [2, 1]


def test_the_latest_revision_is_read_unless_one_is_named(database: Database) -> None:
    save(database)
    save(database, {"title": "Second"})
    assert read_spec(READER, database, "greet")["spec"]["title"] == "Second"
    assert read_spec(READER, database, "greet", 1)["spec"]["title"] == "Greet people by mail"
    assert load_spec(database, "default", "greet", 1).spec.title == "Greet people by mail"


def test_held_out_examples_are_shown_to_those_who_may_see_them_alone(database: Database) -> None:
    saved = save(database)
    shown = [read_spec(actor, database, "greet")["spec"]["examples"] for actor in (READER, JUDGE)]
    assert [[example["name"] for example in examples] for examples in shown] == [["one person"], ["one person", "nobody"]]
    assert [example.name for example in load_spec(database, "default", "greet").spec.examples] == ["one person", "nobody"]
    assert read_spec(READER, database, "greet")["digest"] == saved["digest"]


def test_a_stored_spec_has_the_digest_that_it_is_stored_under(database: Database) -> None:
    saved = save(database)
    assert load_spec(database, "default", "greet").spec.digest == saved["digest"]


def test_a_wrong_spec_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(Invalid):
        check_and_save(database, {"effects.0.key": "[args.greeting_id]"})
    assert list_revisions(READER, database, "greet") == []


def test_without_the_permission_nothing_is_saved(database: Database) -> None:
    with pytest.raises(Forbidden):
        check_and_save(database, actor=READER)
    assert list_revisions(READER, database, "greet") == []


def test_another_tenant_has_specs_of_its_own(database: Database) -> None:
    save(database)
    with pytest.raises(NotFound) as missing:
        read_spec(STRANGER, database, "greet")
    assert missing.value.code == "spec_not_found"
    assert save(database, {"title": "Theirs"}, STRANGER)["revision"] == 1


@pytest.mark.parametrize(("name", "revision"), [("nobody", None), ("greet", 7)])
def test_an_unknown_name_or_revision_is_not_found(database: Database, name: str, revision: int | None) -> None:
    save(database)
    with pytest.raises(NotFound, match=name):
        read_spec(READER, database, name, revision)


def test_many_savers_at_once_get_revisions_of_their_own(database: Database) -> None:
    async def race() -> list[dict[str, Any]]:
        titles = [f"Title {number % 3}" for number in range(6)]
        return await asyncio.gather(*(asyncio.to_thread(save, database, {"title": title}) for title in titles))

    saved = asyncio.run(race())
    assert sorted({one["revision"] for one in saved}) == [1, 2, 3]
    assert len({one["digest"] for one in saved}) == 3


def test_to_a_mere_caller_there_are_no_specs(database: Database) -> None:
    save(database)
    with pytest.raises(NotFound) as caught:
        read_spec(CALLER, database, "greet")
    with pytest.raises(NotFound) as unknown:
        read_spec(CALLER, database, "nothing")
    assert caught.value.detail.replace("greet", "nothing") == unknown.value.detail and list_revisions(CALLER, database, "greet") == []


def test_the_permissions_that_specs_name_are_known_to_who_makes_keys(database: Database) -> None:
    for number, permissions in enumerate((["orders:refund"], ["orders:refund", "orders:read"], [])):
        save(database, {"name": f"named_{number}", "permissions": permissions})
    manager = Actor("key_manager", "manager", AUTHOR.tenant, frozenset({"keys:manage"}))
    assert named_permissions(manager, database) == {"orders:refund", "orders:read"}
