"""The pure parts: how values look, forms from schemas, code with colours, comparisons, drawings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from markupsafe import escape

from app.core.clock import SystemClock
from app.web.addresses import address, segment
from app.web.arguments import PREFIX, arguments, fields, filled
from app.web.drawing import segments, timeline
from app.web.formats import absolute, ago, chosen, duration, plural, pretty, receipt, said, size, tail
from app.web.highlight import compare, lines
from app.web.live import message
from app.web.pages import environment
from app.web.routes.audit import place_of

AT = 1_772_355_600_000


@pytest.mark.parametrize(
    ("away", "text"),
    [(0, "just now"), (-5_000, "5 s ago"), (90_000, "in 1 min"), (-3_600_000, "1 h ago"), (-40 * 86_400_000, "2026-01-20")],
)
def test_a_time_is_told_as_a_distance_and_as_a_date_once_it_is_far(away: int, text: str) -> None:
    assert ago(AT + away, AT) == text


def test_times_are_taken_as_milliseconds_and_as_text() -> None:
    assert absolute(AT) == absolute("2026-03-01T09:00:00.000Z") == "2026-03-01 09:00:00 UTC"
    assert absolute(None) == "\N{EN DASH}"


def test_figures_are_short() -> None:
    assert [duration(ms) for ms in (0.4, 12, 3200, 250_000, 7_500_000)] == ["0.4 ms", "12 ms", "3.2 s", "4 min 10 s", "2 h 5 min"]
    assert [size(number) for number in (812, 3400, 1_200_000)] == ["812 B", "3.4 kB", "1.2 MB"]
    assert [plural(number, "run") for number in (0, 1, 1200)] == ["0 runs", "1 run", "1,200 runs"]
    assert tail("run_01m80zx4p7aawx35m4xz11ae7h") == "\N{HORIZONTAL ELLIPSIS}xz11ae7h"
    assert pretty('{"a": 1}') == '{\n  "a": 1\n}'
    assert pretty("no json") == "no json"


def test_details_of_the_audit_trail_are_told_in_words() -> None:
    assert (said(None, "expires_at"), said(None, "reason"), said(True), said([])) == ("never", "none", "yes", "none")
    assert said(["tools:call", "*"]) == "tools:call, *"
    assert said("2026-03-01T09:00:00.000Z", "taken_at") == said(AT, "taken_at") == "2026-03-01 09:00:00 UTC"
    assert said("a" * 64) == "a" * 12 + "\N{HORIZONTAL ELLIPSIS}"
    assert said({"max_calls": 3, "window": []}) == "max calls 3, window none"


def test_a_receipt_repeats_nothing_that_the_servers_reply_says() -> None:
    assert receipt({"reply": "250 2.0.0 Ok: queued as 4XkQ2", "queue_id": "4XkQ2"}) == "250 2.0.0 Ok: queued as 4XkQ2"
    assert receipt({"outbox_id": 7, "note": None}) == "7"


def test_a_long_comparison_of_findings_is_folded_after_six() -> None:
    findings = {"new": [{"gate": "tests", "message": f"m{number}"} for number in range(20)], "gone": []}
    difference = {"version": 1, "known": True, "scores": [], "gates": [], "findings": findings}
    text = environment(SystemClock()).get_template("shared/_difference.html").render(difference=difference, tool="t")
    assert "14 more new" in text and text.index(">14 more new<") > text.index("m5") and text.index("m6") > text.index(">14 more new<")


def test_why_a_version_answered_is_told_without_channels() -> None:
    assert chosen("the only channel with weight") == "answers every call of this tool"
    assert chosen("stable at 100") == "stable at 100"


def test_addresses_leave_out_what_is_empty_and_quote_the_rest() -> None:
    assert address("/runs", tool="", state="failed", cursor=None) == "/runs?state=failed"
    assert address("/audit", target="a&b=ü") == "/audit?target=a%26b%3D%C3%BC"
    assert segment("a/b?c#d") == "a%2Fb%3Fc%23d"


SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["to", "count", "kind"],
    "properties": {
        "note": {"type": "string", "maxLength": 4000},
        "to": {"type": "string", "format": "email"},
        "count": {"type": "integer"},
        "price": {"type": "number"},
        "kind": {"enum": ["a", "b"]},
        "loud": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "shape": {"$ref": "#/$defs/shape"},
        "size": {"$ref": "#/$defs/size"},
    },
    "$defs": {"shape": {"type": "object", "properties": {}}, "size": {"type": "integer", "description": "in cm"}},
}


def test_a_schema_becomes_fields_with_the_required_ones_first() -> None:
    kinds = {field.name: (field.kind, field.input_type, field.required) for field in fields(SCHEMA, {})}
    assert list(kinds)[:3] == ["to", "count", "kind"]
    assert kinds["to"] == ("text", "email", True)
    assert kinds["count"] == ("integer", "number", True)
    assert kinds["kind"][0] == "choice"
    assert (kinds["note"][0], kinds["loud"][0], kinds["tags"][0], kinds["shape"][0], kinds["size"][0]) == (
        "long",
        "boolean",
        "json",
        "json",
        "integer",
    )


def test_a_filled_form_becomes_arguments_without_what_was_left_empty() -> None:
    sent = {
        "to": "a@b.example",
        "count": "3",
        "kind": "b",
        "price": "2.5",
        "loud": "false",
        "tags": '["x"]',
        "shape": '{"r": 1}',
        "note": "",
        "size": "4",
    }
    args, problems = arguments(SCHEMA, {PREFIX + name: value for name, value in sent.items()})
    assert problems == []
    assert args == {"to": "a@b.example", "count": 3, "kind": "b", "price": 2.5, "loud": False, "tags": ["x"], "shape": {"r": 1}, "size": 4}


def test_arguments_survive_the_way_through_a_form() -> None:
    args = {
        "to": "a@b.example",
        "count": 3,
        "kind": "a",
        "price": 2.5,
        "loud": True,
        "tags": ["ü", "\n"],
        "shape": {"a": [None, {"b": 1}]},
        "note": "a\nb",
        "size": 1,
    }
    assert arguments(SCHEMA, filled(args)) == (args, [])


@pytest.mark.parametrize(("name", "value"), [("count", "three"), ("price", "1,5"), ("tags", "x, y"), ("shape", "[" * 100_000)])
def test_what_cannot_be_read_is_named_with_its_place(name: str, value: str) -> None:
    args, problems = arguments(SCHEMA, {PREFIX + name: value})
    assert name not in args
    assert [problem.path for problem in problems] == [f"$.{name}"]


def test_a_reference_that_leads_in_a_circle_or_nowhere_is_a_field_of_json() -> None:
    schema = {"properties": {"a": {"$ref": "#/properties/a"}, "b": {"$ref": "#/nothing"}, "c": {"$ref": "https://elsewhere.example/"}}}
    assert {field.kind for field in fields(schema, {})} == {"json"}


@pytest.mark.parametrize("text", ['x = """a\nb\n\nc"""\n', "", "\n", "\n\na\n\n", "a", "def f(:\n  \t'", 'print("<b>&amp;</b>")\r\n\x0c\n'])
def test_every_line_of_code_stays_one_line_and_nothing_is_left_unescaped(text: str) -> None:
    shown = lines(text, "tool.py")
    assert len(shown) == len(text.removesuffix("\n").split("\n"))
    assert all(line.count("<span") == line.count("</span>") for line in shown)
    plain = [line.striptags() if "<span" in line else line for line in shown]
    assert "<b>" not in "".join(str(line) for line in shown)
    assert len(plain) == len(shown)


def test_long_lines_are_shown_plain() -> None:
    text = "x = '" + "<" * 2000 + "'"
    assert lines(text, "tool.py") == (escape(text),)


def test_a_comparison_shows_what_changed_and_folds_the_rest() -> None:
    before = "".join(f"line {number}\n" for number in range(100))
    found = compare(before, before.replace("line 50\n", "line fifty\nand more\n"), "notes.txt")
    assert (found.added, found.removed) == (2, 1)
    assert [change.kind for change in found.changes] == ["folded", *["same"] * 4, "removed", "added", "added", *["same"] * 4, "folded"]
    folded = [change.folded for change in found.changes if change.kind == "folded"]
    assert folded == [46, 45]
    assert compare(before, before, "notes.txt").changes == ()


def test_odd_separators_do_not_put_a_comparison_out_of_step() -> None:
    found = compare("a\u2028b\nc\n", "a\u2028b\nd\x0c\n", "notes.txt")
    assert [change.kind for change in found.changes] == ["same", "removed", "added"]


def test_a_bar_fills_its_width_in_the_order_of_its_names() -> None:
    parts = segments({"done": 3, "failed": 1, "unknown": 0}, ("failed", "done", "unknown"))
    assert [(part.name, part.x, part.width) for part in parts] == [("failed", 0.0, 250.0), ("done", 250.0, 750.0)]
    assert segments({"done": 0}, ("done",)) == []


def test_a_timeline_keeps_every_bar_on_the_page() -> None:
    steps = [{"kind": "perform", "name": "send", "at": AT + 1000 * number, "duration_ms": 900, "items": 5} for number in range(100)]
    drawn = timeline(steps)
    assert drawn is not None
    assert drawn.left_out == 40
    assert all(bar.x >= 0 and bar.x + bar.width <= drawn.width for bar in drawn.bars)
    assert timeline([]) is None


def test_an_event_carries_markup_of_many_lines() -> None:
    assert message("<p>\n</p>") == "data: <p>\ndata: </p>\n\n"
    assert json.dumps(message("a")) == '"data: a\\n\\n"'


@pytest.mark.parametrize(
    ("action", "target", "place"),
    [
        ("run.started", "run_01", "/runs/run_01"),
        ("approval.decided", "leave_01", "/approvals/leave_01"),
        ("candidate.decided", "cand_01", "/candidates/cand_01"),
        ("version.published", "quote_price/2", "/tools/quote_price/versions/2"),
        ("effect.resolved", "a:b/c", "/effects/a%3Ab%2Fc"),
        ("effects.redriven", "redrive_01", "/redrives/redrive_01"),
        ("resolution.completed", "resolution_01", "/redrives/resolution_01"),
        ("tool.rolled_back", "quote_price", "/tools/quote_price"),
        ("tool.rolled_back", "run_reports", "/tools/run_reports"),
        ("key.created", "key_01", None),
    ],
)
def test_an_audit_event_leads_to_what_it_is_about(action: str, target: str, place: str | None) -> None:
    assert place_of({"action": action, "target": target, "outcome": "done"}) == place


def test_files_that_would_take_long_to_compare_are_said_to_be_too_long() -> None:
    before, after = "\n".join("ab" * 1500), "\n".join("ba" * 1500)
    assert compare(before, after, "tool.py").too_long
    assert not compare("\n".join(map(str, range(3000))), "\n".join(map(str, range(1, 3000))), "tool.py").too_long
