"""A folder with published versions, made once a module and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.connectors.scripted import scripted
from app.core.db import Database
from app.core.signing import Keyring
from app.registry.catalog import Catalog
from tests.support.evidence import plant


@pytest.fixture(scope="module")
def published(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database and a home: a tool with effects in two versions, and another tool."""
    folder = tmp_path_factory.mktemp("published")
    shutil.copyfile(sqlite_template, folder / "test.db")
    database = Database(f"sqlite:///{folder / 'test.db'}", durable=False)
    plant(Catalog(database, folder / "tools", scripted().catalog, Keyring(folder / "home")))
    database.close()
    return folder


@pytest.fixture
def catalog(published: Path, tmp_path: Path) -> Iterator[Catalog]:
    """A copy of it."""
    shutil.copyfile(published / "test.db", tmp_path / "test.db")
    shutil.copytree(published / "home", tmp_path / "home")
    database = Database(f"sqlite:///{tmp_path / 'test.db'}", durable=False)
    yield Catalog(database, tmp_path / "tools", scripted().catalog, Keyring(tmp_path / "home"))
    database.close()
