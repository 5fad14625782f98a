"""Fixtures for all tests: the repository on the import path, and a fresh database on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from app.core.clock import Clock, SystemClock  # noqa: E402  # the path first
from app.core.db import Database  # noqa: E402  # as above
from app.tables import metadata  # noqa: E402  # as above
from tests.support.postgres import PostgresServer, start_postgres  # noqa: E402  # as above


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup`, what a module or a package of tests shares (a service, a browser) is started in one process alone."""
    for item in items:
        if isinstance(item, pytest.Function) and (group := _sharing(item)):
            item.add_marker(pytest.mark.xdist_group(group))


def _sharing(item: pytest.Function) -> str:
    """What names those that this test shares a fixture of ours with: its package, its module, or nothing."""
    used = [definitions[-1] for definitions in item._fixtureinfo.name2fixturedefs.values()]
    ours = {definition.scope: definition.baseid for definition in used if definition.baseid}
    return ours.get("package") or ("module" in ours and item.nodeid.partition("::")[0]) or ""


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with every table, to be copied."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    database = Database(f"sqlite:///{path}", durable=False)
    metadata.create_all(database.engine)
    database.close()
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL server for this process of tests, from the wheel."""
    server = start_postgres()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    """The name of a database with every table, to be copied."""
    name = postgres.create()
    database = Database(postgres.url(name))
    metadata.create_all(database.engine)
    database.close()
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh database with every table; the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        path = tmp_path / "test.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    template: str = request.getfixturevalue("postgres_template")
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.lend(template)
    yield server.url(name)
    server.give_back(name)


@pytest.fixture
def clock() -> Clock:
    """The machine's, unless a room's tests say otherwise."""
    return SystemClock()


@pytest.fixture
def database(database_url: str, clock: Clock) -> Iterator[Database]:
    """A fresh database with every table, on SQLite and on PostgreSQL."""
    database = Database(database_url, clock=clock, durable=False)
    yield database
    database.close()


@pytest.fixture
def sqlite_database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    """The same on SQLite alone, for tests in which the database does not matter."""
    path = tmp_path / "test.db"
    shutil.copyfile(sqlite_template, path)
    database = Database(f"sqlite:///{path}", durable=False)
    yield database
    database.close()
