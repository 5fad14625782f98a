"""One server for the tests that only add to it; each names tools of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.protocol.site import Site, serving
from tests.support.published import counter_spec, release, release_sender


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="package")
def site(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with `count_notes` (no effect) and `send_notes` (one e-mail an address) published."""
    with serving(tmp_path_factory.mktemp("site"), sqlite_template) as site:
        release(site.catalog, counter_spec())
        release_sender(site.catalog)
        yield site


@pytest.fixture
def own_site(sqlite_template: Path, tmp_path: Path) -> Iterator[Site]:
    """A server of the test's own, with nothing published."""
    with serving(tmp_path, sqlite_template) as site:
        yield site
