"""Specs and code of the seeded world: two tools, one of them in two versions."""

from __future__ import annotations

import json
from typing import Any

from app.spec.model import ExecutionSpec

_TEXT = {"type": "string", "minLength": 1, "maxLength": 80}


def _counts(*names: str) -> dict[str, Any]:
    return {name: {"type": "integer", "minimum": 0, "description": f"how many were {name}"} for name in names}


CAMPAIGN: dict[str, Any] = {
    "spec_version": "1",
    "name": "campaign_send_bulk",
    "title": "Send one campaign e-mail to each recipient, once",
    "description": "Sends the template to every distinct recipient. A repeated call sends nothing twice; the result counts each bucket.",
    "inputs": {
        "type": "object",
        "additionalProperties": False,
        "required": ["campaign_id", "template_id", "recipients"],
        "properties": {
            "campaign_id": {**_TEXT, "description": "Names the campaign; part of each effect key."},
            "template_id": {"type": "string", "enum": ["spring", "summer", "reminder"], "description": "Which template to send."},
            "recipients": {
                "description": "A short list of addresses, or a collection with a filter.",
                "oneOf": [
                    {"type": "array", "maxItems": 100, "items": {"type": "string", "format": "email", "maxLength": 254}},
                    {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["collection"],
                        "properties": {"collection": {**_TEXT, "description": "The collection of recipients."}},
                    },
                ],
            },
            "greeting": {**_TEXT, "description": "Replaces the greeting of the template."},
            "priority": {"type": "integer", "minimum": 1, "maximum": 5, "description": "1 is sent first."},
            "track_opens": {"type": "boolean", "description": "Whether to count opens.", "default": False},
        },
    },
    "outputs": {
        "type": "object",
        "additionalProperties": False,
        "required": ["distinct", "sent", "skipped", "failed", "retry_queue", "unknown"],
        "properties": _counts("distinct", "sent", "skipped", "failed", "retry_queue", "unknown"),
    },
    "permissions": ["campaigns:send"],
    "reads": [{"id": "template", "connector": "records.get", "config": {"collection": "email_templates"}}],
    "effects": [
        {
            "id": "send",
            "connector": "email.send",
            "config": {"from_domain": "example.com"},
            "key": "[args.campaign_id, args.template_id, item.to]",
            "limits": {"per_run": 1_000_000, "per_second": 200},
            "ledger": {"name": "campaigns", "group": "args.campaign_id", "subject": "item.to"},
            "undo_reason": "an e-mail cannot be called back",
        }
    ],
    "invariants": [
        {"id": "sent_is_true", "text": "what is reported sent was sent by this run", "expr": "result.sent == effects.send.done"}
    ],
    "examples": [
        {
            "name": "two recipients",
            "args": {"campaign_id": "spring-2026", "template_id": "spring", "recipients": ["ada@example.com", "lin@example.com"]},
            "result": {"distinct": 2, "sent": 2, "skipped": 0, "failed": 0, "retry_queue": 0, "unknown": 0},
            "effects": [{"id": "send", "item": {"to": "ada@example.com"}}, {"id": "send", "item": {"to": "lin@example.com"}}],
        }
    ],
    "volume": {"runs_per_month": 30, "items_per_run": 2000},
}

QUOTE: dict[str, Any] = {
    "spec_version": "1",
    "name": "quote_price",
    "title": "Quote a price with volume discount",
    "description": "Computes a quote from the price list. Reads only; nothing is changed.",
    "inputs": {
        "type": "object",
        "additionalProperties": False,
        "required": ["sku", "quantity"],
        "properties": {
            "sku": {**_TEXT, "description": "The article."},
            "quantity": {"type": "integer", "minimum": 1, "maximum": 100_000, "description": "How many."},
        },
    },
    "outputs": {
        "type": "object",
        "additionalProperties": False,
        "required": ["total"],
        "properties": {"total": {"type": "number", "description": "The price in euros."}},
    },
    "reads": [{"id": "prices", "connector": "records.get", "config": {"collection": "prices"}}],
    "effects": [],
}

