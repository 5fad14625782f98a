"""Schedules: correct tools keep what is promised under each; each kind finds a defect that is hidden from all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from app.verification.effects_gate import check_effects
from app.verification.schedules import Kind
from tests.support.bench import Lab, rules, subject
from tests.support.refunds import REFUND_SPEC, REFUND_TOOL, refund_spec
from tests.support.schedules import by_kind, told
from tests.support.specimens import SPEC, TOOL, changed, specimen_spec

FIRST = SPEC["examples"][0]
FREE: dict[str, Any] = {"invariants": []}
EACH = 'for done, outcome in enumerate(ctx.perform_each("send", items), 1):\n        counts[outcome.status] += 1\n'
LETTERS = 'items = [letter(to, sender["name"]) for to in args["recipients"]]'
SENT = '"sent": counts["done"],\n        "skipped"'

PAIRS_TOOL = '''"""Books each entry and marks it as booked."""

from contract import Args, Result
from toolkit import Context


def run(args: Args, ctx: Context) -> Result:
    """A mark follows each entry."""
    booked = marked = 0
    for entry in args["entries"]:
        seen = ctx.read("mark", key=entry)
        outcome = ctx.perform("book", {"key": entry, "body": {"entry": entry}})
        booked += outcome.status in ("done", "skipped")
        if outcome.status in ("done", "skipped"):
            mark = ctx.perform("mark", {"key": entry, "body": {"entry": entry}})
            marked += mark.status in ("done", "skipped")
    return {"booked": booked, "marked": marked}
'''


def pairs(**changes: Any) -> Any:
    """The spec of `PAIRS_TOOL`."""
    number = {"type": "integer", "minimum": 0, "maximum": 100, "description": "A number."}
    text = {"type": "string", "minLength": 1, "maxLength": 40, "description": "A key."}
    inputs = {**SPEC["inputs"], "required": ["entries"], "properties": {"entries": {"type": "array", "maxItems": 9, "items": text}}}
    outputs = {**SPEC["outputs"], "required": ["booked", "marked"], "properties": {"booked": number, "marked": number}}
    effect = {"connector": "records.put", "key": "[item.key]", "limits": {"per_run": 9}, "undo": None, "undo_reason": "kept for good"}
    body = {
        "name": "book_pairs",
        "inputs": inputs,
        "outputs": outputs,
        "reads": [{"id": "mark", "connector": "records.get", "config": {"collection": "marks"}}],
        "effects": [
            {**effect, "id": "book", "config": {"collection": "books"}},
            {**effect, "id": "mark", "config": {"collection": "marks"}},
        ],
        "invariants": [{"id": "first", "text": "what is marked is booked", "expr": "effects.mark.distinct <= effects.book.distinct"}],
        "examples": [{"name": "two", "args": {"entries": ["a", "b"]}, "result": {"booked": 2, "marked": 2}, "effects": []}],
    }
    return specimen_spec(**{**body, **changes})


@pytest.mark.parametrize(
    ("tool", "spec"),
    [(TOOL, SPEC), (REFUND_TOOL, REFUND_SPEC), (PAIRS_TOOL, pairs().body())],
    ids=["mails", "refunds", "pairs of records"],
)
def test_a_correct_tool_keeps_its_promises_under_every_schedule(lab: Lab, scratch: Path, tool: str, spec: dict[str, Any]) -> None:
    found = by_kind(lab, subject(tool, spec=specimen_spec(**spec)), scratch)
    assert found == {}, found


def test_an_effect_whose_doubt_is_ended_by_doing_it_again_may_be_done_twice(lab: Lab, scratch: Path) -> None:
    effects = [{**effect, "on_unknown": "retry"} for effect in REFUND_SPEC["effects"]]
    cues: list[dict[str, Any]] = [{"effect": "refund", "answer": "lose_reply", "times": 2}, {"effect": "tell", "answer": "lose_reply"}]
    found = by_kind(lab, subject(REFUND_TOOL, spec=refund_spec(effects=effects, examples=[scripted_refund(*cues)])), scratch)
    assert found == {}, found


def scripted_refund(*script: dict[str, Any]) -> dict[str, Any]:
    example: dict[str, Any] = REFUND_SPEC["examples"][0]
    return {**example, "world": {**example["world"], "script": list(script)}}


@pytest.mark.parametrize("effect", ["refund", "book"])
def test_a_process_that_dies_in_an_example_of_the_author_dies_under_a_schedule_too(lab: Lab, scratch: Path, effect: str) -> None:
    example = scripted_refund({"effect": effect, "answer": "crash"})
    found = by_kind(lab, subject(REFUND_TOOL, spec=refund_spec(examples=[example])), scratch, ["twins", "permuted", "one_by_one"])
    assert found == {}, found


def test_a_tool_may_end_with_an_error_of_its_own_where_something_required_was_refused(lab: Lab, scratch: Path) -> None:
    tool = changed(
        TOOL, EACH, EACH + '        if outcome.status == "failed":\n            raise ToolError("refused", "A letter was refused.")\n'
    )
    assert by_kind(lab, subject(tool), scratch, ["refuse_for_good", "crash_before"]) == {}


DEFECTS: list[tuple[str, str, dict[str, Any], dict[str, set[str]]]] = [
    (
        "refusals are counted as sent",
        changed(
            changed(TOOL, SENT, SENT.replace('counts["done"]', 'counts["done"] + counts["failed"]')),
            '"failed": counts["failed"]',
            '"failed": 0',
        ),
        FREE,
        {"refuse_for_good": {"refusal_swallowed"}, "refuse_all": {"refusal_swallowed"}},
    ),
    (
        "what waits in the queue is counted as sent",
        changed(
            changed(TOOL, SENT, SENT.replace('counts["done"]', 'counts["done"] + counts["retrying"]')),
            '"waiting": counts["retrying"]',
            '"waiting": 0',
        ),
        {},
        {"refuse_now": {"ends_badly"}},
    ),
    (
        "what may have been sent is sent again to another spelling",
        changed(
            TOOL,
            EACH,
            EACH
            + """        if outcome.status == "unknown" and outcome.error["code"] != "holder_died":
            again = items[done - 1]
            ctx.perform("send", {**again, "to": again["to"].replace("@", "+again@")})
