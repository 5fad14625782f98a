"""What happened can be seen, and who it happened to cannot; costs are compared."""

from __future__ import annotations

import logging
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.observability.logs import LOGGER
from app.verification.cost_gate import check_cost
from app.verification.path_gate import _listening, check_path
from app.verification.private import MARK, marked, personal_values, tells_of
from tests.support.bench import Lab, rules, subject
from tests.support.specimens import SPEC, TOOL, changed, specimen_spec

PATH: dict[str, Any] = {"wall_ms": 50, "cpu_ms": 10, "items": 2}


def test_a_call_over_the_published_path_leaves_all_that_must_be_seen(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_path, subject(), scratch)
    assert outcome.passed and not outcome.findings, outcome.findings
    assert set(outcome.evidence["observed"].values()) == {True}
    assert outcome.evidence["items"] == 2 and outcome.evidence["rss_kb"] > 0 and outcome.evidence["log_lines"] == 1
    assert list(scratch.iterdir()) == []


def test_a_process_that_dies_in_the_busiest_example_does_not_die_on_the_published_path(lab: Lab, scratch: Path) -> None:
    example = {**SPEC["examples"][0], "world": {**SPEC["examples"][0]["world"], "script": [{"effect": "send", "answer": "crash"}]}}
    outcome = lab.ask(check_path, subject(spec=specimen_spec(examples=[example])), scratch)
    assert outcome.passed, outcome.findings


def test_of_two_that_listen_to_the_log_at_once_each_hears_to_its_end() -> None:
    level = LOGGER.level
    LOGGER.setLevel(logging.WARNING)
    first, second = _listening(), _listening()
    first.__enter__()
    heard = second.__enter__()
    first.__exit__(None, None, None)
    LOGGER.info("run.finished", extra={"fields": {"run_id": "run_1"}})
    second.__exit__(None, None, None)
    assert [*heard] == [{"run_id": "run_1"}] and LOGGER.level == logging.WARNING
    LOGGER.setLevel(level)


@pytest.mark.parametrize(
    "fields",
    [
        'to=args["recipients"][0]',
        'who=sender["name"]',
        'to=[{"mail": to} for to in args["recipients"]]',
        "text=f\"sent to {items[0]['to']}\"",
        'who=args["recipients"][0].split("@")[0]',
        'who=args["recipients"][0].upper()',
        'who=sender["name"][:5]',
    ],
)
def test_personal_data_in_a_log_is_refused(lab: Lab, scratch: Path, fields: str) -> None:
    example = {**SPEC["examples"][0], "world": {"records": {"campaigns": [{"key": "spring", "body": {"name": "Annabel"}}]}}}
    tool = changed(TOOL, 'sent=counts["done"])', fields + ")")
    outcome = lab.ask(check_path, subject(tool=tool, spec=specimen_spec(examples=[example])), scratch)
    assert rules(outcome.findings) == ["path_log_private"]
    assert outcome.evidence["observed"]["log_private"] is False


def test_the_example_in_which_a_person_is_told_of_is_named_and_a_held_out_one_is_masked(lab: Lab, scratch: Path) -> None:
    quiet, args = SPEC["examples"][0], {**SPEC["examples"][0]["args"], "recipients": ["c@example.com"]}
    effects = [{**quiet["effects"][0], "item": {"to": "c@example.com"}}]
    result = {**quiet["result"], "sent": 1}
    other = {**quiet, "name": "one alone", "visibility": "held_out", "args": args, "effects": effects, "result": result}
    tool = changed(TOOL, 'sent=counts["done"])', 'sent=counts["done"], to=args["recipients"][0] if len(args["recipients"]) == 1 else "")')
    more = [{**quiet, "name": f"quiet {number}"} for number in range(6)]
    (finding,) = lab.ask(check_path, subject(tool=tool, spec=specimen_spec(examples=[quiet, *more, other])), scratch).findings
    assert (finding.rule, finding.input, finding.held_out) == ("path_log_private", {"example": "one alone"}, True)