TOOL_1 = '''"""Send one campaign e-mail to each distinct recipient."""

from contract import Args, Result
from toolkit import Context, ToolError


def run(args: Args, ctx: Context) -> Result:
    template = ctx.read("template", key=args["template_id"])
    if template is None:
        raise ToolError("template_not_found", "There is no such template.")
    counts = {"distinct": 0, "sent": 0, "skipped": 0, "failed": 0, "retry_queue": 0, "unknown": 0}
    buckets = {"done": "sent", "skipped": "skipped", "failed": "failed", "retrying": "retry_queue", "unknown": "unknown"}
    seen = sorted(set(args["recipients"]))
    items = ({"to": to, "subject": template["subject"], "text": template["text"]} for to in seen)
    for position, outcome in enumerate(ctx.perform_each("send", items), start=1):
        counts["distinct"] += 1
        counts[buckets[outcome.status]] += 1
        if position % 100 == 0:
            ctx.progress(position, len(seen))
    ctx.log("campaign_sent", sent=counts["sent"])
    return counts
'''
TOOL_2 = TOOL_1.replace(
    '    seen = sorted(set(args["recipients"]))\n',
    '    suppressed = {entry["key"] for entry in ctx.read_pages("suppressed")}\n    seen = sorted(set(args["recipients"]) - suppressed)\n',
)
TEST_TOOL = '''"""What the tool promises, tried in small worlds."""

from tool import run
from toolkit.testing import trial

WORLD = {"records": {"email_templates": [{"key": "spring", "body": {"subject": "Hello", "text": "Hi"}}]}}
ARGS = {"campaign_id": "c1", "template_id": "spring", "recipients": ["a@example.com", "b@example.com"]}


def test_each_recipient_gets_one() -> None:
    t = trial(run, ARGS, world=WORLD)
    assert t.result["sent"] == 2
    assert [effect["key"] for effect in t.effects] == sorted(effect["key"] for effect in t.effects)


def test_a_repeated_call_sends_nothing() -> None:
    first = trial(run, ARGS, world=WORLD)
    again = trial(run, ARGS, after=first)
    assert again.result["sent"] == 0
    assert again.result["skipped"] == 2
'''
QUOTE_TOOL = '''"""Quote a price with volume discount."""

from contract import Args, Result
from toolkit import Context


def run(args: Args, ctx: Context) -> Result:
    price = ctx.read("prices", key=args["sku"])["price"]
    factor = 0.9 if args["quantity"] >= 100 else 1.0
    return {"total": round(price * args["quantity"] * factor, 2)}
'''
CAMPAIGN_2 = {**CAMPAIGN, "reads": [*CAMPAIGN["reads"], {"id": "suppressed", "connector": "records.query", "config": {}}]}


def spec(body: dict[str, Any]) -> ExecutionSpec:
    return ExecutionSpec.model_validate(json.loads(json.dumps(body)), strict=False)