""",
        ),
        FREE,
        {"lose_reply": {"repeated_under_another_key"}},
    ),
    (
        "a death of the process is a reason that is not in the table",
        changed(TOOL, EACH, EACH + '        if outcome.error:\n            {"smtp": 1}[outcome.error["code"].partition("_")[0]]\n'),
        {},
        {"crash_before": {"resume_fails"}, "crash_after": {"resume_fails"}},
    ),
    (
        "the place in the list is the key",
        changed(TOOL, LETTERS, 'items = [letter(f"c{number}@example.com", sender["name"]) for number, _ in enumerate(args["recipients"])]'),
        {},
        {"one_by_one": {"items_share_a_key"}, "duplicated": {"duplicates_change_keys"}},
    ),
    (
        "the neighbour in the list is part of the key",
        changed(
            TOOL,
            LETTERS,
            """tos = args["recipients"]
    items = [letter(f"x{to}" if before > to else to, sender["name"]) for before, to in zip(["", *tos], tos)]""",
        ),
        {},
        {"permuted": {"order_changes_keys"}, "duplicated": {"duplicates_change_keys"}},
    ),
    (
        "nobody has thought of an address that comes twice",
        changed(
            TOOL,
            EACH,
            EACH.replace("counts[", 'if outcome.status == "duplicate":\n            raise KeyError(outcome.status)\n        counts['),
        ),
        {},
        {"duplicated": {"list_fails"}},
    ),
]


@pytest.mark.parametrize(("tool", "spec", "expected"), [row[1:] for row in DEFECTS], ids=[row[0] for row in DEFECTS])
def test_a_kind_of_schedule_finds_what_is_hidden_from_all_others(
    lab: Lab, scratch: Path, tool: str, spec: dict[str, Any], expected: dict[str, set[str]]
) -> None:
    found = by_kind(lab, subject(tool, spec=specimen_spec(**spec)), scratch)
    assert told(found) == expected, found


def test_a_mark_that_only_follows_a_booking_of_the_same_run_is_found_by_a_run_that_was_stopped(lab: Lab, scratch: Path) -> None:
    tool = changed(PAIRS_TOOL, 'if outcome.status in ("done", "skipped"):', 'if outcome.status == "done":')
    found = by_kind(lab, subject(tool, spec=pairs()), scratch)
    assert told(found) == {"stopped": {"not_recovered"}}, found


GUARD = """        if seen is not None:
            booked += 1
            marked += 1
            continue
