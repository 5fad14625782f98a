"""Fixtures for all tests: the repository on the import path, and a fresh database on SQLite and on PostgreSQL."""

from __future__ import annotations

import functools
import gc
import shutil
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]  # it has no types
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # as above
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]  # as above

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from app.core.clock import Clock, SystemClock  # noqa: E402  # the path first
from app.core.db import Database  # noqa: E402  # as above
from app.tables import metadata  # noqa: E402  # as above
from tests.support.postgres import PostgresServer, start_postgres  # noqa: E402  # as above


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """With `--dist loadscope`, only what shares something is kept together."""
    if config.getvalue("dist") != "loadscope":
        return None
    config.option.loadscopereorder = False  # modules of a folder one after another: what its package shares is not started again for each
    return SharingTogether(config, log)


class SharingTogether(LoadScopeScheduling):  # type: ignore[misc]  # as above
    """What a module or a package of tests shares (a service, a browser) is started in one process alone; other tests go anywhere.

    Tests that wait stand in one row and tests that compute in another. Half of the processes begin with the one, half with the other, so
    that neither all of them wait nor all of them compute, and at the end there are only short ones left.
    """

    def _split_scope(self, nodeid: str) -> str:
        return sharing(nodeid.partition("::")[0]) or nodeid

    def _assign_work_unit(self, node: WorkerController) -> None:
        row = self.nodes.index(node) % 2 == 0
        found = next((scope for scope in self.workqueue if takes_long(scope) is row), None)
        if found is not None:
            self.workqueue.move_to_end(found, last=False)
        super()._assign_work_unit(node)


LONG = (
    "tests/architecture/test_checkers.py::test_mypy_finds_nothing_in_strict_mode",
    "tests/calibration/test_short_form.py::test_each_gate_sees_a_defect_that_it_should_see_and_no_correct_tool",
    "tests/chaos/",
    "tests/durability/",
)
"""Tests and folders that take long, or wait, without sharing anything."""


def takes_long(scope: str) -> bool:
    """Whether what is kept together under this name does: whatever shares something waits for it to start."""
    return scope.endswith(".py") or scope.startswith(LONG)


@functools.cache
def sharing(module: str) -> str:
    """What the module's tests are kept together with: the module if they share a fixture with each other; nothing."""
    path = ROOT / module
    if "from tests.architecture.sources import" in path.read_text(encoding="utf-8"):
        return READ_WHOLE
    texts = [each.read_text(encoding="utf-8") for each in (path, path.with_name("conftest.py")) if each.exists()]
    return module if any(f'scope="{scope}"' in text for text in texts for scope in ("module", "package")) else ""


READ_WHOLE = "tests/architecture"
"""Tests that read the repository as a whole: its files are parsed in one process, once."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is loaded before the first test stays to the end: the garbage collector need not look at it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


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
