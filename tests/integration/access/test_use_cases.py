"""Every use case of every room asks who calls: none opens without an actor, none that names a permission without it."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable
from typing import Any

import pytest
from sqlmodel import select

import app
from app.access.permissions import PERMISSIONS, USE_CASES, is_async
from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import Forbidden
from app.observability.models import AuditEvent

DOORS = ("app.main", "app.cli", "app.api", "app.mcp_server", "app.web", "app.verification.inside")
NOBODY = Actor("key_nobody", "nobody", "default", frozenset())


def rooms() -> list[str]:
    found = pkgutil.walk_packages(app.__path__, "app.", onerror=lambda _name: None)
    return [module.name for module in found if not module.name.startswith(DOORS)]


for name in rooms():
    importlib.import_module(name)
CASES = sorted(USE_CASES)
GUARDED = [name for name in CASES if USE_CASES[name][0] is not None]


def call(function: Callable[..., Any], *arguments: Any) -> None:
    answer = function(*arguments)
    if is_async(function):
        asyncio.run(answer)


def test_the_list_is_that_of_the_rooms() -> None:
    named = {name.rsplit(".", 1)[0] for name in CASES}
    assert {"app.access.keys", "app.access.trail", "app.candidates.approval", "app.codegen.generation", "app.economics.costs"} <= named
    assert {permission for permission, _ in USE_CASES.values()} - {None} <= set(PERMISSIONS)


WORLDS = {"database", "catalog", "calls", "world", "services"}
UNMARKED = {
    "app.access.permissions.require": "it is the check itself",
    "app.invocation.answers.answer_of_row": "it reads by read_run, which asks",
    "app.invocation.admission.admitted": "a part of call_tool, which has asked",
    "app.invocation.admission.room_for": "a part of call_tool, which has asked",
    "app.runtime.flow.pausing.begin_pause": "a part of the use case pause, which has asked",
    "app.runtime.flow.pausing.end_pause": "a part of the use case resume, which has asked",
    "app.spec.revisions.save_checked": "a part of the use case save_spec, which has asked and checked",
}


def test_whatever_takes_an_actor_and_a_database_is_a_use_case() -> None:
    functions = {
        f"{name}.{each.__name__}"
        for name in rooms()
        for each in vars(sys.modules[name]).values()
        if inspect.isfunction(each) and each.__module__ == name and not each.__name__.startswith("_") and _for_callers(each)
    }
    assert functions - set(CASES) == set(UNMARKED)


def _for_callers(function: Callable[..., Any]) -> bool:
    names = list(inspect.signature(function).parameters)[:2]
    return len(names) == 2 and names[0] == "actor" and names[1] in WORLDS


@pytest.mark.parametrize("name", CASES)
def test_no_use_case_opens_without_an_actor(name: str, sqlite_database: Database) -> None:
    for stranger in (None, "key_admin", {"id": "key_admin", "permissions": ["*"]}):
        with pytest.raises(Forbidden, match="actor_required"):
            call(USE_CASES[name][1], stranger, sqlite_database)


@pytest.mark.parametrize("name", GUARDED)
def test_no_guarded_use_case_opens_without_its_permission_and_the_refusal_is_audited(name: str, sqlite_database: Database) -> None:
    permission, function = USE_CASES[name]
    with pytest.raises(Forbidden, match="permission_denied"):
        call(function, NOBODY, sqlite_database)
    with sqlite_database.reading() as session:
        event = session.exec(select(AuditEvent)).one()
    assert (event.actor, event.action, event.outcome) == ("key_nobody", "permission.denied", "refused")
    assert event.body == {"permission": permission}
