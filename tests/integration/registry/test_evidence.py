"""A version loads only while its evidence, its files and the database say the same; who may read evidence, and whose keys count."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from app.connectors.scripted import scripted
from app.core import private_files
from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import ToolmintError
from app.core.signing import KEY_FILE, TRUSTED_FILE, Keyring, holds
from app.economics.meter import record_usage
from app.observability import metrics
from app.observability.models import AuditEvent
from app.registry import repository
from app.registry.catalog import Catalog, callable_tools
from app.registry.channels import roll_back
from app.registry.evidence import Bundle
from app.registry.examining import problems_with, told
from app.registry.publishing import publish
from app.registry.reading import list_tools, read_bundle, read_tool, read_version, signed_stable
from app.registry.sealing import seal, seal_anew, seal_former
from app.registry.vouching import refused_versions
from app.spec.model import ExecutionSpec
from tests.support.published import AUTHOR, CALLER, OPERATOR, counter_spec, pass_candidate, release, release_sender
from tests.support.worlds import PURE

TOOL, VERSION = "send_notes", ("default", "send_notes", 1)
EXAMPLES = [
    {"name": "shown", "args": {"group": "g", "to": ["a@example.com"]}, "error": {"code": "none"}},
    {"name": "hidden", "args": {"group": "g", "to": ["secret@example.com"]}, "error": {"code": "none"}, "visibility": "held_out"},
]


@pytest.fixture(scope="module")
def published(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database and a home: a tool with effects in two versions, and another tool."""
    folder = tmp_path_factory.mktemp("published")
    shutil.copyfile(sqlite_template, folder / "test.db")
    database = Database(f"sqlite:///{folder / 'test.db'}", durable=False)
    plant(Catalog(database, folder / "tools", scripted().catalog, Keyring(folder / "home")))
    database.close()
    return folder


def plant(catalog: Catalog) -> None:
    release_sender(catalog, _examples=EXAMPLES)
    release_sender(catalog, _examples=EXAMPLES, _title="Send notes again")
    release(catalog)


@pytest.fixture
def catalog(published: Path, tmp_path: Path) -> Iterator[Catalog]:
    """A copy of it."""
    shutil.copyfile(published / "test.db", tmp_path / "test.db")
    shutil.copytree(published / "home", tmp_path / "home")
    database = Database(f"sqlite:///{tmp_path / 'test.db'}", durable=False)
    yield Catalog(database, tmp_path / "tools", scripted().catalog, Keyring(tmp_path / "home"))
    database.close()


def started(catalog: Catalog) -> Catalog:
    """Another process, which remembers nothing."""
    made = Catalog(catalog.database, catalog.tools_dir, catalog.kinds, catalog.keys)
    made.load.look_again_ms = made.load.vouched.look_again_ms = 0
    return made


def change(database: Database, statement: str, **values: object) -> None:
    with database.writing() as session:
        assert session.connection().execute(sa.text(statement), values).rowcount > 0


def code_of(attempt: Callable[[], object]) -> str:
    with pytest.raises(ToolmintError) as caught:
        attempt()
    assert caught.value.fix
    return caught.value.code


def refusals(database: Database, action: str = "artifact.loaded") -> list[tuple[str, str, str]]:
    with database.reading() as session:
        rows = session.exec(select(AuditEvent).where(AuditEvent.action == action).order_by(col(AuditEvent.id))).all()
    return [(row.target, row.outcome, (row.body or {}).get("code", "")) for row in rows]


OF_FIRST = "tenant = 'default' AND tool = 'send_notes' AND version = 1"
ITS_CANDIDATE = f"(SELECT candidate_id FROM version WHERE {OF_FIRST})"
ITS_DIGEST = f"(SELECT digest FROM version WHERE {OF_FIRST})"
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


