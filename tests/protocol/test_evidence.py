"""Evidence bundles over REST: one file that verifies, cut for readers without `specs:held_out`, refused to callers; refusals by name."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from app.registry.evidence import MEDIA_TYPE, Bundle
from app.registry.examining import problems_with
from tests.protocol.site import Site
from tests.protocol.test_rest import problem_of
from tests.support.published import COUNTER_ARGS, counter_spec, release
from tests.support.waiting import until

ADDRESS = "/tools/evident_notes/versions/1/bundle"
EXAMPLES = [
    {"name": "hidden", "args": {"group": "g", "to": ["secret@example.com"]}, "error": {"code": "none"}, "visibility": "held_out"},
]


@pytest.fixture(scope="module")
def evident(site: Site) -> Site:
    release(site.catalog, counter_spec("evident_notes", _examples=EXAMPLES))
    until(lambda: site.get("/tools/evident_notes").status_code == 200)
    return site


def test_a_bundle_is_one_file_that_verifies(evident: Site) -> None:
    answer = evident.get(ADDRESS, "candidates:submit", "specs:held_out", "tools:call")
    assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_TYPE)
    assert answer.headers["content-disposition"] == 'attachment; filename="evident_notes-1.bundle"'
    bundle = Bundle.decode(answer.content)
    assert problems_with(bundle) == () and bundle.statement.tool == "evident_notes"
    version = evident.get("/tools/evident_notes/versions/1", "tools:call").json()
    assert version["bundle"] == {"digest": bundle.digest, "key_id": bundle.signature.key_id} and version["refused"] is None


@pytest.mark.parametrize("permission", ["candidates:submit", "candidates:approve", "tools:publish", "tools:rollback", "audit:read"])
def test_who_may_read_candidates_but_no_held_out_examples_gets_a_copy_without_them(evident: Site, permission: str) -> None:
    answer = evident.get(ADDRESS, permission, "tools:call")
    assert answer.status_code == 200 and "secret@example.com" not in answer.text
    assert problems_with(Bundle.decode(answer.content)) == ()


def test_callers_are_refused_and_strangers_learn_nothing(evident: Site) -> None:
    assert problem_of(evident.get(ADDRESS, "tools:call"), 403, "permission_denied")["fix"]
    problem_of(evident.get(ADDRESS, "records:read"), 404, "tool_not_found")
    problem_of(evident.get("/tools/evident_notes/versions/9/bundle", "*"), 404, "version_not_found")
    problem_of(evident.get("/tools/nothing/versions/1/bundle", "*"), 404, "tool_not_found")


def test_a_version_whose_evidence_was_altered_is_refused_by_name_and_other_tools_answer(evident: Site) -> None:
    release(evident.catalog, counter_spec("spoilt_notes"))
    spoil = "UPDATE evidence_bundle SET content = replace(content, 'key_operator', 'key_other') WHERE tool = 'spoilt_notes'"
    with evident.database.writing() as session:
        session.connection().execute(sa.text(spoil))
    until(lambda: evident.get("/tools/spoilt_notes", "audit:read").status_code == 200)
    found = problem_of(evident.post("/tools/spoilt_notes/runs", {"args": COUNTER_ARGS}, "tools:call"), 409, "bundle_altered")
    assert "Version 1 of spoilt_notes is not what was published" in found["detail"] and found["fix"]
    assert "spoilt_notes" not in [tool["name"] for tool in evident.get("/tools", "tools:call").json()["items"]]
    assert evident.get("/tools/spoilt_notes/versions/1", "audit:read").json()["refused"]["code"] == "bundle_altered"
    problem_of(evident.get("/tools/spoilt_notes/versions/1/bundle", "audit:read"), 409, "bundle_altered")
    assert evident.post("/tools/evident_notes/runs", {"args": COUNTER_ARGS}, "tools:call").json()["state"] == "completed"
