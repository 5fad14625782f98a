"""A real sandbox, started once for all tests of rooms that run tools, on one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.sandbox.sandbox import Sandbox


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
async def sandbox(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    made = Sandbox(tmp_path_factory.mktemp("home"))
    proof = await made.start()
    assert proof.ok, [(row.name, row.detail) for row in proof.failures()]
    yield made
    await made.stop()
