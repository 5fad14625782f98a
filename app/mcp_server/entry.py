"""One management tool: who may use it, what it takes, which use case answers; and the hints that a client may be given of it.

It refuses to be: the table. That is `management`, with the entries about effects in `effect_tools`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from app.access.permissions import holds
from app.core.actor import Actor
from app.mcp_server.asking import Ask
from app.mcp_server.fields import integer, text
from app.spec.schemas import Validator, compile_schema

Answer = Callable[[Ask], Awaitable[dict[str, Any]]]
READ_ONLY = {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False}
WRITES = {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": False, "openWorldHint": False}
SAME_AGAIN = {**WRITES, "idempotentHint": True}
OUTWARD = {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True, "openWorldHint": True}
PAGE = {"cursor": text("next_cursor of the page before.", 2000), "limit": integer("How many; 50 unless given.", 1, 500)}
TOOL = text("Name of the tool.", 64)


@dataclass(frozen=True)
class Management:
    """One management tool. `open_to` any actor that holds one of `permissions`; `repeats`: it takes an idempotency key."""

    name: str
    title: str
    description: str
    permissions: tuple[str, ...]
    input_schema: dict[str, Any]
    answer: Answer
    annotations: Mapping[str, bool] = field(default_factory=lambda: READ_ONLY)
    repeats: bool = False

    def open_to(self, actor: Actor) -> bool:
        return any(holds(actor, permission) for permission in self.permissions)

    @cached_property
    def validator(self) -> Validator:
        return compile_schema(self.input_schema)

    @cached_property
    def dumped(self) -> dict[str, Any]:
        """The tool as `tools/list` shows it."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": self.input_schema,
            "annotations": {"title": self.title, **self.annotations},
        }
