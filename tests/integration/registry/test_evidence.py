"""A version loads only while its evidence, its files and the database say the same; who may read evidence, and what it tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.connectors.scripted import scripted
from app.core.actor import Actor
from app.core.db import Database
from app.core.signing import Keyring
from app.economics.meter import record_usage
from app.observability import metrics
from app.registry.catalog import Catalog, callable_tools
from app.registry.channels import roll_back
from app.registry.evidence import Bundle
from app.registry.examining import problems_with, told
from app.registry.publishing import publish
from app.registry.reading import list_tools, read_bundle, read_tool, read_version, signed_stable
from app.registry.sealing import seal_anew, seal_former
from app.registry.vouching import refused_versions
from tests.support.evidence import ITS_CANDIDATE, ITS_DIGEST, OF_FIRST, OF_SECOND, TOOL, VERSION, change, code_of, refusals, started
from tests.support.published import AUTHOR, CALLER, OPERATOR, counter_spec, pass_candidate, release
from tests.support.worlds import PURE

ALTERED = {
    "a file": (f"UPDATE artifact_file SET content = content || ' ' WHERE path = 'tool.py' AND digest = {ITS_DIGEST}", "artifact_altered"),
    "a guest's spec": (
        f"UPDATE artifact_file SET content = replace(content, 'Sends', 'Reads') WHERE path = 'spec.json' AND digest = {ITS_DIGEST}",
        "artifact_altered",
    ),
    "a file more": (
        f"INSERT INTO artifact_file (digest, path, content) SELECT digest, 'x.py', '' FROM version WHERE {OF_FIRST}",
        "artifact_altered",
    ),
    "a file less": (f"DELETE FROM artifact_file WHERE path = 'contract.py' AND digest = {ITS_DIGEST}", "artifact_altered"),
    "the spec": (
        "UPDATE spec_revision SET body = replace(body, 'Sends', 'Reads') WHERE name = 'send_notes' AND revision = 1",
        "spec_altered",
    ),
    "the report": (f"UPDATE candidate SET report = replace(report, '1.0', '0.1') WHERE id = {ITS_CANDIDATE}", "report_altered"),
    "a report that is none": (f"UPDATE candidate SET report = '[' WHERE id = {ITS_CANDIDATE}", "report_altered"),
    "no report": (f"UPDATE candidate SET report = NULL WHERE id = {ITS_CANDIDATE}", "report_altered"),
    "the code": (f"UPDATE candidate_file SET content = content || ' ' WHERE candidate_id = {ITS_CANDIDATE}", "candidate_altered"),
    "who approved": (f"UPDATE approval SET actor = 'key_other' WHERE candidate_id = {ITS_CANDIDATE}", "approvals_altered"),
    "who published": (f"UPDATE version SET published_by = 'key_other' WHERE {OF_FIRST}", "version_altered"),
    "when": (f"UPDATE version SET created_at = created_at + 1 WHERE {OF_FIRST}", "version_altered"),
    "the evidence's digest": (f"UPDATE version SET evidence_digest = digest WHERE {OF_FIRST}", "version_altered"),
    "the manifest": (f"UPDATE version SET manifest = 'x' WHERE {OF_FIRST}", "version_altered"),
    "the artifact": (
        f"UPDATE version SET digest = (SELECT digest FROM version WHERE tool = 'send_notes' AND version = 2) WHERE {OF_FIRST}",
        "version_altered",
    ),
    "no bundle": (f"DELETE FROM evidence_bundle WHERE {OF_FIRST}", "bundle_missing"),
    "a statement": (
        f"UPDATE evidence_bundle SET content = replace(content, 'key_author', 'key_writer') WHERE {OF_FIRST}",
        "bundle_altered",
    ),
    "a member": (f"UPDATE evidence_bundle SET content = replace(content, 'Sends', 'Reads') WHERE {OF_FIRST}", "bundle_altered"),
    "no JSON": (f"UPDATE evidence_bundle SET content = 'x' WHERE {OF_FIRST}", "bundle_altered"),
    "another key's name": (f"UPDATE evidence_bundle SET public_key = '{'0' * 64}' WHERE {OF_FIRST}", "bundle_signer_unknown"),
    "another version's": (
        "UPDATE evidence_bundle SET content = (SELECT content FROM evidence_bundle WHERE tool = 'send_notes' AND version = 2),"
        f" digest = (SELECT digest FROM evidence_bundle WHERE tool = 'send_notes' AND version = 2) WHERE {OF_FIRST}",
        "bundle_of_other_version",
    ),
    "another tool's": (
        "UPDATE evidence_bundle SET content = (SELECT content FROM evidence_bundle WHERE tool = 'count_notes'),"
        f" digest = (SELECT digest FROM evidence_bundle WHERE tool = 'count_notes') WHERE {OF_FIRST}",
        "bundle_of_other_version",
    ),
}


@pytest.mark.parametrize("what", ALTERED)
def test_whatever_was_altered_the_version_refuses_with_that_reason_and_others_load(catalog: Catalog, what: str) -> None:
    statement, code = ALTERED[what]
    change(catalog.database, statement)
    other = started(catalog)
    for _ in range(3):
        assert code_of(lambda: other.load(*VERSION)) == code
    assert refusals(catalog.database) == [("send_notes/1", "refused", code)], "told once"
    assert other.load("default", TOOL, 2).spec.title == "Send notes again" and other.load("default", "count_notes", 1).version == 1
    assert refused_versions(catalog.database, catalog.keys) == {"default/send_notes/1": code}
    shown = read_version(OPERATOR, other, TOOL, 1)
    assert shown["bundle"] is None and shown["refused"]["code"] == code and shown["refused"]["fix"]
    assert shown["scores"] == shown["gates"] == [], "scores that nobody vouches for are not shown"


def test_both_databases_publish_with_evidence_and_refuse_what_was_altered(database: Database, tmp_path: Path) -> None:
    catalog = Catalog(database, tmp_path / "tools", scripted().catalog, Keyring(tmp_path / "home"))
    release(catalog, source=PURE + '# \\u0000 \\ud800 "é" \U0001d11e\n')
    assert started(catalog).load("default", "count_notes", 1).version == 1
    assert seal_anew(database, catalog.keys) == [] and seal_former(database, catalog.keys) == 0
    change(database, "UPDATE evidence_bundle SET content = replace(content, 'key_operator', 'key_other')")
    assert code_of(lambda: started(catalog).load("default", "count_notes", 1)) == "bundle_altered"


def test_an_altered_row_does_not_reach_a_process_that_has_vouched_and_a_mended_one_loads(catalog: Catalog) -> None:
    program = catalog.load(*VERSION)
    change(catalog.database, "UPDATE artifact_file SET content = content || ' ' WHERE path = 'tool.py'")
    assert catalog.load(*VERSION) is program, "what runs is what was checked"
    other = started(catalog)
    assert code_of(lambda: other.load(*VERSION)) == "artifact_altered"
    mend = "UPDATE artifact_file SET content = substr(content, 1, length(content) - 1) WHERE path = 'tool.py'"
    change(catalog.database, mend)
    assert other.load(*VERSION).files == program.files
    assert read_version(OPERATOR, other, TOOL, 1)["scores"] != []
    change(catalog.database, "UPDATE candidate SET report = '['")
    shown = read_version(OPERATOR, other, TOOL, 1)
    assert shown["refused"] is None and shown["scores"] == [], "what is shown is what was signed, too"


def test_a_copy_for_readers_is_not_taken_for_the_whole_bundle_and_what_is_refused_is_counted(catalog: Catalog, tmp_path: Path) -> None:
    cut = read_bundle(OPERATOR, catalog, TOOL, 1).decode()
    change(catalog.database, f"UPDATE evidence_bundle SET content = :cut WHERE {OF_FIRST}", cut=cut)
    metrics.start(tmp_path / "metrics")
    try:
        other = started(catalog)
        assert [code_of(lambda: other.load(*VERSION)) for _ in range(3)] == ["bundle_altered"] * 3
        assert 'toolmint_versions_refused_total{code="bundle_altered"} 1.0' in metrics.render().decode()
    finally:
        metrics.stop()


def test_a_refused_tool_is_hidden_from_callers_told_to_its_keepers_and_rolled_back(catalog: Catalog) -> None:
    alter = "UPDATE artifact_file SET content = replace(content, 'Send notes again', 'Do evil') WHERE path = 'spec.json'"
    change(catalog.database, alter)
    other = started(catalog)
    entries = other.entries("default")
    assert [entry.name for entry in callable_tools(CALLER, entries)] == ["count_notes"]
    assert [tool["name"] for tool in list_tools(CALLER, other)["items"]] == ["count_notes"]
    assert {tool["name"]: "refused" in tool for tool in list_tools(OPERATOR, other)["items"]} == {"count_notes": False, "send_notes": True}
    refused = read_tool(OPERATOR, other, TOOL)["refused"]
    assert refused == read_version(OPERATOR, other, TOOL, 2)["refused"]
    assert refused["code"] == "artifact_altered" and "spec.json is not as signed" in refused["detail"] and "roll back" in refused["fix"]
    roll_back(OPERATOR, other, TOOL, "it was altered")
    assert [entry.name for entry in callable_tools(CALLER, other.entries("default"))] == ["count_notes", "send_notes"]
    assert other.load(*VERSION).spec.title == "Send notes"


def test_a_tool_whose_spec_cannot_even_be_read_takes_no_other_with_it(catalog: Catalog) -> None:
    change(catalog.database, f"UPDATE artifact_file SET content = '' WHERE digest = {ITS_DIGEST.replace('version = 1', 'version = 2')}")
    other = started(catalog)
    assert [tool["name"] for tool in list_tools(OPERATOR, other)["items"]] == ["count_notes"]
    assert code_of(lambda: other.load("default", TOOL, 2)) == "artifact_altered"


def test_a_bundle_tells_of_the_version_as_the_tables_do_and_is_cut_for_those_who_may_not_see_held_out_examples(catalog: Catalog) -> None:
    version = read_version(CALLER, catalog, TOOL, 1)
    held_out = Actor("key_all", "all", "default", OPERATOR.permissions | {"specs:held_out"})
    whole, cut = (Bundle.decode(read_bundle(actor, catalog, TOOL, 1)) for actor in (held_out, OPERATOR))
    assert whole.digest == cut.digest == version["bundle"]["digest"] and version["bundle"]["key_id"] == whole.signature.key_id
    assert problems_with(whole) == problems_with(cut) == () and version["refused"] is None
    said = whole.statement
    assert (said.artifact, said.report_digest, said.candidate.id) == (
        version["digest"],
        version["evidence_digest"],
        version["candidate_id"],
    )
    assert (said.candidate.author, said.published.by, said.sealed.why) == (AUTHOR.id, OPERATOR.id, "published")
    assert [row["actor"] for row in told(whole)["decisions"]] == [OPERATOR.id]
    assert b"secret@example.com" in whole.encode() and b"secret@example.com" not in cut.encode()
    assert code_of(lambda: read_bundle(CALLER, catalog, TOOL, 1)) == "permission_denied"
    assert code_of(lambda: read_bundle(OPERATOR, catalog, TOOL, 9)) == "version_not_found"
    stranger = Actor("key_stranger", "stranger", "elsewhere", frozenset({"*"}))
    assert code_of(lambda: read_bundle(stranger, catalog, TOOL, 1)) == "tool_not_found"
    change(catalog.database, "UPDATE candidate SET report = NULL")
    assert read_bundle(OPERATOR, catalog, TOOL, 1) == cut.encode(), "what to compare with is given while the tables are wrong"


def test_a_candidate_is_compared_with_what_was_signed_and_with_nothing_else(catalog: Catalog) -> None:
    before = signed_stable(catalog, "default", TOOL)
    assert before is not None and (before.version, before.spec.title, before.report["publishable"]) == (2, "Send notes again", True)
    assert "def run(" in before.tool
    change(catalog.database, "UPDATE artifact_file SET content = replace(content, 'Send notes again', 'x') WHERE path = 'spec.json'")
    change(catalog.database, "UPDATE candidate SET report = NULL")
    assert signed_stable(started(catalog), "default", TOOL) == before
    first = ", ".join(f"{name} = (SELECT {name} FROM evidence_bundle WHERE {OF_FIRST})" for name in ("content", "digest"))
    change(catalog.database, f"UPDATE evidence_bundle SET {first} WHERE {OF_SECOND}")
    assert code_of(lambda: signed_stable(catalog, "default", TOOL)) == "bundle_of_other_version"
    assert code_of(lambda: read_bundle(OPERATOR, catalog, TOOL, 2)) == "bundle_of_other_version"
    change(catalog.database, f"DELETE FROM evidence_bundle WHERE {OF_SECOND}")
    assert code_of(lambda: signed_stable(catalog, "default", TOOL)) == "bundle_missing"
    assert signed_stable(catalog, "default", "new_notes") is None


def test_what_writing_the_code_used_and_what_verified_it_is_in_the_bundle(catalog: Catalog) -> None:
    raw = {"input_tokens": 1200, "cache_read_input_tokens": 800, "output_tokens": 345}
    candidate = pass_candidate(catalog.database, counter_spec("written_notes"))
    change(catalog.database, "UPDATE candidate SET generation_id = 'gen_1' WHERE id = :id", id=candidate)
    with catalog.database.writing() as session:
        of = {"tenant": "default", "kind": "generation", "subject": "gen_1", "tool": "written_notes"}
        record_usage(session, **of, model="claude-sonnet-5-5", raw=raw)
    publish(OPERATOR, catalog, candidate)
    bundle = Bundle.decode(read_bundle(OPERATOR, catalog, "written_notes", 1))
    facts = told(bundle)
    assert bundle.statement.candidate.generation == facts["usage"]["id"] == "gen_1"
    assert [(call["model"], call["raw"]) for call in facts["usage"]["calls"]] == [("claude-sonnet-5-5", raw)]
    assert facts["verified_with"].keys() == {"toolmint", "gates", "toolkit", "python", "ruff", "mypy", "pytest"}
    assert all(len(tool["sha256"]) == 64 for tool in facts["verified_with"].values()) and facts["verified_with"]["ruff"]["version"]
