"""What an operator allows: effects a second and in flight by connector, runs at once and calls by tool, when circuits open.

`TOOLMINT_CONNECTOR_LIMITS` and `TOOLMINT_TOOL_LIMITS` are JSON objects by name; `*` stands for each that is not named:

    {"email.send": {"per_second": 50, "in_flight": 20}}        {"*": {"runs": 8}, "campaign_send_bulk": {"runs": 1, "calls": 20}}

A limit of a connector that is used through a named connection may be given to that connection alone: `http.request/billing`.

It refuses to be: a spec. A spec's `limits.per_second` is its author's promise; these are the operator's, and the tighter one holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.core.errors import Invalid, Problem
from app.core.settings import Settings

EACH = "*"


class ConnectorLimits(BaseModel):
    """`per_second` effects begun, `in_flight` effects under way, both over all processes; None: no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    per_second: Annotated[float, Field(gt=0, le=10_000)] | None = None
    in_flight: Annotated[int, Field(ge=1, le=100_000)] | None = None


class ToolLimits(BaseModel):
    """`runs` that execute at once over all processes; `calls` that may be open at once: waiting or under way."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    runs: Annotated[int, Field(ge=1, le=100_000)] | None = None
    calls: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


@dataclass(frozen=True, slots=True)
class Fuse:
    """When a circuit opens, and how long it rests. `failures` in a row; 0: it never opens.

    Also where 8 of 10 attempts failed, of at least `5 * failures` within `WINDOW_MS`: a server that now and then lets one through.
    """

    failures: int = 10
    rest_ms: int = 2_000
    longest_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of an installation. `calls_per_actor` and `calls_per_tool` are calls that one web process answers at once."""

    connectors: Mapping[str, ConnectorLimits] = field(default_factory=dict)
    tools: Mapping[str, ToolLimits] = field(default_factory=dict)
    fuse: Fuse = Fuse()
    calls_per_actor: int = 64
    calls_per_tool: int = 128
    open_per_actor: int = 1000

    def connector(self, name: str, connection: str | None = None) -> tuple[str, ConnectorLimits]:
        """The limits of a connector, with the name that they are counted under."""
        for known in (f"{name}/{connection}" if connection else name, name, EACH):
            if known in self.connectors:
                return name if known == EACH else known, self.connectors[known]
        return name, ConnectorLimits()

    def tool(self, name: str) -> ToolLimits:
        """The limits of a tool."""
        return self.tools.get(name) or self.tools.get(EACH) or ToolLimits()

    def runs_of(self, tool: str) -> int | None:
        """How many runs of a tool may execute at once; None: any number."""
        return self.tool(tool).runs

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Raises Invalid `settings_invalid` naming the variable that is wrong."""
        return cls(
            connectors=_read("TOOLMINT_CONNECTOR_LIMITS", settings.connector_limits, ConnectorLimits),
            tools=_read("TOOLMINT_TOOL_LIMITS", settings.tool_limits, ToolLimits),
            fuse=Fuse(settings.circuit_failures, round(settings.circuit_rest_s * 1000), round(settings.circuit_longest_s * 1000)),
            calls_per_actor=settings.calls_per_actor,
            calls_per_tool=settings.calls_per_tool,
            open_per_actor=settings.open_runs_per_actor,
        )


def _read(variable: str, text: str, kind: Any) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        found: dict[str, Any] = TypeAdapter(dict[str, kind]).validate_python(json.loads(text))
    except ValueError as error:
        said = "it is no JSON object" if not isinstance(error, ValidationError) else _said(error)
        fix = 'Such as {"email.send": {"per_second": 50, "in_flight": 20}}.' if kind is ConnectorLimits else 'Such as {"*": {"runs": 8}}.'
        raise Invalid("settings_invalid", "Some settings are wrong.", problems=[Problem(variable, said, fix)]) from None
    return found


def _said(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
