"""Evidence bundles as values: one spelling, a signature over everything, and nothing that can be changed without being noticed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.candidates.files import candidate_digest, source_file
from app.connectors.scripted import scripted
from app.core.errors import Invalid
from app.core.signing import Keyring
from app.observability.audit import text_digest
from app.registry import evidence
from app.registry.artifact import make_artifact
from app.registry.evidence import Bundle, Statement, one_spelling
from app.registry.examining import CHECKS, FILES, examine, problems_with
from app.spec.canonical import canonical_bytes
from app.spec.model import ExecutionSpec
from tests.support.worlds import SENDER, sender_spec

TESTS = "# tests\n"
SECRET = "held-out-secret@example.com"


def held_out_spec() -> ExecutionSpec:
    example = {"args": {"group": "g", "to": ["a@example.com"]}, "error": {"code": "none"}}
    hidden = {**example, "name": "hidden", "visibility": "held_out", "args": {"group": "g", "to": [SECRET]}}
    return sender_spec(_examples=[{**example, "name": "shown"}, hidden])


def texts_of(spec: ExecutionSpec, report: dict[str, Any], decisions: list[dict[str, Any]]) -> tuple[str, dict[str, str]]:
    artifact = make_artifact(spec, {"tool.py": SENDER, "test_tool.py": TESTS}, scripted().catalog)
    shown = {**report, "gates": [{"gate": "examples", "status": "passed", "evidence": {}}]}
    texts = {FILES + path: text for path, text in artifact.files.items()} | {
        evidence.MANIFEST: artifact.manifest,
        evidence.SPEC: spec.canonical().decode(),
        evidence.REPORT: text_digest(report)[0],
        evidence.SHOWN_REPORT: text_digest(shown)[0],
        evidence.APPROVALS: text_digest({"approval": "approved", "decisions": decisions})[0],
    }
    return artifact.digest, texts


def report_of(spec: ExecutionSpec, **changes: Any) -> dict[str, Any]:
    files = [source_file("tool.py", SENDER), source_file("test_tool.py", TESTS)]
    rubric = [{"dimension": "safety", "score": 1.0, "threshold": 0.9, "passed": True, "evidence": []}]
    gates = [{"gate": "examples", "status": "passed", "evidence": {}}]
    report = {"candidate_id": "cand_1", "digest": candidate_digest(spec.digest, files), "publishable": True, "gates": gates}
    return {**report, "rubric": rubric, **changes}


def bundle_of(
    keys: Keyring,
    *,
    approver: str = "key_operator",
    generation: str | None = None,
    change: Callable[[dict[str, str]], None] | None = None,
    **report: Any,
) -> Bundle:
    """A signed bundle of a tool with effects; `change` alters its members before they are signed."""
    spec = held_out_spec()
    decisions = [{"candidate_id": "cand_1", "actor": approver, "decision": "approve", "reason": "réad it ✓"}]
    artifact, texts = texts_of(spec, report_of(spec, **report), decisions)
    if change is not None:
        change(texts)
    hidden = {evidence.SPEC, evidence.REPORT}
    statement = Statement(
        format=evidence.FORMAT,
        tenant="default",
        tool=spec.name,
        version=3,
        artifact=artifact,
        candidate=evidence.Candidate(
            id="cand_1",
            digest=report_of(spec)["digest"],
            author="key_author",
            spec_revision=1,
            spec_digest=spec.digest,
            generation=generation,
        ),
        published=evidence.Published(by="key_operator", reason='tab\t "quoted" \u2028 \x7f é 𝄞', at="2026-01-01T00:00:00.000Z"),
        sealed=evidence.Sealed(at="2026-01-01T00:00:00.000Z", why="published", toolmint="0"),
        members={name: evidence.member(text, held_out=name in hidden) for name, text in texts.items()},
    )
    return Bundle(statement, texts, keys.sign(statement.signed()))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    return Keyring(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def bundle(keys: Keyring) -> Bundle:
    made = bundle_of(keys)
    assert [check.problems for check in examine(made)] == [()] * len(CHECKS)
    return made


def test_a_bundle_has_one_spelling_which_is_that_of_rfc_8785(bundle: Bundle) -> None:
    content = bundle.encode()
    assert content == canonical_bytes(json.loads(content)) and Bundle.decode(content) == bundle
    assert one_spelling(bundle.statement.model_dump()) == canonical_bytes(bundle.statement.model_dump())
    for other in (
        content + b"\n",
        content.replace(b'"version":3', b'"version": 3'),
        content.replace(b'"version":3', b'"version":3,"version":3'),
        content.replace("é".encode(), b"\\u00e9"),
        json.dumps(json.loads(content)).encode(),
        content[:-1] + b',"more":1}',
        b"\xef\xbb\xbf" + content,
        b"[" * 100_000,
        b"",
        b"{}",
    ):
        with pytest.raises(Invalid) as refused:
            Bundle.decode(other)
        assert refused.value.code == "bundle_unreadable"


def verifies(content: bytes, believed: str) -> bool:
    try:
        found = Bundle.decode(content)
    except Invalid:
        return False
    return found.signature.public_key == believed and not problems_with(found)


def test_no_bit_of_a_bundle_can_be_flipped_unnoticed(bundle: Bundle) -> None:
    content, chance = bundle.encode(), random.Random(20_260_101)
    believed = bundle.signature.public_key
    assert verifies(content, believed)
    signature = range(content.index(b'"signature":'), content.index(b'"statement":'))
    places = [*chance.sample(range(len(content)), 300), *signature]
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << chance.randrange(8)
        assert not verifies(bytes(flipped), believed), f"byte {place}: {content[place - 20 : place + 20]!r}"


def test_no_member_can_be_altered_exchanged_added_or_left_out(bundle: Bundle) -> None:
    chance = random.Random(7)
    for name, text in bundle.members.items():
        place = chance.randrange(len(text))
        altered = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
        assert problems_with(replace(bundle, members={**bundle.members, name: altered})) == (f"{name} was altered",)
        without = {other: kept for other, kept in bundle.members.items() if other != name}
        missing = problems_with(replace(bundle, members=without))
        assert missing == (() if bundle.statement.members[name].held_out else (f"{name} is missing",))
    assert problems_with(replace(bundle, members={**bundle.members, "files/more.py": ""})) == ("files/more.py is not in the statement",)


def test_a_copy_without_held_out_members_says_nothing_of_them_and_verifies(bundle: Bundle) -> None:
    copy = Bundle.decode(bundle.shown().encode())
    assert SECRET.encode() in bundle.encode() and SECRET.encode() not in copy.encode() and b'"hidden"' not in copy.encode()
    assert problems_with(copy) == () and copy.digest == bundle.digest
    assert bundle.members.keys() - copy.members.keys() == {evidence.SPEC, evidence.REPORT}


def set_member(name: str, text: str) -> Callable[[dict[str, str]], None]:
    return lambda texts: texts.update({name: text})


def unreadable_number(texts: dict[str, str]) -> None:
    del texts[evidence.SHOWN_REPORT]
    texts[evidence.REPORT] = f'{texts[evidence.REPORT][:-1]},"more":{"1" * 5000}}}'


@pytest.mark.parametrize(
    ("made", "check"),
    [
        ({"publishable": False}, "report"),
        ({"gates": [{"gate": "examples", "status": "failed"}]}, "report"),
        ({"gates": [{"gate": "examples", "status": "skipped"}]}, "report"),
        ({"rubric": [{"dimension": "safety", "score": 0.8, "threshold": 0.9, "passed": True}]}, "report"),
        ({"rubric": [{"dimension": "safety", "score": float("nan"), "threshold": 0.9, "passed": True}]}, "report"),
        ({"gates": []}, "report"),
        ({"rubric": []}, "report"),
        ({"change": unreadable_number}, "report"),
        ({"candidate_id": "cand_2"}, "report"),
        ({"change": set_member(evidence.GENERATION, '{"id":"gen_1","calls":[],"usd":null}')}, "generation"),
        ({"generation": "gen_1"}, "generation"),
        ({"generation": "gen_1", "change": set_member(evidence.GENERATION, '{"id":"gen_2","calls":[],"usd":null}')}, "generation"),
        ({"generation": "gen_1", "change": set_member(evidence.GENERATION, "no JSON")}, "generation"),
        ({"generation": "gen_1", "change": set_member(evidence.GENERATION, "[" * 100_000)}, "generation"),
        ({"digest": "0" * 64}, "report"),
        ({"approver": "key_author"}, "approval"),
        ({"change": set_member(evidence.APPROVALS, '{"approval":"waiting","decisions":[]}')}, "approval"),
        ({"change": set_member(evidence.APPROVALS, "[]")}, "approval"),
        ({"change": set_member("files/tool.py", "x = 1\n")}, "artifact"),
        ({"change": set_member("files/extra.py", "x = 1\n")}, "artifact"),
        ({"change": set_member("notes.txt", "")}, "members"),
        ({"change": lambda texts: texts.pop("files/contract.py")}, "members"),
        ({"change": set_member(evidence.SPEC, "{}")}, "spec"),
        ({"change": set_member(evidence.SHOWN_REPORT, "{}")}, "report"),
    ],
)
def test_what_contradicts_itself_is_found_whoever_signed_it(keys: Keyring, made: dict[str, Any], check: str) -> None:
    last = examine(bundle_of(keys, **made))[-1]
    assert (last.check, bool(last.problems)) == (check, True), last


def test_a_signature_of_something_else_or_by_another_key_does_not_count(bundle: Bundle, tmp_path: Path) -> None:
    other = Keyring(tmp_path).sign(bundle.statement.signed())
    assert problems_with(replace(bundle, signature=replace(bundle.signature, value=other.value)))
    assert problems_with(replace(bundle, signature=replace(bundle.signature, value=bundle.signature.value.upper())))
    assert problems_with(replace(bundle, statement=bundle.statement.model_copy(update={"version": 4})))
    assert problems_with(replace(bundle, signature=other)) == (), "whose key it is must be asked apart"
