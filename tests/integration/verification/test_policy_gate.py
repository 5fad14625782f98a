"""What is not declared or not allowed is refused, audited, and leaves nothing; what a hostile record holds stays text."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from app.connectors.scripted import scripted
from app.verification.inside.allowlist import examine
from app.verification.policy_attempts import line_fields
from app.verification.policy_gate import _undeclared_hosts, check_policy
from tests.support.bench import Lab, rules, subject
from tests.support.refunds import refund_spec
from tests.support.specimens import SPEC, TOOL, changed, specimen_spec

CALLER = ("tools:call", "campaigns:send")


def calls_of(tool: str) -> dict[str, dict[str, Any]]:
    return {"imports": examine(tool, "tool.py")[1]}


def with_html(name: str) -> str:
    """The specimen, which writes the sender's name into the html of its mail as `name` says."""
    return changed(TOOL, '"text": "Good morning."}', f'"text": "Good morning.", "html": f"<p>{{{name}}}</p>"}}')


def hostile_findings(lab: Lab, scratch: Path, tool: str, **spec: Any) -> list[str]:
    return rules(lab.ask(check_policy, subject(tool=tool, spec=specimen_spec(**spec)), scratch, calls_of(tool)).findings)


def test_each_row_of_the_policy_is_refused_audited_and_leaves_nothing(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_policy, subject(spec=specimen_spec(permissions=["campaigns:send"])), scratch, calls_of(TOOL))
    assert outcome.passed and not outcome.findings, outcome.findings
    codes = {case["case"]: case["code"] for case in outcome.evidence["cases"] if "code" in case}
    assert codes == {
        "undeclared_perform": "effect_undeclared",
        "undeclared_read": "read_undeclared",
        "misfit_send": "item_invalid",
        "stripped_sender": "read_undeclared",
        "stripped_send": "effect_undeclared",
        "stripped_send 2": "effect_undeclared",
        "stripped_send 3": "effect_undeclared",
        "limit_send": "effect_limit_exceeded",
        "keyless_send": "key_unusable",
        "smuggled_send": "item_invalid",
        "caller without campaigns:send": "tool_not_found",
        "caller without tools:call": "tool_not_found",
    }
    assert all(
        (case["ended"], case["audited"], case["left"]) == ("refused", True, 0) for case in outcome.evidence["cases"] if "code" in case
    )
    assert [case for case in outcome.evidence["cases"] if "code" not in case] == [
        {"case": "hostile campaigns.name", "asked": "campaigns", "ended": "result"}
    ]
    assert outcome.evidence["refused"] == dict.fromkeys(["ids_declared", *codes, "hostile campaigns.name"], True)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('ctx.perform_each("send"', 'ctx.perform_each("send_all"', "undeclared_effect"),
        ('ctx.read("sender"', 'ctx.read("person"', "undeclared_read"),
        ('ctx.perform_each("send"', 'ctx.perform_each(args["campaign"]', "id_not_literal"),
    ],
)
def test_ids_that_are_not_declared_or_not_written_out_are_refused(lab: Lab, scratch: Path, old: str, new: str, rule: str) -> None:
    tool = changed(TOOL, old, new)
    outcome = lab.ask(check_policy, subject(tool=tool), scratch, calls_of(tool))
    found = next(finding for finding in outcome.findings if finding.severity == "error")
    assert (found.rule, found.file) == (rule, "tool.py") and found.line
    assert outcome.evidence["refused"]["ids_declared"] is False


def test_a_declaration_that_the_code_never_names_is_refused(lab: Lab, scratch: Path) -> None:
    spare = {"id": "spare", "connector": "records.get", "config": {"collection": "other"}}
    outcome = lab.ask(check_policy, subject(spec=specimen_spec(reads=[*SPEC["reads"], spare])), scratch, calls_of(TOOL))
    assert not outcome.passed and rules(outcome.findings) == ["unused_declaration"]


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("'https://pay.example.com/refunds'", False),
        ("'https://pay.example.com:443/refunds'", False),
        ("f'https://pay.{country}.com/refunds'", False),
        ("f'https://{host}/refunds'", False),
        ("'https://pay.example.com' + path", False),
        ("'https://pay.example.org/refunds'", True),
        ("'https://pay/refunds'", True),
        ("f'https://evil.{country}.com/refunds'", True),
    ],
)
def test_a_host_is_refused_that_no_effect_declares_and_one_that_may_become_a_declared_one_is_not(url: str, refused: bool) -> None:
    named = examine(f'ITEM = {{"method": "POST", "url": {url}}}\n', "tool.py")[1]["hosts"]
    assert rules([*_undeclared_hosts(refund_spec(), named)]) == ["undeclared_host"] * refused


EVERY = """def every(ctx: Context, items: list[SendItem]) -> list[Outcome]:
    try:
        return ctx.perform_many("send", items)
    except ToolError:
        return []


def run("""
READ = """try:
        sender = ctx.read("sender", key=args["campaign"])
    except ToolError:
        sender = {"name": "Ann"}
"""
FAIL_OPEN = {
    "sender": changed(TOOL, 'sender = ctx.read("sender", key=args["campaign"])\n', READ),
    "send": changed(
        changed(changed(TOOL, 'ctx.perform_each("send", items)', "every(ctx, items)"), "def run(", EVERY), "import C", "import Outcome, C"
    ),
}


