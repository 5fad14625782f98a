"""One sandbox and one event loop for the tests of a worker process: starting one costs most of a second."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bench import Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with asyncio.Runner() as runner:
        lab = Lab.open(runner, tmp_path_factory.mktemp("lab"))
        yield lab
        lab.close()


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path
