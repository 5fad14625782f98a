"""Bundled tools: the release's digests, the way from the folder to a published version, and what an edit does."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from app.candidates.reading import read_candidate
from app.candidates.verifying import claim_candidate, finish_candidate
from app.connectors.production import production
from app.core import owners
from app.core.actor import SYSTEM
from app.core.db import Database
from app.core.settings import Settings
from app.registry import bundled
from app.registry.catalog import Catalog


@pytest.fixture
def catalog(sqlite_database: Database, tmp_path: Path) -> Catalog:
    kinds = production(Settings(home=tmp_path), sqlite_database).catalog
    return Catalog(sqlite_database, tmp_path / "tools", kinds)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the bundled tools as they are, approved as they are."""
    there = tmp_path / "bundled"
    shutil.copytree(bundled.ROOT, there, ignore=shutil.ignore_patterns("toolkit", "published", "__pycache__"))
    bundled.write_approved(there)
    return there


def let_pass(database: Database, candidate_id: str) -> None:
    candidate = read_candidate(SYSTEM, database, candidate_id)
    owner = owners.register(database, "worker", 15_000)
    assert claim_candidate(database, candidate_id, owner)
    report = {"candidate_id": candidate_id, "digest": candidate["digest"], "publishable": True, "gates": [], "rubric": []}
    finish_candidate(database, candidate_id, owner, report)


def test_the_release_approves_the_bundled_tools_as_they_are() -> None:
    """If this fails after a tool was changed on purpose: python -m app.registry.bundled."""
    assert bundled.approved_digests() == {tool.place: tool.digest for tool in bundled.bundled_tools()}
    assert {tool.tool for tool in bundled.released_tools()} >= {"campaign_send_bulk", "repair_customer_records"}


def test_bundled_tools_are_submitted_once_and_published_when_they_have_passed(catalog: Catalog, root: Path) -> None:
    submitted = asyncio.run(bundled.submit_bundled(catalog, root))
    assert len(submitted) == len(bundled.bundled_tools(root)) and asyncio.run(bundled.submit_bundled(catalog, root)) == []
    assert bundled.publish_bundled(catalog, root) == [] and bundled.bundled_state(catalog.database, root) == "verifying"
    for candidate_id in submitted:
        let_pass(catalog.database, candidate_id)
    published = bundled.publish_bundled(catalog, root)
    assert {(version["tool"], version["version"]) for version in published} >= {("campaign_send_bulk", 1)}
    assert bundled.publish_bundled(catalog, root) == [] and bundled.bundled_state(catalog.database, root) == "published"
    assert asyncio.run(bundled.submit_bundled(catalog, root)) == []
    assert catalog.load("default", "campaign_send_bulk", 1).spec.name == "campaign_send_bulk"


def test_an_edited_bundled_tool_is_not_submitted(catalog: Catalog, root: Path) -> None:
    tool = root / "messaging" / "campaign_send_bulk" / "tool.py"
    tool.write_text(tool.read_text() + "\n# edited\n")
    submitted = asyncio.run(bundled.submit_bundled(catalog, root))
    assert "campaign_send_bulk" not in {read_candidate(SYSTEM, catalog.database, found)["tool"] for found in submitted}
