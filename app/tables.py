"""Every room's tables, imported once, so that `metadata` is the whole schema: what Alembic compares and migrates.

It refuses to be: a place to use a table from. Each table belongs to its room.
"""

from __future__ import annotations

from sqlmodel import SQLModel

import app.access.models
import app.candidates.models
import app.codegen.models
import app.connectors.models
import app.core.models
import app.economics.models
import app.invocation.models
import app.observability.models
import app.records.models
import app.registry.models
import app.runtime.models
import app.spec.models

ROOMS = (
    app.access.models,
    app.candidates.models,
    app.codegen.models,
    app.connectors.models,
    app.core.models,
    app.economics.models,
    app.invocation.models,
    app.observability.models,
    app.records.models,
    app.registry.models,
    app.runtime.models,
    app.spec.models,
)
metadata = SQLModel.metadata