@pytest.mark.parametrize("what", ["a field that this release does not know", "a key that it cannot read"])
def test_a_version_that_this_release_cannot_read_is_refused_alone_and_told(
    catalog: Catalog, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(text: str | bytes) -> ExecutionSpec:
        body = json.loads(text)
        if body["title"] == "Send notes again":
            body |= {"later": 1} if "field" in what else {"effects": [{**body["effects"][0], "key": "1 +"}]}
        return ExecutionSpec.model_validate_json(json.dumps(body))

    monkeypatch.setattr(ExecutionSpec, "parse", parse)
    other = started(catalog)
    assert [entry.name for entry in callable_tools(CALLER, other.entries("default"))] == ["count_notes"]
    for _ in range(2):
        assert code_of(lambda: other.load("default", TOOL, 2)) == "version_outdated"
    assert other.load(*VERSION).version == 1
    assert refusals(catalog.database) == [("send_notes/2", "refused", "version_outdated")]
    assert refused_versions(catalog.database, catalog.keys) == {"default/send_notes/2": "version_outdated"}
    assert (signed_stable(other, "default", TOOL) is None) == ("field" in what)
    roll_back(OPERATOR, other, TOOL, "it is of an older release")
    assert [tool["name"] for tool in list_tools(CALLER, other)["items"]] == ["count_notes", "send_notes"]


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
    change(catalog.database, "UPDATE artifact_file SET content = replace(content, 'Send notes again', 'x') WHERE path = 'spec.json'")
    change(catalog.database, "UPDATE candidate SET report = NULL")
    assert signed_stable(started(catalog), "default", TOOL) == before
    of_second = OF_FIRST.replace("version = 1", "version = 2")
    first = ", ".join(f"{name} = (SELECT {name} FROM evidence_bundle WHERE {OF_FIRST})" for name in ("content", "digest"))
    change(catalog.database, f"UPDATE evidence_bundle SET {first} WHERE {of_second}")
    assert code_of(lambda: signed_stable(catalog, "default", TOOL)) == "bundle_of_other_version"
    assert code_of(lambda: read_bundle(OPERATOR, catalog, TOOL, 2)) == "bundle_of_other_version"
    change(catalog.database, f"DELETE FROM evidence_bundle WHERE {of_second}")
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


def test_with_a_new_key_what_the_former_signed_loads_and_with_a_lost_one_until_it_is_believed_again(catalog: Catalog) -> None:
    keys = catalog.keys
    former, new = keys.rotate()
    release(catalog, counter_spec("later_notes"))
    assert keys.trusted() == (new, former) and started(catalog).load(*VERSION).version == 1
    assert Bundle.decode(read_bundle(OPERATOR, catalog, "later_notes", 1)).signature.public_key == new
    (keys.home / TRUSTED_FILE).unlink()
    assert code_of(lambda: started(catalog).load(*VERSION)) == "bundle_signer_unknown"
    assert started(catalog).load("default", "later_notes", 1).version == 1
    assert keys.trust(f"{former}\n") and not keys.trust(former)
    assert started(catalog).load(*VERSION).version == 1


def test_a_lost_home_seals_nothing_by_itself_and_an_operator_may(catalog: Catalog) -> None:
    shutil.rmtree(catalog.keys.home)
    assert seal_former(catalog.database, catalog.keys) == 0 and catalog.keys.made
    assert set(refused_versions(catalog.database, catalog.keys).values()) == {"bundle_signer_unknown"}
    change(catalog.database, f"UPDATE candidate SET report = NULL WHERE id = {ITS_CANDIDATE}")
    assert seal_anew(catalog.database, catalog.keys) == ["count_notes/1", "send_notes/2"], "what contradicts itself is not sealed"
    assert seal_anew(catalog.database, catalog.keys) == []
    assert refused_versions(catalog.database, catalog.keys) == {"default/send_notes/1": "bundle_signer_unknown"}
    assert Bundle.decode(read_bundle(OPERATOR, started(catalog), TOOL, 2)).statement.sealed.why == "sealed anew"
    assert refusals(catalog.database, "version.sealed")[:2] == [
        ("count_notes/1", "done", ""),
        ("send_notes/1", "refused", "evidence_incomplete"),
    ]


def test_what_was_published_before_there_were_bundles_is_sealed_once_before_the_first_key(catalog: Catalog) -> None:
    shutil.rmtree(catalog.keys.home)
    change(catalog.database, "DELETE FROM evidence_bundle")
    change(catalog.database, "UPDATE artifact_file SET content = '' WHERE path = 'tool.py' AND digest = " + ITS_DIGEST)
    assert seal_former(catalog.database, catalog.keys) == 2
    assert refused_versions(catalog.database, catalog.keys) == {"default/send_notes/1": "bundle_missing"}, "no evidence for what was edited"
    assert Bundle.decode(read_bundle(OPERATOR, started(catalog), TOOL, 2)).statement.sealed.why == "upgraded"
    change(catalog.database, f"DELETE FROM evidence_bundle WHERE {OF_FIRST.replace('version = 1', 'version = 2')}")
    assert seal_former(catalog.database, catalog.keys) == 0, "never again: a missing bundle was taken away"
    assert code_of(lambda: started(catalog).load("default", TOOL, 2)) == "bundle_missing"


def test_a_process_that_dies_while_it_seals_leaves_the_key_to_the_next(catalog: Catalog) -> None:
    shutil.rmtree(catalog.keys.home)
    change(catalog.database, "DELETE FROM evidence_bundle")
    with pytest.raises(KeyboardInterrupt), catalog.keys.first() as signer:
        assert signer is not None
        first = signer.public_key()
        with catalog.database.writing() as session:
            row = repository.version(session, *VERSION)
            assert row is not None
            kept = seal(session, signer, row, "upgraded").digest
            again = row
            assert code_of(lambda: seal(session, signer, again, "upgraded")) == "evidence_incomplete", "what is kept is not replaced"
        raise KeyboardInterrupt
    assert not catalog.keys.made
    assert seal_former(catalog.database, catalog.keys) == 2, "what it sealed is not sealed, nor said to be sealed, again"
    assert catalog.keys.public_key() == first and refused_versions(catalog.database, catalog.keys) == {}
    assert Bundle.decode(read_bundle(OPERATOR, started(catalog), TOOL, 1)).digest == kept
    assert [target for target, *_ in refusals(catalog.database, "version.sealed")] == ["count_notes/1", "send_notes/2"]
    assert not (catalog.keys.home / "evidence.key.first").exists()


def test_processes_that_start_for_the_first_time_at_once_seal_each_version_once_with_one_key(catalog: Catalog) -> None:
    shutil.rmtree(catalog.keys.home)
    change(catalog.database, "DELETE FROM evidence_bundle")
    together = threading.Barrier(3)

    def start(_: int) -> int:
        with closing(Database(f"sqlite:///{catalog.database.path}", durable=False)) as database:
            together.wait()
            return seal_former(database, Keyring(catalog.keys.home))

    with ThreadPoolExecutor(3) as pool:  # locks of files keep threads apart as they do processes
        assert sorted(pool.map(start, range(3))) == [0, 0, 3]
    assert refused_versions(catalog.database, catalog.keys) == {}
    assert [outcome for _, outcome, _ in refusals(catalog.database, "version.sealed")] == ["done"] * 3


def test_nothing_is_published_whose_evidence_cannot_be_signed(catalog: Catalog) -> None:
    (catalog.keys.home / KEY_FILE).chmod(0o644)
    assert code_of(lambda: release(catalog, source=PURE + "# again\n")) == "evidence_key_exposed"
    assert [row["version"] for row in read_tool(OPERATOR, catalog, "count_notes")["versions"]] == [1]
    assert code_of(lambda: started(catalog).load(*VERSION)) == "evidence_key_exposed"
    (catalog.keys.home / KEY_FILE).chmod(0o600)
    assert started(catalog).load(*VERSION).version == 1


def _sign(home: Path, start: Barrier, said: multiprocessing.Queue[str]) -> None:
    start.wait()
    said.put(Keyring(home).sign(b"x").public_key)


def test_processes_that_need_the_first_key_at_once_get_the_same_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, said = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_sign, args=(tmp_path / "home", start, said)) for _ in range(4)]
    for process in processes:
        process.start()
    assert len({said.get(timeout=30) for _ in processes}) == 1
    for process in processes:
        process.join()
    assert not (tmp_path / "home" / "evidence.key.first").exists()


def test_keys_that_others_may_have_touched_or_that_are_none_are_refused(tmp_path: Path) -> None:
    keys = Keyring(tmp_path)
    signature = keys.sign(b"message")
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert holds(signature, b"message") and not holds(signature, b"another") and keys.public_key() == signature.public_key
    for text in ("", "0" * 63, "G" * 64, "A" * 64, signature.public_key + "0"):
        assert code_of(partial(keys.trust, text)) == "public_key_invalid"
    private_files.replace(tmp_path / TRUSTED_FILE, "0" * 64 + "\n")
    (tmp_path / TRUSTED_FILE).chmod(0o666)
    assert code_of(keys.trusted) == "evidence_key_exposed"
    private_files.replace(tmp_path / TRUSTED_FILE, "what is this\n")
    assert code_of(keys.trusted) == "evidence_key_broken"
    private_files.replace(tmp_path / KEY_FILE, "short\n")
    assert code_of(lambda: keys.sign(b"x")) == "evidence_key_broken"
