"""`toolmint backup FILE`: a consistent copy of the embedded store in one file, while the service runs or not.

It refuses to be: for PostgreSQL, which has tools of its own.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import sqlalchemy as sa

from app.cli.output import DONE, say
from app.core import bundle, migration
from app.core.clock import iso
from app.core.db import Database
from app.core.errors import Failed, Unavailable
from app.core.settings import Settings


def backup(settings: Settings, target: Path, *, force: bool) -> int:
    """Write the backup. Raises Failed `backup_not_here` for PostgreSQL, Unavailable `nothing_to_back_up`, and what `bundle` does."""
    source = embedded(settings, "pg_dump --format=custom --file=FILE")
    if not source.exists():
        fix = "Set TOOLMINT_HOME to the service's home."
        raise Unavailable("nothing_to_back_up", f"There is no database at {source}.", fix=fix, retryable=False)
    database = Database(settings.database)
    revision = migration.current(database)
    at = database.clock.now()
    database.close()
    if revision is None:
        raise Unavailable("nothing_to_back_up", f"The database at {source} is empty.", fix="Start the service once.", retryable=False)
    made = bundle.write(source, settings.home, target, (version("toolmint"), revision, at), force=force)
    size = made.files[bundle.DATABASE].bytes / 1e6
    keys = [name for name in made.files if name != bundle.DATABASE]
    say(f"Backup written to {target}: database of {size:.1f} MB, schema {made.revision}, as of {iso(made.taken_at)}")
    if keys:
        say(f"It holds {', '.join(keys)}: whoever can read it can sign in. Keep it as you keep those.")
    say(f"What is performed from now on is not in it. It comes back with:  toolmint restore {target}")
    return DONE


def embedded(settings: Settings, instead: str) -> Path:
    """The file of the embedded store. Raises Failed `backup_not_here` where the database is PostgreSQL."""
    url = sa.make_url(settings.database)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise Failed(
            "backup_not_here",
            "TOOLMINT_DATABASE_URL names a PostgreSQL database; this command is for the embedded one.",
            fix=f"Use `{instead}` with that database, and keep the *.key files and secrets/ of TOOLMINT_HOME beside it.",
        )
    return Path(url.database)
