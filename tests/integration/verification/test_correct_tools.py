"""Correct tools of other kinds than the specimen pass the whole line: nothing in it is shaped like e-mail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.core.settings import Settings
from app.spec.model import ExecutionSpec
from app.verification.work import examine
from tests.support.bench import Lab, subject

TEXT = {"type": "string", "minLength": 1, "maxLength": 64, "description": "A text."}
NUMBER = {"type": "integer", "minimum": 0, "maximum": 1_000_000, "description": "A number."}


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": list(properties), "properties": properties}


PURE_TOOL = '''"""Splits an amount into equal parts."""

from decimal import ROUND_DOWN, Decimal

from contract import Args, Result
from toolkit import Context, ToolError


def run(args: Args, ctx: Context) -> Result:
    """The parts add up to the amount; the first ones are a cent larger where it does not divide."""
    if args["parts"] == 0:
        raise ToolError("no_parts", "There must be at least one part.")
    whole = Decimal(args["cents"])
    part = int((whole / args["parts"]).to_integral_value(ROUND_DOWN))
    return {"part": part, "larger": args["cents"] - part * args["parts"]}
'''
PURE_TESTS = '''"""Splitting."""

from tool import run
from toolkit.testing import trial


def test_nothing_is_lost() -> None:
    assert trial(run, {"cents": 100, "parts": 3}).result == {"part": 33, "larger": 1}


def test_no_parts_at_all_are_refused() -> None:
    t = trial(run, {"cents": 1, "parts": 0})
    assert t.error is not None and t.error["code"] == "no_parts"
'''
PURE: dict[str, Any] = {
    "spec_version": "1",
    "name": "split_amount",
    "title": "Split an amount",
    "description": "Splits an amount of cents into equal parts.",
    "inputs": closed(cents=NUMBER, parts=NUMBER),
    "outputs": closed(part=NUMBER, larger=NUMBER),
    "invariants": [{"id": "whole", "text": "nothing is lost", "expr": "result.part * args.parts + result.larger == args.cents"}],
    "examples": [
        {"name": "thirds", "args": {"cents": 100, "parts": 3}, "result": {"part": 33, "larger": 1}},
        {"name": "no parts", "args": {"cents": 1, "parts": 0}, "error": {"code": "no_parts"}},
    ],
}

TAG_TOOL = '''"""Tags customers, one by one, and can take a tag off again."""

from contract import Args, Result
from toolkit import Context


def run(args: Args, ctx: Context) -> Result:
    """Each customer of the list is tagged once; who is not there is counted."""
    tagged = missing = failed = 0
    for number, key in enumerate(args["customers"], 1):
        body = ctx.read("customer", key=key)
        if body is None:
            missing += 1
        elif ctx.perform("tag", {"key": key, "body": {**body, "tag": args["tag"]}}).status in ("done", "skipped", "duplicate"):
            tagged += 1
        else:
            failed += 1
        ctx.progress(number, len(args["customers"]))
    return {"tagged": tagged, "missing": missing, "failed": failed}
'''
TAG_TESTS = '''"""Tags."""

from tool import run
from toolkit.testing import trial

WORLD = {"records": {"customers": [{"key": "c1", "body": {"name": "Ann"}}]}}


def test_a_customer_is_tagged_once() -> None:
    t = trial(run, {"tag": "gold", "customers": ["c1", "c2"]}, world=WORLD)
    assert t.result == {"tagged": 1, "missing": 1, "failed": 0}
    assert t.world["records"]["customers"] == [{"key": "c1", "body": {"name": "Ann", "tag": "gold"}}]
'''
CUSTOMERS = [{"key": key, "body": {"name": name}} for key, name in (("c1", "Ann"), ("c2", "Bob"))]
TAG: dict[str, Any] = {
    "spec_version": "1",
    "name": "tag_customers",
    "title": "Tag customers",
    "description": "Puts a tag on customers.",
    "inputs": closed(tag=TEXT, customers={"type": "array", "maxItems": 100, "items": TEXT, "description": "Keys."}),
    "outputs": closed(tagged=NUMBER, missing=NUMBER, failed=NUMBER),
    "reads": [{"id": "customer", "connector": "records.get", "config": {"collection": "customers"}}],
    "effects": [
        {
            "id": "tag",
            "connector": "records.put",
            "config": {"collection": "customers"},
            "key": "[args.tag, item.key]",
            "limits": {"per_run": 100},
            "undo": None,
            "undo_reason": "a tag is taken off by another tool",
        }
    ],
    "invariants": [
        {"id": "counted", "text": "each is counted", "expr": "result.tagged + result.missing + result.failed == size(args.customers)"}
    ],
    "examples": [
        {
            "name": "two of three",
            "world": {"records": {"customers": CUSTOMERS}},
            "args": {"tag": "gold", "customers": ["c1", "c9", "c2"]},
            "result": {"tagged": 2, "missing": 1, "failed": 0},
            "effects": [{"id": "tag", "item": {"key": "c1"}}, {"id": "tag", "item": {"key": "c2"}}],
        }
    ],
}


@pytest.mark.parametrize(
    ("body", "tool", "tests"), [(PURE, PURE_TOOL, PURE_TESTS), (TAG, TAG_TOOL, TAG_TESTS)], ids=["pure", "records one by one"]
)
def test_a_correct_tool_is_publishable(lab: Lab, scratch: Path, body: dict[str, Any], tool: str, tests: str) -> None:
    candidate = subject(tool, tests, ExecutionSpec.model_validate(body, strict=False))
    report = lab.runner.run(examine(candidate, lab.bench(scratch), Settings(), full_report=True))
    found = {gate["gate"]: gate["findings"] for gate in report["gates"] if gate["findings"]}
    assert found == {}, found
    assert report["publishable"] is True, report["rubric"]
