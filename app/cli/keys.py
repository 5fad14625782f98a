"""`toolmint keys create`: a key made directly in the database, so that it needs no running service.

It refuses to be: a way around the audit trail; the event names the system as the actor.
"""

from __future__ import annotations

from app.access.keys import create_key
from app.cli.output import DONE, show
from app.core import migration
from app.core.actor import SYSTEM
from app.core.db import Database
from app.core.settings import Settings
from app.spec.revisions import named_permissions


def create(settings: Settings, name: str, permissions: list[str], expires_at: str | None) -> int:
    """Print the new key as JSON. Raises what `create_key` raises."""
    database = Database(settings.database)
    migration.check(database)
    show(create_key(SYSTEM, database, name, permissions, expires_at, named_permissions(SYSTEM, database)))
    return DONE
