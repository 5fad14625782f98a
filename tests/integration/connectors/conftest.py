"""A mail server of its own for each test that sends, and requests as the runtime makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.smtp import SmtpProcess, start_smtp


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., SmtpProcess]]:
    """Start servers with command-line options; they end with the test."""
    servers: list[SmtpProcess] = []

    def start(*options: str, port: int = 0) -> SmtpProcess:
        servers.append(start_smtp(tmp_path, *options, port=port))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def server(start_server: Callable[..., SmtpProcess]) -> SmtpProcess:
    """A well-behaved server."""
    return start_server()
