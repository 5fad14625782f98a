"""Rolling back keeps what was promised, and what a spec says can be taken back is taken back, on a stage."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.spec.model import ExecutionSpec
from app.verification.rollback_gate import check_rollback
from app.verification.subject import Replaced
from tests.support.bench import Lab, rules, subject
from tests.support.specimens import TOOL, changed, specimen_spec

TAG_TOOL = '''"""Tags customers; what each was before stays in its record."""

from contract import Args, Result
from toolkit import Context


def run(args: Args, ctx: Context) -> Result:
    """Each customer is tagged once."""
    tagged = 0
    for row in ctx.read_pages("customers", collection="customers"):
        body = {**row["body"], "tag": args["tag"], "before": row["body"]}
        tagged += ctx.perform("tag", {"key": row["key"], "body": body, "expected_version": row["version"]}).status == "done"
    return {"tagged": tagged}
'''
PUT = {"connector": "records.put", "config": {"collection": "customers"}, "limits": {"per_run": 9}}
RESTORED = {"key": "item.key", "body": "item.body.before", "expected_version": "receipt.version"}
TAG: dict[str, Any] = {
    "spec_version": "1",
    "name": "tag_customers",
    "title": "Tag customers",
    "description": "Puts a tag on customers, and can take it off.",
    "inputs": {"type": "object", "properties": {"tag": {"type": "string"}}},
    "outputs": {"type": "object", "properties": {"tagged": {"type": "integer"}}},
    "reads": [{"id": "customers", "connector": "records.query", "config": {"collections": ["customers"]}}],
    "effects": [
        {**PUT, "id": "tag", "key": "[args.tag, item.key]", "undo": {"effect": "restore", "item": RESTORED}},
        {**PUT, "id": "restore", "key": "[args.tag, item.key, item.expected_version]", "undo_reason": "tag again"},
    ],
    "examples": [
        {
            "name": "two customers",
            "world": {"records": {"customers": [{"key": key, "body": {"name": key}} for key in ("Ann", "Bob")]}},
            "args": {"tag": "gold"},
            "result": {"tagged": 2},
            "effects": [{"id": "tag"}, {"id": "tag"}],
        }
    ],
}


def tag_spec(change: Callable[[Any], object] = lambda _spec: None) -> ExecutionSpec:
    body = copy.deepcopy(TAG)
    change(body)
    return ExecutionSpec.model_validate(body, strict=False)


def test_what_is_declared_to_be_undone_is_done_and_undone_on_a_stage(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_rollback, subject(TAG_TOOL, spec=tag_spec()), scratch)
    assert outcome.passed and not outcome.findings, outcome.findings
    assert outcome.evidence["undone"] == {"tag": True} and outcome.evidence["stays"] == {"restore": "tag again"}
    assert outcome.evidence["undo_cases"] == [{"name": "two customers", "items": {"tag": 2}, "passed": True}]
    assert outcome.evidence["undo"] == 0.75 and outcome.evidence["touched"]["effects"] == {"restore": 2, "tag": 4}
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "rule", "said"),
    [
        (lambda undo: undo["item"].update(body="item.body"), "undo_differs", "leaves the record 'Ann' of 'customers' changed: $.body"),
        (lambda undo: undo["item"].update(body="item.body.after"), "undo_unusable", "item.body.after is missing"),
        (lambda undo: undo["item"].pop("expected_version"), "undo_not_done", "key_unusable"),
        (lambda undo: undo["item"].update(expected_version="item.expected_version"), "undo_not_done", "version_conflict"),
    ],
)
def test_an_undo_that_does_not_take_back_is_refused(lab: Lab, scratch: Path, change: Callable[[Any], object], rule: str, said: str) -> None:
    spec = tag_spec(lambda body: change(body["effects"][0]["undo"]))
    outcome = lab.ask(check_rollback, subject(TAG_TOOL, spec=spec), scratch)
    assert set(rules(outcome.findings)) == {rule} and said in outcome.findings[0].message, outcome.findings
    assert outcome.evidence["undone"] == {"tag": False} and outcome.evidence["undo"] == 0.25


def test_an_undo_into_another_collection_leaves_what_was_done(lab: Lab, scratch: Path) -> None:
    spec = tag_spec(lambda body: body["effects"][1].update(config={"collection": "others"}, key="[args.tag, item.key]"))
    spec = spec.model_copy(update={"effects": (spec.effects[0].model_copy(update={"undo": _without_version(spec)}), spec.effects[1])})
    assert rules(lab.ask(check_rollback, subject(TAG_TOOL, spec=spec), scratch).findings) == ["undo_differs"]


def _without_version(spec: ExecutionSpec) -> Any:
    undo = spec.effects[0].undo
    assert undo is not None
    return undo.model_copy(update={"item": {name: text for name, text in undo.item.items() if name != "expected_version"}})


def test_a_tool_that_does_a_part_each_time_is_held_to_what_it_does_without_a_publication(lab: Lab, scratch: Path) -> None:
    tool = changed(TAG_TOOL, "        tagged +=", '        if tagged or "tag" in row["body"]:\n            continue\n        tagged +=')
    outcome = lab.ask(check_rollback, subject(tool, spec=tag_spec()), scratch)
    assert outcome.passed and not outcome.findings, outcome.findings


def test_the_roll_back_drill_holds_for_the_specimen(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_rollback, subject(), scratch)
    assert outcome.passed and not outcome.findings, outcome.findings
    assert set(outcome.evidence["drill"].values()) == {True} and outcome.evidence["undo"] == 0.5
    assert outcome.evidence["stays"] == {"send": "an e-mail cannot be called back"} and outcome.evidence["undone"] == {}
    assert outcome.evidence["touched"] == {"runs": 3, "reads": {"sender": 3}, "effects": {"send": 2}}
    assert list(scratch.iterdir()) == []


def test_the_version_that_is_replaced_is_drilled_with_the_candidate(lab: Lab, scratch: Path) -> None:
    former = Replaced(3, specimen_spec(title="Greet, as before"), tool=changed(TOOL, "Good morning.", "Good day."))
    outcome = lab.ask(check_rollback, replace(subject(), replaces=former), scratch)
    assert outcome.passed and not outcome.findings, outcome.findings
    evidence = outcome.evidence["former"]
    assert (evidence["version"], evidence["drilled"], set(evidence["held"].values())) == (3, True, {True})
    assert lab.ask(check_rollback, subject(), scratch).evidence["former"] is None


@pytest.mark.parametrize(
    ("there", "severity"),
    [('raise ToolError("done_before")', "warning"), ("raise KeyError(args['campaign'])", "error")],
    ids=["an error of its own", "a mistake"],
)
def test_a_candidate_that_cannot_go_on_with_what_the_version_before_it_left_is_told(
    lab: Lab, scratch: Path, there: str, severity: str
) -> None:
    old = changed(TOOL, "Good morning.", "Good day.")
    tool = changed(TOOL, "    ctx.log(", f"    if any(outcome.differs for outcome in told):\n        {there}\n    ctx.log(")
    tool = changed(tool, "        counts[outcome.status] += 1\n", "        counts[outcome.status] += 1\n        told.append(outcome)\n")
    tool = changed(tool, "    counts =", "    told = []\n    counts =")
    candidate = replace(subject(tool=tool), replaces=Replaced(3, specimen_spec(), tool=old))
    (finding,) = lab.ask(check_rollback, candidate, scratch).findings
    assert (finding.rule, finding.severity) == ("rollback_former_replaced", severity), finding


def test_a_version_that_cannot_be_called_as_the_candidate_is_blames_nobody(lab: Lab, scratch: Path) -> None:
    former = Replaced(3, specimen_spec(), tool=changed(TOOL, "    counts =", '    raise ToolError("never")\n    counts ='))
    outcome = lab.ask(check_rollback, replace(subject(), replaces=former), scratch)
    assert outcome.passed and outcome.evidence["former"] == {"version": 3, "drilled": False, "reason": "no_common_example"}


def test_a_natural_run_key_does_not_hide_the_second_version(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_rollback, subject(spec=specimen_spec(run_key="[args.campaign]")), scratch)
    assert outcome.passed, outcome.findings


def test_a_tool_whose_keys_do_not_survive_a_publication_is_refused(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, 'items = [letter(to, sender["name"])', 'items = [letter(f"{ctx.new_id()}@example.com", sender["name"])')
    found = rules(lab.ask(check_rollback, subject(tool=tool), scratch).findings)
    assert "rollback_keys_kept" in found


def test_a_tool_that_refuses_what_was_done_before_is_refused(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, "    ctx.log(", '    if counts["skipped"]:\n        raise ToolError("done_before")\n    ctx.log(')
    found = rules(lab.ask(check_rollback, subject(tool=tool), scratch).findings)
    assert {"rollback_replaced", "rollback_rolled_back"} <= set(found)