"""
BOOKED = '        outcome = ctx.perform("book"'


def test_a_mark_before_the_booking_is_found_by_a_run_that_was_stopped(lab: Lab, scratch: Path) -> None:
    tool = changed(PAIRS_TOOL, BOOKED, GUARD + BOOKED)
    for old, new in (("book", "BOOK"), ("mark", "book"), ("BOOK", "mark")):
        tool = changed(tool, f'ctx.perform("{old}"', f'ctx.perform("{new}"')
    found = by_kind(lab, subject(tool, spec=pairs(invariants=[])), scratch)
    assert told(found) == {"stopped": {"not_recovered"}}, found


def test_a_tool_that_looks_first_and_cannot_bear_another_process_is_found_by_twins(lab: Lab, scratch: Path) -> None:
    tool = changed(PAIRS_TOOL, BOOKED, GUARD + BOOKED)
    cannot = '        if outcome.status == "skipped":\n            raise LookupError(entry)\n'
    tool = changed(tool, "        if outcome.status in", cannot + "        if outcome.status in")
    found = by_kind(lab, subject(tool, spec=pairs()), scratch, ["twins", "crash_before", "crash_after", "cut"])
    assert told(found) == {"twins": {"twins_differ"}}, found


RENAME_TOOL = '''"""Renames every customer of a list."""

from contract import Args, Result
from toolkit import Context


def run(args: Args, ctx: Context) -> Result:
    """The rest of a record stays as it is."""
    booked = marked = 0
    for row in list(ctx.read_pages("mark", collection="marks")):
        body = {**row["body"], "name": args["entries"][0]}
        outcome = ctx.perform("mark", {"key": row["key"], "body": body, "expected_version": row["version"]})
        booked += outcome.status in ("done", "skipped")
        marked += outcome.status == "failed"
    return {"booked": booked, "marked": marked}
'''


def renaming(**effect: Any) -> Any:
    """The spec of `RENAME_TOOL`, whose world has two records."""
    marks = [{"key": key, "body": {"name": "Ann"}} for key in ("c1", "c2")]
    example = {
        "name": "two",
        "world": {"records": {"marks": marks}},
        "args": {"entries": ["Bob"]},
        "result": {},
        "effects": [{"id": "mark"}],
    }
    reads = [{"id": "mark", "connector": "records.query", "config": {"collections": ["marks"]}}]
    effects = [{**pairs().effects[1].model_dump(), "key": "[item.key, item.body.name]", **effect}]
    return pairs(reads=reads, effects=effects, examples=[example], invariants=[])


def test_what_somebody_else_writes_meanwhile_is_not_overwritten(lab: Lab, scratch: Path) -> None:
    assert by_kind(lab, subject(RENAME_TOOL, spec=renaming()), scratch) == {}
    tool = changed(RENAME_TOOL, ', "expected_version": row["version"]', "")
    found = by_kind(lab, subject(tool, spec=renaming()), scratch)
    assert told(found) == {"meddled": {"overwrites_what_it_read"}}, found


def test_a_place_among_the_records_that_were_read_is_no_key(lab: Lab, scratch: Path) -> None:
    rows = 'list(ctx.read_pages("mark", collection="marks"))'
    tool = changed(
        changed(RENAME_TOOL, f"for row in {rows}", f"for place, row in enumerate({rows})"), '"key": row["key"]', '"key": f"m{place}"'
    )
    tool = changed(tool, ', "expected_version": row["version"]', "")
    spec = renaming(config={"collection": "books"})
    found = by_kind(lab, subject(tool, spec=spec), scratch)
    assert told(found) == {"alone": {"items_share_a_key"}}, found
    assert by_kind(lab, subject(tool.replace('f"m{place}"', "f\"m{row['key']}\""), spec=spec), scratch, ["alone"]) == {}


def test_a_record_written_from_nothing_that_was_read_may_replace_what_is_there(lab: Lab, scratch: Path) -> None:
    tool = changed(changed(RENAME_TOOL, ', "expected_version": row["version"]', ""), '{**row["body"], "name":', '{"name":')
    assert by_kind(lab, subject(tool, spec=renaming()), scratch, ["meddled"]) == {}
    copied = changed(
        changed(tool, '{"name":', '{**first, "name":'), "        body =", '        first = first or row["body"]\n        body ='
    )
    copied = changed(copied, "    booked =", "    first: dict[str, object] = {}\n    booked =")
    copied = changed(copied, '"body": body}', '"body": body if row["body"] is not first else {"name": "Bob"}}')
    assert by_kind(lab, subject(copied, spec=renaming()), scratch, ["meddled"]) == {}


def test_what_is_taken_from_a_receipt_is_taken_from_that_of_an_earlier_run_too(lab: Lab, scratch: Path) -> None:
    tool = changed(PAIRS_TOOL, '"mark", {"key": entry, "body": {"entry": entry}}', '"mark", {"key": entry, "body": {"booked": RECEIPT}}')
    right = changed(tool, "RECEIPT", '(outcome.receipt or {}).get("version")')
    assert by_kind(lab, subject(right, spec=pairs()), scratch, ["stopped"]) == {}
    wrong = changed(tool, "RECEIPT", '(outcome.receipt or {}).get("version") if outcome.status == "done" else 0')
    assert told(by_kind(lab, subject(wrong, spec=pairs()), scratch)) == {"stopped": {"done_otherwise"}}


def test_outcomes_that_are_laid_beside_the_wrong_items_are_found_by_comparing_two_schedules(lab: Lab, scratch: Path) -> None:
    loop = PAIRS_TOOL[PAIRS_TOOL.index("    for entry") : PAIRS_TOOL.index("    return")]
    paired = """    outcomes = ctx.perform_many("book", [{"key": entry, "body": {"entry": entry}} for entry in args["entries"]])
    well = [outcome for outcome in outcomes if outcome.status in ("done", "skipped")]
    for entry, _ in zip(args["entries"], well):
        booked += 1
        marked += ctx.perform("mark", {"key": entry, "body": {"entry": entry}}).status in ("done", "skipped")
