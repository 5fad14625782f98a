"""One call of a management tool, as a value: who asks, with what, of which services, and how its caller waits.

It refuses to be: the protocol's request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from app.core.actor import Actor
from app.invocation.calling import Waiting
from app.invocation.parts import Services

P = ParamSpec("P")
W = TypeVar("W")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Ask:
    """`args` have been checked against the tool's schema. `waiting` says how long a published tool may be waited for."""

    actor: Actor
    services: Services
    args: dict[str, Any]
    waiting: Waiting
    key: str | None
    approval: str | None = None

    async def of(self, use_case: Callable[Concatenate[Actor, W, P], R], world: W, *args: P.args, **kwargs: P.kwargs) -> R:
        """A use case, in a thread."""
        return await asyncio.to_thread(use_case, self.actor, world, *args, **kwargs)

    def given(self, *names: str) -> dict[str, Any]:
        """The arguments of these names that are there."""
        return {name: self.args[name] for name in names if name in self.args}
