"""A version that another release published in a form which this one does not read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlmodel import select

from app.candidates.files import candidate_digest, source_file
from app.candidates.models import Candidate
from app.observability.audit import text_digest
from app.registry import repository
from app.registry.artifact import sha256
from app.registry.catalog import Catalog, callable_tools
from app.registry.channels import roll_back
from app.registry.models import ArtifactFile
from app.registry.reading import list_tools, signed_stable
from app.registry.sealing import seal_anew
from app.registry.vouching import refused_versions
from app.spec.models import SpecRevision
from tests.support.evidence import OF_SECOND, TOOL, VERSION, change, code_of, refusals, started
from tests.support.published import CALLER, OPERATOR


def publish_otherwise(catalog: Catalog, change_spec: Callable[[dict[str, Any]], None]) -> None:
    """Make version 2 of the tool one that a release with another form of specs has published."""
    with catalog.database.writing() as session:
        row = repository.version(session, "default", TOOL, 2)
        assert row is not None
        candidate = session.get_one(Candidate, row.candidate_id)
        revision = session.exec(select(SpecRevision).where(SpecRevision.name == TOOL, SpecRevision.revision == row.spec_revision)).one()
        files = {file.path: file for file in session.exec(select(ArtifactFile).where(ArtifactFile.digest == row.digest))}
        for one, field in ((revision, "body"), (files["spec.json"], "content")):
            body = json.loads(getattr(one, field))
            change_spec(body)
            setattr(one, field, json.dumps(body))
        sources = [source_file(path, files[path].content) for path in ("tool.py", "test_tool.py")]
        candidate.spec_digest = sha256(revision.body)
        candidate.digest = candidate_digest(candidate.spec_digest, sources)
        candidate.report, digest = text_digest({**json.loads(candidate.report or ""), "digest": candidate.digest})
        candidate.report_digest = row.evidence_digest = digest
        pinned = {"spec_digest": candidate.spec_digest, "files": {path: sha256(file.content) for path, file in files.items()}}
        row.manifest = json.dumps({**json.loads(row.manifest), **pinned})
        row.digest = sha256(row.manifest)
        for file in files.values():
            file.digest = row.digest
    change(catalog.database, f"DELETE FROM evidence_bundle WHERE {OF_SECOND}")
    assert seal_anew(catalog.database, catalog.keys) == ["send_notes/2"]


@pytest.mark.parametrize("what", ["a field that this release does not know", "a key that it cannot read"])
def test_a_version_that_this_release_cannot_read_is_refused_alone_and_told(catalog: Catalog, what: str) -> None:
    publish_otherwise(catalog, lambda spec: spec.update(later=1) if "field" in what else spec["effects"][0].update(key="1 +"))
    other = started(catalog)
    assert [entry.name for entry in callable_tools(CALLER, other.entries("default"))] == ["count_notes"]
    for _ in range(2):
        assert code_of(lambda: other.load("default", TOOL, 2)) == "version_outdated"
    assert other.load(*VERSION).version == 1
    assert refusals(catalog.database) == [("send_notes/2", "refused", "version_outdated")]
    assert refused_versions(catalog.database, catalog.keys) == {"default/send_notes/2": "version_outdated"}
    assert signed_stable(other, "default", TOOL) is None, "a candidate of this release is not kept from replacing it"
    assert (TOOL in other.entries("default")) == ("key" in what), "where nothing of a spec can be read there is nothing to list"
    roll_back(OPERATOR, other, TOOL, "it is of an older release")
    assert [tool["name"] for tool in list_tools(CALLER, other)["items"]] == ["count_notes", "send_notes"]
