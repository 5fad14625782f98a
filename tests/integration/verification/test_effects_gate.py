"""Effects happen once: again, twice in one process, replayed, disturbed. Each defect is refused by the rule that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.verification.effects_gate import check_effects, choose_examples
from tests.support.bench import Lab, rules, subject
from tests.support.schedules import by_kind, told
from tests.support.specimens import SPEC, TOOL, changed, specimen_spec

STATE = """from contract import Args, Result, SendItem
from toolkit import Context, ToolError

SEEN: list[str] = []
"""
HEAD = "from contract import Args, Result, SendItem\nfrom toolkit import Context, ToolError\n"


def test_the_specimen_keeps_every_promise(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_effects, subject(), scratch)
    assert outcome.passed and not outcome.findings, outcome.findings
    cases = outcome.evidence["cases"]
    assert [(case["passed"], case["effects"]) for case in cases] == [(True, 2), (True, 2), (True, 1), (True, 0)]
    assert outcome.evidence["distinct_keys"] == {"send": 4}
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("policy", ["hold", "retry"])
def test_a_lost_reply_may_end_as_the_policy_says(lab: Lab, scratch: Path, policy: str) -> None:
    effect = {**SPEC["effects"][0], "on_unknown": policy}
    outcome = lab.ask(check_effects, subject(spec=specimen_spec(effects=[effect])), scratch)
    assert outcome.passed, outcome.findings
    lost = outcome.evidence["schedules"]["kinds"]["lose_reply"]
    assert lost["played"] == lost["of"] > 0, "each reply was lost once"


@pytest.mark.parametrize(
    "new", ['"to": f"{ctx.new_id()}@example.com",', '"to": f"{ctx.random.random()}@example.com",'], ids=["a new id", "chance"]
)
def test_keys_that_change_from_call_to_call_are_refused(lab: Lab, scratch: Path, new: str) -> None:
    tool = changed(TOOL, 'items = [letter(to, sender["name"]) for to in args["recipients"]]', "items = [ITEM for to in args['recipients']]")
    item = changed('{"to": to, "subject": "Hello", "text": "Hi"}', '"to": to,', new)
    outcome = lab.ask(check_effects, subject(tool=tool.replace("ITEM", item)), scratch)
    assert "new_effects_on_repeat" in rules(outcome.findings), outcome.findings


def test_a_memory_of_earlier_calls_in_the_process_is_refused(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, HEAD, STATE)
    tool = changed(
        tool, 'for to in args["recipients"]]', 'for to in args["recipients"] if to not in SEEN]\n    SEEN.extend(args["recipients"])'
    )
    outcome = lab.ask(check_effects, subject(tool=tool), scratch)
    assert "state_between_calls" in rules(outcome.findings), outcome.findings


def test_a_tool_that_is_run_twice_is_given_a_context_and_keeps_its_names(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, "def letter(", 'def twice(name: str) -> str:\n    return " ".join(name.split())\n\n\ndef letter(')
    tool = changed(tool, "{' '.join(name.split())}", "{twice(name)}")
    told = "    match ctx:\n        case Context():\n            pass\n        case _:\n            raise ToolError('no_context')\n"
    tool = changed(
        tool, "    counts =", f"{told}    if '<function run at ' not in repr(run):\n        raise ToolError('wrapped')\n    counts ="
    )
    outcome = lab.ask(check_effects, subject(tool=tool, spec=specimen_spec(examples=SPEC["examples"][:1])), scratch)
    assert outcome.passed and not outcome.findings, outcome.findings


@pytest.mark.parametrize(
    ("text", "rules_found"),
    [
        ('"Log in." if ctx.now() > began else "Hi"', {"moving_time_differs"}),
        ('"Log in." if (ctx.now().year, ctx.now().month) > (2026, 3) else "Hi"', {"other_time_differs"}),
        ('("Hi",)[(ctx.now().year, ctx.now().month) > (2026, 3)]', {"other_time_breaks"}),
        ('f"Sent {ctx.now().isoformat()}, {(ctx.now() - began).seconds} s after its beginning, {ctx.new_id()}"', set()),
    ],
)
def test_a_tool_that_awaits_its_time_is_seen_and_one_that_tells_it_is_not(
    lab: Lab, scratch: Path, text: str, rules_found: set[str]
) -> None:
    tool = changed(TOOL, "    sender =", "    began = ctx.now()\n    sender =")
    tool = changed(
        tool, "items = [letter(to, sender['name'])".replace("'", '"'), f'items = [letter(to, sender["name"]) | {{"text": {text}}}'
    )
    outcome = lab.ask(check_effects, subject(tool=tool, spec=specimen_spec(examples=SPEC["examples"][:1])), scratch)
    assert set(rules(outcome.findings)) == rules_found, outcome.findings
    assert outcome.passed is (rules_found <= {"other_time_differs"})


def test_a_counter_that_goes_on_in_the_process_is_refused(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, HEAD, STATE)
    tool = changed(tool, "    counts =", '    SEEN.append("")\n    counts =')
    tool = changed(tool, '"to": to,', '"to": f"{len(SEEN)}{to}",')
    outcome = lab.ask(check_effects, subject(tool=tool), scratch)
    assert "state_between_calls" in rules(outcome.findings), outcome.findings


def test_a_tool_that_breaks_on_its_second_call_is_refused(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, "    ctx.log(", '    if counts["skipped"]:\n        raise ToolError("done_before")\n    ctx.log(')
    assert "fails_on_repeat" in rules(lab.ask(check_effects, subject(tool=tool), scratch).findings)


def test_a_tool_that_counts_an_unknown_outcome_as_sent_is_refused(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, '"sent": counts["done"],\n        "skipped"', '"sent": counts["done"] + counts["unknown"],\n        "skipped"')
    tool = changed(tool, '"unknown": counts["unknown"],', '"unknown": 0,')
    outcome = lab.ask(check_effects, subject(tool=tool), scratch)
    assert {"ends_badly", "resume_fails"} & set(rules(outcome.findings))
    assert any("result.sent == effects.send.done" in finding.message for finding in outcome.findings)


def test_a_tool_that_asks_for_something_else_when_it_is_replayed_is_refused(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, HEAD, "import uuid\n\n" + HEAD)
    tool = changed(tool, '"text": "Good morning."', '"text": f"Good morning {uuid.uuid4()}."')
    outcome = lab.ask(check_effects, subject(tool=tool), scratch)
    assert rules(outcome.findings) == ["replay_differs"] * 3
    assert outcome.evidence["schedules"]["of"] == 0


def test_a_tool_that_goes_another_way_when_it_is_resumed_is_refused(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, HEAD, "import uuid\n\n" + HEAD)
    tool = changed(tool, "    counts =", "    waits = str(uuid.uuid4())\n    counts =")
    tool = changed(tool, "    ctx.log(", '    if counts["failed"]:\n        raise ToolError("refused", waits)\n    ctx.log(')
    spec = specimen_spec(examples=[SPEC["examples"][0]])
    found = by_kind(lab, subject(tool=tool, spec=spec), scratch)
    assert told(found) == {"refuse_for_good": {"resume_differs"}, "refuse_all": {"resume_differs"}}, found


def test_what_is_left_to_do_may_be_done_by_the_same_call_again(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, "    items =", '    todo = {row["key"] for row in ctx.read_pages("letters", collection="letters")}\n    items =')
    tool = changed(tool, 'for to in args["recipients"]]', 'for to in args["recipients"] if to not in todo][:1]')
    note = 'if ctx.perform("note", {"key": items[0]["to"], "body": {}}).status not in ("done", "skipped"):'
    tool = changed(tool, "        ctx.progress(", f'        {note}\n            raise ToolError("not_noted")\n        ctx.progress(')
    reads = [*SPEC["reads"], {"id": "letters", "connector": "records.query", "config": {"collections": ["letters"]}}]
    noted = {**SPEC["effects"][0], "id": "note", "connector": "records.put", "config": {"collection": "letters"}, "key": "[item.key]"}
    spec = specimen_spec(reads=reads, effects=[SPEC["effects"][0], {**noted, "ledger": None}], examples=SPEC["examples"][:1])
    outcome = lab.ask(check_effects, subject(tool=tool, spec=spec), scratch)
    assert outcome.passed, outcome.findings
    assert outcome.evidence["repeats"] == {"calls": 1, "added": 2}
    assert outcome.evidence["schedules"]["kinds"].keys() >= {"refuse_for_good", "lose_reply", "crash_after", "stopped", "twins"}
    hidden = changed(tool, '.status not in ("done", "skipped")', " is None")
    assert "refusal_swallowed" in rules(lab.ask(check_effects, subject(tool=hidden, spec=spec), scratch).findings)


def test_the_evidence_says_which_schedules_were_played_and_names_those_left_out(lab: Lab, scratch: Path) -> None:
    told = lab.ask(check_effects, subject(), scratch).evidence["schedules"]
    assert (told["played"], told["played"] + len(told["left_out"])) == (20, told["of"])
    assert sum(kind["played"] for kind in told["kinds"].values()) == 20
    assert all(kind["played"] for kind in told["kinds"].values())
    assert {"kind", "example"} <= told["left_out"][0].keys()


def test_an_effect_that_no_example_performs_is_unproven(lab: Lab, scratch: Path) -> None:
    spare = {**SPEC["effects"][0], "id": "spare"}
    outcome = lab.ask(check_effects, subject(spec=specimen_spec(effects=[SPEC["effects"][0], spare])), scratch)
    assert rules(outcome.findings) == ["effect_unproven"]


def test_an_effect_that_every_example_refuses_is_not_taken_for_disturbed(lab: Lab, scratch: Path) -> None:
    refused = {**SPEC["examples"][0]["world"], "script": [{"effect": "send", "answer": "refuse_for_good"}]}
    outcome = lab.ask(check_effects, subject(spec=specimen_spec(examples=[{**SPEC["examples"][0], "world": refused}])), scratch)
    assert rules(outcome.findings) == ["effect_undisturbed"] and not outcome.passed


def test_of_many_examples_those_are_run_that_do_what_no_other_does() -> None:
    idle = {**SPEC["examples"][0], "effects": []}
    refused = [
        {**SPEC["examples"][0], "name": f"refused {number}", "effects": [{"id": "send", "status": "failed"}]} for number in range(14)
    ]
    spec = specimen_spec(examples=[idle, *refused, {**SPEC["examples"][0], "name": "done"}])
    chosen = [example.name for example in choose_examples(spec)]
    assert chosen == ["done", *(f"refused {number}" for number in range(11))]


def test_every_effect_that_some_example_does_is_looked_at_however_many_there_are() -> None:
    ids = [f"send_{number}" for number in range(14)]
    effects = [{**SPEC["effects"][0], "id": name} for name in ids]
    examples = [{**SPEC["examples"][0], "name": name, "effects": [{"id": name}]} for name in ids]
    assert [example.name for example in choose_examples(specimen_spec(effects=effects, examples=examples))] == ids


def test_what_a_tool_draws_by_chance_is_not_taken_for_what_time_does(lab: Lab, scratch: Path) -> None:
    drawn = changed(TOOL, '"text": "Good morning."', '"text": text')
    drawn = changed(drawn, "def letter(to: str, name: str)", "def letter(to: str, name: str, text: str)")
    drawn = changed(drawn, 'sender["name"]) for to', 'sender["name"], f"{ctx.random.choice((1, 2))} {ctx.new_id()}") for to')
    drawn = changed(drawn, 'ctx.perform_each("send", items)', '(ctx.perform("send", item) for item in items)')
    outcome = lab.ask(check_effects, subject(tool=drawn), scratch)
    assert outcome.findings == [] and outcome.evidence["schedules"]["kinds"]["stopped"]["played"] > 0


@pytest.mark.parametrize("now", ["2026-03-01T09:59:58Z", "2026-03-01T23:59:30Z", "2026-03-01T09:55:00Z"])
def test_a_key_with_the_time_in_it_is_refused_and_one_with_the_day_in_it_is_not_at_any_time_of_the_hour(
    lab: Lab, scratch: Path, now: str
) -> None:
    spec = specimen_spec(examples=[{**SPEC["examples"][0], "now": now}])
    timed = changed(TOOL, 'letter(to, sender["name"])', 'letter(f"{ctx.now():%H%M}{to}", sender["name"])')
    assert "new_effects_on_repeat" in told(by_kind(lab, subject(timed, spec=spec), scratch, []))["clean"]
    daily = changed(TOOL, 'letter(to, sender["name"])', 'letter(f"{ctx.now():%d}{to}", sender["name"])')
    found = by_kind(lab, subject(daily, spec=spec), scratch, ["twins", "stopped", "lose_reply"])
    assert told(found) == {"clean": {"other_time_differs"}}, found
