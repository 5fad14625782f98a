"""Bundled tools: the release's digests, the way from the folder to a published version, and what an edit does."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from app.access.trail import read_audit
from app.candidates.reading import list_candidates, read_candidate
from app.candidates.verifying import claim_candidate, finish_candidate
from app.connectors.production import production
from app.core import owners
from app.core.actor import SYSTEM
from app.core.db import Database
from app.core.settings import Settings
from app.core.signing import Keyring
from app.registry import bundled
from app.registry.catalog import Catalog
from app.registry.reading import read_version
from tests.support.published import passing


@pytest.fixture
def catalog(sqlite_database: Database, tmp_path: Path) -> Catalog:
    kinds = production(Settings(home=tmp_path), sqlite_database).catalog
    return Catalog(sqlite_database, tmp_path / "tools", kinds, Keyring(tmp_path))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the bundled tools as they are, approved as they are."""
    there = tmp_path / "bundled"
    shutil.copytree(bundled.ROOT, there, ignore=shutil.ignore_patterns("toolkit", "published", "__pycache__"))
    bundled.write_approved(there)
    return there


def let_pass(database: Database, candidate_id: str, *, publishable: bool = True) -> None:
    candidate = read_candidate(SYSTEM, database, candidate_id)
    owner = owners.register(database, "worker", 15_000)
    assert claim_candidate(database, candidate_id, owner)
    finish_candidate(database, candidate_id, owner, {**passing(candidate_id, candidate["digest"]), "publishable": publishable})


def test_the_release_approves_the_bundled_tools_as_they_are() -> None:
    """If this fails after a tool was changed on purpose: python -m app.registry.bundled."""
    assert bundled.approved_digests() == {tool.place: tool.digest for tool in bundled.bundled_tools()}
    assert {tool.tool for tool in bundled.released_tools()} >= {"campaign_send_bulk", "repair_customer_records"}


def open_candidates(database: Database) -> dict[str, str]:
    return {row["tool"]: row["id"] for row in list_candidates(SYSTEM, database)["items"]}


def test_bundled_tools_are_submitted_once_and_published_when_they_have_passed(catalog: Catalog, root: Path) -> None:
    count = len(bundled.bundled_tools(root))
    assert asyncio.run(bundled.advance(catalog, root)) == count
    submitted = open_candidates(catalog.database)
    assert len(submitted) == count
    assert asyncio.run(bundled.advance(catalog, root)) == count and open_candidates(catalog.database) == submitted
    for candidate_id in submitted.values():
        let_pass(catalog.database, candidate_id)
    assert asyncio.run(bundled.advance(catalog, root)) == count
    assert bundled.waiting(catalog, root) == [] and asyncio.run(bundled.advance(catalog, root)) == 0
    version = read_version(SYSTEM, catalog, "campaign_send_bulk", 1)
    assert (version["author"], version["published_by"], version["reason"]) == ("system", "system", bundled.REASON)
    assert catalog.load("default", "campaign_send_bulk", 1).spec.name == "campaign_send_bulk"
    traces = {event["action"]: event["trace_id"] for event in read_audit(SYSTEM, catalog.database, limit=200)["items"]}
    assert traces["candidate.submitted"] == traces["candidate.decided"] == traces["version.published"] is not None


def test_a_bundled_tool_that_was_refused_is_not_submitted_for_ever(catalog: Catalog, root: Path) -> None:
    asyncio.run(bundled.advance(catalog, root))
    for candidate_id in open_candidates(catalog.database).values():
        let_pass(catalog.database, candidate_id, publishable=False)
    before = open_candidates(catalog.database)
    asyncio.run(bundled.advance(catalog, root))
    assert open_candidates(catalog.database) == before and bundled.waiting(catalog, root)


def test_an_edited_bundled_tool_is_not_submitted(catalog: Catalog, root: Path) -> None:
    tool = root / "messaging" / "campaign_send_bulk" / "tool.py"
    tool.write_text(tool.read_text() + "\n# edited\n")
    asyncio.run(bundled.advance(catalog, root))
    assert "campaign_send_bulk" not in open_candidates(catalog.database)
