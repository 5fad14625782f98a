"""Permissions, checked where the work is done: every use case names the one that it needs.

`@use_case("specs:write")` refuses a caller that is no Actor or lacks the permission, and writes the refusal to the
audit trail. A test enumerates `USE_CASES`, so that no door opens without an actor.

It refuses to be: a check in a front door.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import Forbidden
from app.observability import audit

PERMISSIONS = {
    "specs:write": "save specs",
    "specs:held_out": "see held-out examples",
    "candidates:submit": "submit candidates and start generations",
    "candidates:approve": "approve or reject candidates of others",
    "tools:publish": "publish versions",
    "tools:rollback": "roll back, pin channels, deprecate and yank",
    "tools:call": "call published tools",
    "calls:approve": "approve or reject calls of others that need it",
    "effects:resolve": "decide on unknown effects and redrive",
    "runs:pause": "pause and resume tools, connectors and everything",
    "records:read": "read records",
    "records:write": "write and import records",
    "connections:manage": "name, change and test connections",
    "keys:manage": "create and revoke keys",
    "audit:read": "read the audit trail",
}

CALL = "tools:call"


class HasDatabase(Protocol):
    """What a use case works on: the database itself or a value that holds it."""

    @property
    def database(self) -> Database: ...


P = ParamSpec("P")
D = TypeVar("D", bound="Database | HasDatabase")
T = TypeVar("T")
USE_CASES: dict[str, tuple[str | None, Callable[..., Any]]] = {}


def use_case(permission: str | None) -> Callable[[Callable[Concatenate[Actor, D, P], T]], Callable[Concatenate[Actor, D, P], T]]:
    """Mark a use case `(actor, database, …)`. `permission` None: any actor may call; the body decides on what it shows."""

    def mark(function: Callable[Concatenate[Actor, D, P], T]) -> Callable[Concatenate[Actor, D, P], T]:
        name = f"{function.__module__}.{function.__qualname__}"

        @functools.wraps(function)
        def guarded(actor: Actor, world: D, /, *args: P.args, **kwargs: P.kwargs) -> T:
            if not isinstance(actor, Actor):
                raise Forbidden("actor_required", "This needs an authenticated actor.", fix="Send a valid key.")
            if permission is not None:
                require(actor, world, permission, function.__name__)
            return function(actor, world, *args, **kwargs)

        USE_CASES[name] = (permission, guarded)
        return cast("Callable[Concatenate[Actor, D, P], T]", guarded)

    if permission is not None and permission not in PERMISSIONS:
        raise ValueError(f"unknown permission {permission!r}")
    return mark


def holds(actor: Actor, permission: str) -> bool:
    """Whether a door opens to the actor. Who may call with an approval only is a caller: it lists tools, sees and cancels its runs."""
    return actor.may_ask(permission) if permission == CALL else actor.may(permission)


def require(actor: Actor, world: Database | HasDatabase, permission: str, target: str) -> None:
    """Raise Forbidden `permission_denied`, and record it, unless the actor holds `permission`."""
    if holds(actor, permission):
        return
    database = world if isinstance(world, Database) else world.database
    with database.writing() as session:
        audit.record(session, actor, "permission.denied", target, "refused", permission=permission)
    raise Forbidden(
        "permission_denied", f"The key {actor.name!r} lacks the permission {permission}.", fix=f"Use a key that has {permission}."
    )


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a use case must be awaited."""
    return inspect.iscoroutinefunction(inspect.unwrap(function))
