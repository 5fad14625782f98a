"""A tool with three effects of three kinds and its spec: money over HTTP, a record of it, a mail about it that may fail.

Correct by the gate "effects"; tests make defective ones by replacing a text.
"""

from __future__ import annotations

from typing import Any

from app.spec.model import ExecutionSpec

REFUND_TOOL = '''"""Refunds lines of an order, books each and tells the customer."""

from contract import Args, Result
from toolkit import Context, Outcome, ToolError

DONE = ("done", "skipped")


def refund(args: Args, line: dict[str, object]) -> dict[str, object]:
    """What the payment provider is asked."""
    path = f"/refunds/{args['order']}/{line['line']}"
    return {"method": "POST", "url": f"https://pay.example.com{path}", "json": {"line": line["line"], "cents": line["cents"]}}


def booking(args: Args, line: dict[str, object]) -> dict[str, object]:
    """The record of a refund."""
    return {"key": f"{args['order']}-{line['line']}", "body": {"order": args["order"], "line": line["line"], "cents": line["cents"]}}


def run(args: Args, ctx: Context) -> Result:
    """Each line is refunded, then booked; then the customer is told once."""
    order = ctx.read("order", key=args["order"])
    if order is None:
        raise ToolError("order_not_found", "There is no such order.")
    counts = dict.fromkeys(("done", "skipped", "duplicate", "retrying", "failed", "unknown"), 0)
    booked = unbooked = 0
    for line in args["lines"]:
        outcome = ctx.perform("refund", refund(args, line))
        counts[outcome.status] += 1
        if outcome.status in DONE:
            noted = ctx.perform("book", booking(args, line))
            booked += noted.status == "done"
            unbooked += noted.status == "failed"
    if counts["done"] + counts["skipped"]:
        ctx.perform("tell", {"to": order["email"], "subject": "Your refund", "text": "Your money is on its way."})
    return {**counts, "booked": booked, "unbooked": unbooked}
'''


def _closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": list(properties), "properties": properties}


_TEXT = {"type": "string", "minLength": 1, "maxLength": 40, "description": "A name."}
_NUMBER = {"type": "integer", "minimum": 0, "maximum": 100_000, "description": "A number."}
_COUNTS = ("done", "skipped", "duplicate", "retrying", "failed", "unknown", "booked", "unbooked")
_NO_UNDO = {"undo": None, "undo_reason": "a refund is not taken back"}
_WORLD = {"records": {"orders": [{"key": "o1", "body": {"email": "c1@example.com"}}]}}


def _example(name: str, *lines: str) -> dict[str, Any]:
    asked = [{"line": line, "cents": 100 + number} for number, line in enumerate(lines)]
    effects = [{"id": "refund"}] * len(lines)
    return {"name": name, "world": _WORLD, "args": {"order": "o1", "lines": asked}, "result": {}, "effects": effects}


REFUND_SPEC: dict[str, Any] = {
    "spec_version": "1",
    "name": "refund_lines",
    "title": "Refund lines of an order, once",
    "description": "Refunds each line once, books it and tells the customer.",
    "inputs": _closed(
        order=_TEXT,
        lines={"type": "array", "maxItems": 50, "items": _closed(line=_TEXT, cents=_NUMBER), "description": "What to refund."},
    ),
    "outputs": _closed(**dict.fromkeys(_COUNTS, _NUMBER)),
    "reads": [{"id": "order", "connector": "records.get", "config": {"collection": "orders"}}],
    "effects": [
        {
            "id": "refund",
            "connector": "http.request",
            "config": {"hosts": ["pay.example.com"], "methods": ["POST"]},
            "key": "[args.order, item.json.line]",
            "limits": {"per_run": 50},
            **_NO_UNDO,
        },
        {
            "id": "book",
            "connector": "records.put",
            "config": {"collection": "refunds"},
            "key": "[item.key]",
            "limits": {"per_run": 50},
            **_NO_UNDO,
        },
        {
            "id": "tell",
            "connector": "email.send",
            "config": {"from_domain": "example.com"},
            "key": "[args.order, item.to]",
            "criticality": "best_effort",
            **_NO_UNDO,
        },
    ],
    "invariants": [
        {"id": "true", "text": "what is reported was refunded", "expr": "result.done == effects.refund.done"},
        {"id": "behind", "text": "nothing is booked that was not refunded", "expr": "effects.book.distinct <= effects.refund.distinct"},
        {
            "id": "money",
            "text": "the customer hears of what went",
            "expr": "effects.tell.distinct == 0 || result.done + result.skipped > 0",
        },
    ],
    "examples": [_example("two lines", "a", "b"), _example("one line", "c")],
}


def refund_spec(**changes: Any) -> ExecutionSpec:
    """The spec, with top-level fields replaced."""
    return ExecutionSpec.model_validate({**REFUND_SPEC, **changes}, strict=False)
