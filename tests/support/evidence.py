"""Versions whose evidence is looked at: what is published, how it is altered, and what was audited.

It refuses to be: a check. What an altered version does is for tests to say.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from app.core.db import Database
from app.core.errors import ToolmintError
from app.observability.models import AuditEvent
from app.registry.catalog import Catalog
from tests.support.published import release, release_sender

TOOL, VERSION = "send_notes", ("default", "send_notes", 1)
OF_FIRST, OF_SECOND = (f"tenant = 'default' AND tool = 'send_notes' AND version = {version}" for version in (1, 2))
ITS_CANDIDATE = f"(SELECT candidate_id FROM version WHERE {OF_FIRST})"
ITS_DIGEST = f"(SELECT digest FROM version WHERE {OF_FIRST})"
EXAMPLES = [
    {"name": "shown", "args": {"group": "g", "to": ["a@example.com"]}, "error": {"code": "none"}},
    {"name": "hidden", "args": {"group": "g", "to": ["secret@example.com"]}, "error": {"code": "none"}, "visibility": "held_out"},
]


def started(catalog: Catalog) -> Catalog:
    """Another process, which remembers nothing."""
    made = Catalog(catalog.database, catalog.tools_dir, catalog.kinds, catalog.keys)
    made.load.look_again_ms = made.load.vouched.look_again_ms = 0
    return made


def change(database: Database, statement: str, **values: object) -> None:
    """Change a row behind the back of the rooms."""
    with database.writing() as session:
        assert session.connection().execute(sa.text(statement), values).rowcount > 0


def code_of(attempt: Callable[[], object]) -> str:
    """With which code this is refused."""
    with pytest.raises(ToolmintError) as caught:
        attempt()
    assert caught.value.fix
    return caught.value.code


def refusals(database: Database, action: str = "artifact.loaded") -> list[tuple[str, str, str]]:
    """What was audited of an action: target, outcome, code."""
    with database.reading() as session:
        rows = session.exec(select(AuditEvent).where(AuditEvent.action == action).order_by(col(AuditEvent.id))).all()
    return [(row.target, row.outcome, (row.body or {}).get("code", "")) for row in rows]


def plant(catalog: Catalog) -> None:
    """Publish a tool with effects in two versions, and another tool."""
    release_sender(catalog, _examples=EXAMPLES)
    release_sender(catalog, _examples=EXAMPLES, _title="Send notes again")
    release(catalog)