"""
    found = lab.ask(check_effects, subject(changed(PAIRS_TOOL, loop, paired), spec=pairs()), scratch).findings
    assert rules(found) == ["wrong_item_follows"], found


def test_a_result_that_changes_within_a_process_is_found_without_any_effect(lab: Lab, scratch: Path) -> None:
    tool = '''"""Counts."""

from contract import Args, Result
from toolkit import Context

RATES = {"standard": 1}


def run(args: Args, ctx: Context) -> Result:
    """One more each time."""
    rates = RATES
    rates["standard"] += 1
    return {"booked": rates["standard"], "marked": 0}
'''
    found = by_kind(lab, subject(tool, spec=pairs(effects=[], invariants=[])), scratch)
    assert told(found) == {"clean": {"state_between_calls"}}, found


def test_records_that_belong_together_are_not_left_half_done_by_an_error(lab: Lab, scratch: Path) -> None:
    together = [{"id": "both", "text": "each entry has its mark", "expr": "effects.mark.done == effects.book.done"}]
    stops = '            if mark.status == "failed":\n                raise ToolError("no_mark", "It cannot be marked.")\n'
    tool = changed(PAIRS_TOOL, "            marked +=", stops + "            marked +=")
    tool = changed(tool, "import Context", "import Context, ToolError")
    found = by_kind(lab, subject(tool, spec=pairs(invariants=together)), scratch, ["refuse_for_good"])
    assert told(found) == {"refuse_for_good": {"half_done"}}, found


def test_entries_that_are_put_together_by_their_neighbours_are_lost_in_another_order(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, HEAD, "from itertools import groupby\n\n" + HEAD)
    tool = changed(
        tool,
        LETTERS,
        """items = [
        {**letter(to, sender["name"]), "text": f"{len(list(same))} letters"} for to, same in groupby(args["recipients"])
    ]""",
    )
    twice = {**FIRST, "args": {"campaign": "spring", "recipients": ["a@example.com", "a@example.com", "b@example.com"]}}
    found = by_kind(lab, subject(tool, spec=specimen_spec(examples=[twice])), scratch, ["permuted"])
    assert told(found) == {"permuted": {"one_key_for_two"}}, found


HEAD = "from contract import Args, Result, SendItem\nfrom toolkit import Context, ToolError\n"
SEEN = ("from toolkit import Context, Outcome, ToolError\n", "from toolkit import Context, Outcome, ToolError\n\nSEEN: list[str] = []\n")
BOOK = 'ctx.perform("book", booking(args, line))'
ASK = '        outcome = ctx.perform("refund", refund(args, line))\n'
COUNT = "        counts[outcome.status] += 1\n"
TELL = """        ctx.perform("tell", {"to": order["email"], "subject": "Your refund", "text": "Your money is on its way."})\n"""
AGAIN = """        if outcome.status == "unknown":
            outcome = ctx.perform("refund", refund(args, {**line, "line": f"{line['line']}-2"}))
