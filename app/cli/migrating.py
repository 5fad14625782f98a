"""`toolmint migrate`, and what `toolmint up` does of it: the database brought to this release's schema, and what that costs said before.

It refuses to be: the migration. Revisions and copies are the core's.
"""

from __future__ import annotations

from contextlib import closing

from app.cli.output import DONE, say
from app.core import migration
from app.core.db import Database
from app.core.migration import Migrated
from app.core.settings import Settings


def migrate(settings: Settings) -> int:
    """Migrate and say what was done."""
    with closing(Database(settings.database)) as database:
        done = bring_up(database, settings)
    if done.before == done.after:
        say(f"The database is at {done.after} already.")
    else:
        say(f"Migrated from {done.before or 'an empty database'} to {done.after}.")
    if done.backup is not None:
        say(f"The former one is kept as {done.backup}.")
    return DONE


def bring_up(database: Database, settings: Settings) -> Migrated:
    """Migrate; for PostgreSQL, which is not copied before, that is said first."""
    if migration.uncopied(database):
        say("PostgreSQL is migrated without a copy of it. Before an upgrade, take one:  pg_dump --format=custom --file=FILE")
    return migration.migrate(database, settings.home / "backups")