def test_what_is_personal_is_told_by_form_or_by_field() -> None:
    assert personal_values(specimen_spec().examples[0]) == {"a@example.com", "b@example.com"}
    record = {"key": "c1", "body": {"last_name": "Ångström", "status": "active", "call": "+47 22 12 34 56", "n": 4}}
    example = specimen_spec().examples[0].model_copy(update={"args": {"day": "2026-03-01"}})
    world = example.world.model_validate({"records": {"customers": [record]}}, strict=False)
    assert personal_values(example.model_copy(update={"world": world})) == {"Ångström", "+47 22 12 34 56"}


def test_months_numbers_and_names_of_things_are_not_personal() -> None:
    args = {"period": "2026-02", "number": "2026-0001", "amount": "1234567.50", "campaign_name": "Spring", "text": "Ask ann@example.com."}
    assert personal_values(specimen_spec().examples[0].model_copy(update={"args": args})) == {"ann@example.com"}


def test_people_carry_a_mark_wherever_they_stand() -> None:
    script = [{"effect": "send", "when": {"to": "a@example.com"}, "answer": "refuse_for_good"}]
    body = {"key": "a@example.com", "body": {"name": "Ann Lee", "note": "Ask a@example.com.", "status": "active"}}
    example = specimen_spec().examples[0]
    world = example.world.model_validate({"records": {"people": [body]}, "script": script}, strict=False)
    found = marked(example.model_copy(update={"world": world}))
    record = found.world.records["people"][0]
    assert found.args["recipients"][0] == record.key == found.world.script[0].when["to"] == f"{MARK}a@example.com"
    assert record.body == {"name": f"{MARK}Ann {MARK}Lee", "note": f"Ask {MARK}a@example.com.", "status": "active"}
    assert tells_of(["greeted", {"who": record.body["name"].upper().split()[1]}], set())
    assert tells_of(["called", {"to": "0047 22-12 34 56"}], {"+47 22 12 34 56"}) and not tells_of(["sent", {"count": 3}], {"Anna"})


def test_costs_are_compared_at_the_declared_volume(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_cost, subject(), scratch, {"path": PATH})
    assert outcome.passed and 0.9 < outcome.evidence["saving"] <= 1
    assert outcome.evidence["measured_ms"] == 50 and outcome.evidence["break_even_runs"] is None


def test_a_tool_that_costs_more_than_prompting_is_refused(lab: Lab, scratch: Path) -> None:
    cheap = specimen_spec(baseline={"calls_per_item": 0.0001, "input_tokens_per_call": 1, "output_tokens_per_call": 1, "model": None})
    outcome = lab.ask(check_cost, subject(spec=cheap), scratch, {"path": {**PATH, "wall_ms": 60_000}})
    assert rules(outcome.findings) == ["costs_more"] and outcome.evidence["saving"] == 0


def test_a_volume_below_break_even_is_refused(lab: Lab, scratch: Path) -> None:
    rare = specimen_spec(volume={"runs_per_month": 1, "items_per_run": 1})
    candidate = replace(subject(spec=rare), generation_usd=Decimal("2.50"))
    outcome = lab.ask(check_cost, candidate, scratch, {"path": PATH})
    assert rules(outcome.findings) == ["below_break_even"]
    assert outcome.evidence["break_even_runs"] > outcome.evidence["declared_runs"] == 12 and outcome.evidence["saving"] == 0
    runs = outcome.evidence["break_even_runs"]
    assert f"it pays off after {runs} runs, and the spec declares 12 in 12 months" in outcome.findings[0].message
    assert f"at least {-(-runs // 12)} as volume.runs_per_month" in outcome.findings[0].fix


def test_a_model_without_a_price_is_no_baseline(lab: Lab, scratch: Path) -> None:
    odd = specimen_spec(baseline={**SPEC["baseline"], "model": "no-such-model"})
    outcome = lab.ask(check_cost, subject(spec=odd), scratch, {"path": PATH})
    assert rules(outcome.findings) == ["baseline_unknown"] and "saving" not in outcome.evidence
