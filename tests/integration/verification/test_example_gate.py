"""Golden cases on the real runtime: what differs is told by the place, what is held out stays marked."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.connectors.port import Reply, Request
from app.connectors.scripted import ScriptedEmail
from app.verification.examples_gate import check_examples
from tests.support.bench import Lab, rules, subject
from tests.support.processes import kill_whole
from tests.support.specimens import SPEC, TOOL, changed, specimen_spec

HELD_OUT = "the same address twice"


def test_every_example_of_the_specimen_holds(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_examples, subject(), scratch)
    assert outcome.passed, outcome.findings
    assert [case["passed"] for case in outcome.evidence["cases"]] == [True] * 4
    assert [case.get("held_out", False) for case in outcome.evidence["cases"]] == [False, False, False, True]
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "rule", "words"),
    [
        ('"failed": counts["failed"],', '"failed": 0,', "example_invariant", "invariant_violated"),
        ('args["recipients"]]', 'args["recipients"][:1]]', "example_result", "$.result.sent is 1, expected 2"),
        ('"to": to,', '"to": "z" + to,', "example_effect", "$.item.to is 'za@example.com', expected 'a@example.com'"),
        ('"campaign_not_found"', '"no_campaign"', "example_error", "'campaign_not_found'"),
        ("if sender is None:", "if False:", "example_error", "tool_crashed"),
        ("    ctx.log(", '    ctx.perform("send", letter("extra@example.com", "Ann"))\n    ctx.log(', "example_invariant", "invariant"),
        ('"unknown": counts["unknown"],', '"unknown": counts["unknown"], "more": 1,', "example_schema", "more"),
        ("    ctx.log(", "    counts[args['nothing']] = 1\n    ctx.log(", "example_crash", "KeyError"),
        ('ctx.read("sender"', 'ctx.read("senders"', "example_failed", "read_undeclared"),
    ],
)
def test_a_defect_is_found_and_told_by_its_place(lab: Lab, scratch: Path, old: str, new: str, rule: str, words: str) -> None:
    outcome = lab.ask(check_examples, subject(tool=changed(TOOL, old, new)), scratch)
    found = [finding for finding in outcome.findings if finding.rule == rule]
    assert found, outcome.findings
    assert all(finding.fix and finding.input["example"] for finding in found)
    assert any(words in f"{finding.message} {finding.got}" for finding in found), found


def test_what_no_example_names_is_no_defect_of_the_examples(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_examples, subject(tool=changed(TOOL, 'f"Hello from', 'f"Hi from')), scratch)
    assert outcome.passed and not outcome.findings, "they say nothing of the subject of a mail"


def test_a_crash_is_told_with_the_line_of_the_tool(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, "    ctx.log(", "    counts[args['nothing']] = 1\n    ctx.log(")
    finding = lab.ask(check_examples, subject(tool=tool), scratch).findings[0]
    assert (finding.file, finding.line) == ("tool.py", tool[: tool.index("args['nothing']")].count("\n") + 1)


def test_what_a_held_out_example_shows_is_marked_as_such(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, 'for to in args["recipients"]]', 'for to in dict.fromkeys(a.lower() for a in args["recipients"])]')
    outcome = lab.ask(check_examples, subject(tool=tool), scratch)
    assert rules(outcome.findings) == ["example_effect_missing"]
    (finding,) = outcome.findings
    assert finding.held_out and finding.as_dict()["held_out"] is True and HELD_OUT in finding.message


def test_a_tool_that_never_ends_is_cut(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, "    ctx.log(", "    while True:\n        counts['done'] += 0\n    ctx.log(")
    spec = specimen_spec(limits={"timeout_s": 1}, examples=SPEC["examples"][:1])
    (finding,) = lab.ask(check_examples, subject(tool=tool, spec=spec), scratch).findings
    assert finding.rule == "example_failed" and "timed_out" in finding.message


def test_an_example_may_crash_its_process_and_is_resumed(lab: Lab, scratch: Path) -> None:
    crash = [{"effect": "send", "when": {"to": "b@example.com"}, "answer": "crash"}]
    example = dict(SPEC["examples"][0])
    example["world"] = {**example["world"], "script": crash}
    example["result"] = {"sent": 1, "skipped": 0, "waiting": 0, "failed": 0, "unknown": 1}
    example["effects"] = [
        {"id": "send", "item": {"to": "a@example.com"}},
        {"id": "send", "item": {"to": "b@example.com"}, "status": "unknown"},
    ]
    outcome = lab.ask(check_examples, subject(spec=specimen_spec(examples=[example])), scratch)
    assert outcome.passed, outcome.findings


def test_a_run_whose_sandbox_is_killed_breaks_the_check_and_says_nothing_of_the_candidate(
    lab: Lab, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform = ScriptedEmail.perform

    async def last_act(port: ScriptedEmail, request: Request) -> Reply:
        await kill_whole(_sandboxes())
        return await perform(port, request)

    monkeypatch.setattr(ScriptedEmail, "perform", last_act)  # the very same, after the sandbox was killed
    with pytest.raises(RuntimeError, match="broken off"):
        lab.ask(check_examples, subject(), scratch)


def _sandboxes() -> list[int]:
    found = [pid for children in Path("/proc/self/task").glob("*/children") for pid in children.read_text().split()]
    return [int(pid) for pid in found if "bwrap" in Path(f"/proc/{pid}/comm").read_text()]