_DIMENSIONS = ("correctness", "safety", "idempotency", "observability", "rollback", "cost")
_GATES = ("spec", "imports", "ruff", "mypy", "examples", "properties", "effects", "policy", "tests", "mutation", "path")
GATES = (*_GATES, "compatibility", "rollback", "cost", "annotations")
_EVIDENCE = {
    "correctness": (("examples", "cases"), ("tests", "passed")),
    "safety": (("imports", "findings"), ("policy", "refused"), ("annotations", "proved")),
    "idempotency": (("effects", "cases"),),
    "observability": (("path", "observed"),),
    "rollback": (("rollback", "drill"), ("rollback", "undo")),
    "cost": (("cost", "saving"),),
}
_CASES = [{"name": name, "passed": True, "effects": 2} for name in ("two recipients", "a template that does not exist")]
_HINTS = {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True, "openWorldHint": True}
_ATTEMPTS = (("undeclared_read", "toolmint_probe", "read_undeclared"), ("limit_send", "send", "effect_limit_exceeded"))
MEASURED: dict[str, dict[str, Any]] = {
    "examples": {"cases": _CASES, "errors_coded": {"case 1": True, "case 2": True}},
    "effects": {"cases": _CASES, "repeats": {"calls": 5, "added": 0}},
    "policy": {
        "refused": {"ids_declared": True, "undeclared_read": True, "limit_send": True, "hostile customers.name": True},
        "cases": [
            *({"case": c, "asked": a, "code": code, "ended": "refused", "audited": True, "left": 0} for c, a, code in _ATTEMPTS),
            {"case": "hostile customers.name", "asked": "customers", "ended": "result"},
        ],
    },
    "tests": {"passed": 12, "collected": 12},
    "path": {"observed": {"run_row": True, "log_private": True, "audit": True}, "wall_ms": 31, "rss_kb": 13128},
    "rollback": {
        "drill": {"published": True, "rolled_back": True, "nothing_repeated": True},
        "undo": 0.5,
        "stays": {"send": "an e-mail cannot be called back"},
    },
    "cost": {"saving": 0.9987, "break_even_runs": 3, "assumptions": ["There are 30 runs a month."]},
    "annotations": {
        "hints": _HINTS,
        "declared": _HINTS,
        "runs": 18,
        "reads": {"template": 18},
        "effects": {"send": 14},
        "repeats": 5,
        "added": 0,
        "undone": [],
        "proved": {**dict.fromkeys(_HINTS, True), "effect send": True},
    },
}
DIFFERENCE = {
    "version": 2,
    "known": True,
    "scores": [
        {"dimension": "correctness", "before": 0.87, "after": 0.91, "change": 0.04},
        {"dimension": "safety", "before": 0.951, "after": 0.925, "change": -0.026},
        {"dimension": "cost", "before": 0.985, "after": 0.985, "change": 0.0},
    ],
    "gates": [{"gate": "annotations", "before": None, "after": "passed"}],
    "findings": {
        "new": [{"gate": "ruff", "rule": "S101", "severity": "warning", "file": "test_tool.py", "line": 12, "message": "Use of assert."}],
        "gone": [{"gate": "mypy", "rule": "mypy:misc", "severity": "warning", "file": "tool.py", "line": 3, "message": "It was loose."}],
    },
}
FINDING = {
    "rule": "result_differs",
    "severity": "error",
    "file": "tool.py",
    "line": 17,
    "message": "The second call of the same run sent 2 e-mails again; effects must be skipped.",
    "fix": "Count outcome.status 'skipped' as skipped, not as sent.",
    "input": {"recipients": ["a@example.com", "b@example.com"]},
    "expected": {"sent": 0, "skipped": 2},
    "got": {"sent": 2, "skipped": 0},
}
HELD_OUT = {**FINDING, "message": "The held-out case 'a secret case' fails.", "held_out": True}
WARNING = {
    "rule": "S101",
    "severity": "warning",
    "file": "test_tool.py",
    "line": 12,
    "message": "Use of assert.",
    "fix": "Nothing to do in a test.",
}


def gate(name: str, status: str, findings: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    took = 40 + 37 * GATES.index(name) % 900
    return {
        "gate": name,
        "status": status,
        "duration_ms": took if status != "skipped" else 0,
        "findings": findings or [],
        "evidence": MEASURED.get(name, {"found": 0}) if status == "passed" else {},
    }


def report(candidate_id: str, digest: str, failing: str | None = None, *, replaces: bool = False) -> dict[str, Any]:
    """The report of a candidate that passed, or that stopped at the gate `failing`; `replaces`: there is a version before it."""
    gates = []
    for name in GATES:
        stopped = failing is not None and GATES.index(name) > GATES.index(failing)
        status = "skipped" if stopped else "failed" if name == failing else "passed"
        gates.append(gate(name, status, [FINDING, HELD_OUT] if name == failing else [WARNING] if name == "ruff" else None))
    whole = {"candidate_id": candidate_id, "digest": digest, "publishable": failing is None, "gates": gates, "rubric": _rubric(failing)}
    return {**whole, "difference": DIFFERENCE if replaces else None}


def _rubric(failing: str | None) -> list[dict[str, Any]]:
    found = []
    for index, (name, sources) in enumerate(_EVIDENCE.items()):
        blocked = failing in [gate for gate, _ in sources]
        score = 0.0 if blocked else round(0.91 + 0.015 * index, 3)
        links = [{"gate": gate, "fact": fact, "value": score, "weight": 1.0, "at": _at(gate, fact)} for gate, fact in sources]
        missing = [f"{gate}.{fact}" for gate, fact in sources] if blocked else []
        found.append(
            {
                "dimension": name,
                "score": score,
                "threshold": 0.8,
                "passed": not blocked,
                "evidence": [] if blocked else links,
                "missing": missing,
            }
        )
    return found


def _at(gate: str, fact: str) -> str:
    return f"/gates/{GATES.index(gate)}/{fact if fact == 'findings' else f'evidence/{fact}'}"
