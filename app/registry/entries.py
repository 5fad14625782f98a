"""A published tool as the catalog holds it in memory: its channels, and the spec of the version that `stable` points to.

It refuses to be: a row. It is built from rows and thrown away when they change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from app.core.actor import Actor
from app.core.errors import ToolmintError
from app.spec.model import ExecutionSpec

CALL = "tools:call"
MANAGERS = ("tools:publish", "tools:rollback", "candidates:approve", "calls:approve", "audit:read")
STABLE = "stable"


@dataclass(frozen=True, slots=True)
class Pointer:
    """A channel at a moment: it gets `weight` parts of the calls of its tool."""

    channel: str
    version: int
    weight: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a version does not load: the code, what is wrong, and what to do."""

    code: str
    detail: str
    fix: str

    @classmethod
    def of(cls, error: ToolmintError) -> Refused:
        return cls(error.code, error.detail, error.fix)

    @property
    def shape(self) -> dict[str, str]:
        """`{"code", "detail", "fix"}`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Entry:
    """One published tool. `spec` is without held-out examples; `shape` is the tool as REST lists it, not to be changed.

    `refused` is why its stable version does not load, and then its texts are not vouched for.
    """

    tenant: str
    name: str
    pointers: tuple[Pointer, ...]
    digest: str
    evidence_digest: str
    spec: ExecutionSpec
    shape: Mapping[str, Any]
    refused: Refused | None = None

    @property
    def version(self) -> int:
        """The version that `stable` points to."""
        return self.pointers[0].version

    def callable_by(self, actor: Actor) -> bool:
        """Whether the actor may call it, be it with an approval only: `tools:call` and every permission that its spec names."""
        return actor.tenant == self.tenant and all(actor.may_ask(permission) for permission in (CALL, *self.spec.permissions))

    def visible_to(self, actor: Actor) -> bool:
        """Whether the actor may know of it: callers unless it is refused, and those who publish, approve, roll back or audit."""
        called = self.refused is None and self.callable_by(actor)
        return called or (actor.tenant == self.tenant and any(actor.may(permission) for permission in MANAGERS))


def tool_shape(
    spec: ExecutionSpec,
    pointers: tuple[Pointer, ...],
    annotations: Mapping[str, Any],
    proved: Mapping[str, Any],
    refused: Refused | None = None,
) -> dict[str, Any]:
    """`{"name", "title", "description", "input_schema", "output_schema", "annotations", "permissions", "channels"}`, and `refused`.

    `annotations_evidence` says what the annotations rest on, see `proof.told`; `refused` is there for a tool that does not load alone.
    """
    shape = {
        "name": spec.name,
        "title": spec.title,
        "description": spec.description,
        "input_schema": spec.inputs,
        "output_schema": spec.outputs,
        "annotations": dict(annotations),
        "annotations_evidence": dict(proved),
        "permissions": list(spec.permissions),
        "channels": {pointer.channel: {"version": pointer.version, "weight": pointer.weight} for pointer in pointers},
    }
    return shape if refused is None else {**shape, "refused": refused.shape}
