"""A proven sandbox for one scenario, in a loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.sandbox.sandbox import Sandbox
from tests.support.guests import HOME

Scenario = Callable[[Sandbox], Awaitable[Any]]


@pytest.fixture
def play() -> Callable[[Scenario], Any]:
    """Run a scenario with a started sandbox and stop it afterwards; its answer is handed back."""

    async def staged(scenario: Scenario) -> Any:
        sandbox = Sandbox(HOME)
        proof = await sandbox.start()
        assert proof.ok, proof.failures()
        try:
            return await scenario(sandbox)
        finally:
            await sandbox.stop()

    return lambda scenario: asyncio.run(staged(scenario))
