"""A database of its own for one test: SQLite in the test's folder, every table made, on a clock that the test moves."""

from __future__ import annotations

import importlib.util
import pkgutil
from pathlib import Path

from sqlmodel import SQLModel

import app
from app.core.clock import Clock
from app.core.db import Database


def scratch_database(folder: Path, clock: Clock | None = None) -> Database:
    """A fresh file under `folder` with the tables of every room."""
    for room in pkgutil.iter_modules(app.__path__, "app."):
        name = f"{room.name}.models"
        if room.ispkg and importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    database = Database(f"sqlite:///{folder / 'scratch.db'}", clock=clock, durable=False)
    SQLModel.metadata.create_all(database.engine)
    return database
