"""Small specs, saved as revisions without the check that a door makes: what the rooms above specs are tested with."""

from __future__ import annotations

from typing import Any

from app.core import ids
from app.core.db import Database, now
from app.spec.model import ExecutionSpec
from app.spec.models import SpecRevision

NOTHING = {"type": "object", "additionalProperties": False, "properties": {}}
SEND: dict[str, Any] = {"id": "send", "connector": "email.send", "key": "[item.to]", "undo_reason": "an e-mail cannot be called back"}


def contract(name: str = "greet", *, effects: bool = False, **fields: Any) -> ExecutionSpec:
    """A spec that declares nothing, or one effect."""
    body = {
        "spec_version": "1",
        "name": name,
        "title": "Greet",
        "description": "Greets.",
        "inputs": NOTHING,
        "outputs": NOTHING,
        "effects": (SEND,) if effects else (),
        **fields,
    }
    return ExecutionSpec.model_validate(body, strict=False)


def save(database: Database, spec: ExecutionSpec, revision: int = 1, tenant: str = "default") -> ExecutionSpec:
    """Store the spec as that revision."""
    with database.writing() as session:
        session.add(
            SpecRevision(
                id=ids.new("spec"),
                tenant=tenant,
                name=spec.name,
                revision=revision,
                digest=spec.digest,
                body=spec.canonical().decode(),
                created_at=now(session),
                created_by="system",
            )
        )
    return spec