@pytest.mark.parametrize("asked", FAIL_OPEN)
def test_a_tool_that_goes_on_after_a_refusal_as_if_nothing_was_is_refused(lab: Lab, scratch: Path, asked: str) -> None:
    tool = FAIL_OPEN[asked]
    outcome = lab.ask(check_policy, subject(tool=tool), scratch, calls_of(tool))
    assert rules(outcome.findings) == ["refusal_passed_over"] and repr(asked) in outcome.findings[0].message


def test_a_tool_that_goes_on_after_a_refusal_in_another_place_is_refused_too(lab: Lab, scratch: Path) -> None:
    guarded = changed(FAIL_OPEN["send"], "every(ctx, items)", "(every if len(items) == 1 else ordinary)(ctx, items)")
    plain = 'def ordinary(ctx: Context, items: list[SendItem]) -> list[Outcome]:\n    return ctx.perform_many("send", items)\n\n\ndef run('
    tool = changed(guarded, "def run(", plain)
    several = SPEC["examples"][0]
    alone = {**several, "name": "alone", "args": {**several["args"], "recipients": ["c@example.com"]}, "effects": [{"id": "send"}]}
    outcome = lab.ask(check_policy, subject(tool=tool, spec=specimen_spec(examples=[several, alone])), scratch, calls_of(tool))
    assert rules(outcome.findings) == ["refusal_passed_over"]
    assert (outcome.evidence["refused"]["stripped_send"], outcome.evidence["refused"]["stripped_send 2"]) == (True, False)


def test_a_read_that_only_the_last_of_many_examples_makes_is_refused_there(lab: Lab, scratch: Path) -> None:
    rare = """sender = {"name": "Ann"}
    if len(args["recipients"]) == 1:
        try:
            sender = ctx.read("sender", key=args["campaign"])
        except ToolError:
            pass
"""
    tool = changed(TOOL, 'sender = ctx.read("sender", key=args["campaign"])\n', rare)
    several, alone = SPEC["examples"][0], {**SPEC["examples"][0]["args"], "recipients": ["c@example.com"]}
    examples = [*({**several, "name": f"several {number}"} for number in range(5)), {**several, "args": alone}]
    outcome = lab.ask(check_policy, subject(tool=tool, spec=specimen_spec(examples=examples)), scratch, calls_of(tool))
    assert rules(outcome.findings) == ["refusal_passed_over"] and outcome.evidence["refused"]["stripped_sender"] is False


def test_a_record_that_becomes_markup_in_a_mail_is_refused_and_an_escaped_one_is_not(lab: Lab, scratch: Path) -> None:
    assert hostile_findings(lab, scratch, with_html("name")) == ["hostile_markup"]
    escaped = changed(with_html("html.escape(name)"), "\n\nfrom contract", "\n\nimport html\n\nfrom contract")
    assert hostile_findings(lab, scratch, escaped) == []


def test_what_is_not_tried_of_many_fields_is_told(lab: Lab, scratch: Path) -> None:
    body = {"name": "Ann"} | {f"other_{number:02}": "A text" for number in range(17)}
    world = {"records": {"campaigns": [{"key": "spring", "body": body}]}}
    outcome = lab.ask(
        check_policy, subject(spec=specimen_spec(examples=[{**SPEC["examples"][0], "world": world}])), scratch, calls_of(TOOL)
    )
    hostile = [case["case"] for case in outcome.evidence["cases"] if "code" not in case]
    assert len(hostile) == 16 and outcome.evidence["left_out"] == ["hostile campaigns.other_15", "hostile campaigns.other_16"]


def test_an_address_that_stands_inside_a_records_text_must_not_be_written_to(lab: Lab, scratch: Path) -> None:
    found = ' + [letter(word.strip(",:"), "x") for word in sender["name"].split() if "@" in word]'
    tool = changed(TOOL, 'for to in args["recipients"]]', f'for to in args["recipients"]]{found}')
    assert hostile_findings(lab, scratch, tool) == ["hostile_recipient"]


def test_a_tool_that_breaks_on_a_hostile_record_is_told_so(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, "    counts =", '    first, last = (sender["name"] + " x").split(" ")\n    counts =')
    spec = copy.deepcopy(SPEC["examples"][:1])
    outcome = lab.ask(check_policy, subject(tool=tool, spec=specimen_spec(examples=spec)), scratch, calls_of(tool))
    assert outcome.passed and rules(outcome.findings) == ["hostile_record"]
    assert "'name' of a record in 'campaigns' ends the run with 'tool_crashed'" in outcome.findings[0].message


def test_a_pace_does_not_slow_verification(lab: Lab, scratch: Path) -> None:
    slow = {**SPEC["effects"][0], "limits": {"per_run": 1000, "per_second": 0.001}}
    assert hostile_findings(lab, scratch, TOOL, effects=[slow]) == []


def test_what_is_one_line_of_an_item_is_told_by_its_connector() -> None:
    kinds = scripted().catalog.kinds
    lines = {name: line_fields(kind) for name, kind in kinds.items() if kind.role == "effect"}
    assert lines["email.send"] == ("reply_to", "subject", "to") and lines["http.request"] == ("url",)
    assert lines["notify.send"] == ("channel", "subject") and lines["records.put"] == ()