"""
AS = 'ctx.perform("book", booking(args, {**line, "line": %s}))'
RAISES = (
    TELL.replace("ctx.perform", "told = ctx.perform")
    + '        if told.status != "done":\n            raise ToolError("not_told", "Nobody was told.")\n'
)
VARIANTS: dict[str, tuple[list[tuple[str, str]], Kind | Literal["clean"], str]] = {
    "sent again under a new key when the reply is lost": ([(COUNT, AGAIN + COUNT)], "lose_reply", "repeated_under_another_key"),
    "a refusal is taken for a refund": ([(COUNT, '        counts["done"] += 1\n')], "refuse_for_good", "ends_badly"),
    "the mail goes before the money": (
        [(ASK, TELL + ASK), ("    if counts", "    if False and counts")],
        "refuse_for_good",
        "ends_badly",
    ),
    "the customer cannot be told, so the run ends": ([(TELL, RAISES)], "refuse_for_good", "best_effort_stops"),
    "the place is the key": ([(BOOK, AS % "str(args['lines'].index(line))")], "one_by_one", "items_share_a_key"),
    "a counter goes on": ([SEEN, (BOOK, AS % "str(SEEN.append('') or len(SEEN))")], "clean", "state_between_calls"),
    "what was seen is remembered": (
        [SEEN, (ASK, "        if line['line'] in SEEN:\n            continue\n        SEEN.append(line['line'])\n" + ASK)],
        "clean",
        "state_between_calls",
    ),
    "the time is in the key": ([(BOOK, AS % "f\"{line['line']}-{ctx.now()}\"")], "clean", "new_effects_on_repeat"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_of_a_refund_are_refused(lab: Lab, scratch: Path, name: str) -> None:
    changes, kind, rule = VARIANTS[name]
    tool = REFUND_TOOL
    for old, new in changes:
        tool = changed(tool, old, new)
    examples = REFUND_SPEC["examples"][:: -1 if "before" in name else 1]
    found = by_kind(lab, subject(tool, spec=refund_spec(examples=examples)), scratch, [kind] if kind != "clean" else [])
    assert rule in told(found).get(kind, set()), found


def test_one_key_for_all_lines_is_refused(lab: Lab, scratch: Path) -> None:
    tool = changed(REFUND_TOOL, BOOK, AS % "'all'")
    found = lab.ask(check_effects, subject(tool, spec=refund_spec()), scratch).findings
    assert rules(found) == ["items_share_a_key"], found
