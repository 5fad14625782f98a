"""Alembic's environment. Settings stand in `[tool.alembic]` of pyproject.toml; there is no alembic.ini.

`toolmint migrate` passes its connection; `alembic upgrade head` from the command line opens the configured database.
After a change of tables: `TOOLMINT_HOME=$(mktemp -d) sh -c 'alembic upgrade head && alembic revision --autogenerate -m "what changed"'`,
read the result, then `ruff format alembic`. A test compares the migrated schema with the tables on SQLite and PostgreSQL.
"""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from sqlmodel import AutoString

from app.core.db import Database
from app.core.settings import Settings
from app.tables import metadata


def run(connection: sa.Connection) -> None:
    """Run the wanted revisions on `connection`; SQLite alters tables by copying them."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        render_item=_plain,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _plain(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    return "sa.String()" if kind == "type" and isinstance(item, AutoString) else False


given: sa.Connection | None = context.config.attributes.get("connection")
if given is None:
    with Database(Settings.from_env().database).writing() as session:
        run(session.connection())
else:
    run(given)
