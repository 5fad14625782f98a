"""A small tool with effects and its spec, correct by every gate, from which tests make defective ones by replacing a text."""

from __future__ import annotations

from typing import Any

from app.spec.model import ExecutionSpec

TOOL = '''"""Greets each recipient of a campaign once."""

from __future__ import annotations

from contract import Args, Result, SendItem
from toolkit import Context, ToolError


def letter(to: str, name: str) -> SendItem:
    """One greeting, whose subject stays one line."""
    return {"to": to, "subject": f"Hello from {' '.join(name.split())}", "text": "Good morning."}


def run(args: Args, ctx: Context) -> Result:
    """Send the greetings and count what became of them."""
    sender = ctx.read("sender", key=args["campaign"])
    if sender is None:
        raise ToolError("campaign_not_found", f"There is no campaign {args['campaign']!r}.")
    counts = {"done": 0, "skipped": 0, "duplicate": 0, "retrying": 0, "failed": 0, "unknown": 0}
    items = [letter(to, sender["name"]) for to in args["recipients"]]
    for done, outcome in enumerate(ctx.perform_each("send", items), 1):
        counts[outcome.status] += 1
        ctx.progress(done, len(items))
    ctx.log("greeted", sent=counts["done"])
    return {
        "sent": counts["done"],
        "skipped": counts["skipped"],
        "waiting": counts["retrying"],
        "failed": counts["failed"],
        "unknown": counts["unknown"],
    }
'''

TESTS = '''"""What a caller can rely on."""

from tool import run
from toolkit.testing import trial

WORLD = {"records": {"campaigns": [{"key": "spring", "body": {"name": "Ann"}}]}}
ARGS = {"campaign": "spring", "recipients": ["a@example.com", "b@example.com", "A@example.com"]}


def letter(to: str) -> dict[str, str]:
    return {"to": to, "subject": "Hello from Ann", "text": "Good morning."}


def test_each_recipient_is_greeted_once() -> None:
    t = trial(run, ARGS, world=WORLD)
    assert t.result == {"sent": 2, "skipped": 0, "waiting": 0, "failed": 0, "unknown": 0}
    assert t.items("send") == [letter("a@example.com"), letter("b@example.com")]


def test_a_second_call_greets_nobody_again() -> None:
    t = trial(run, ARGS, after=trial(run, ARGS, world=WORLD))
    assert t.result["skipped"] == 2


def test_an_unknown_campaign_is_told() -> None:
    t = trial(run, {**ARGS, "campaign": "none"}, world=WORLD)
    assert t.error is not None and t.error["code"] == "campaign_not_found"
'''


def _count(about: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "maximum": 1_000_000, "description": about}


def _example(
    name: str, recipients: list[str], result: dict[str, int] | None, effects: list[tuple[str, str]], **more: Any
) -> dict[str, Any]:
    world = {"records": {"campaigns": [{"key": "spring", "body": {"name": "Ann"}}]}, "script": more.pop("script", [])}
    expected = [{"id": "send", "item": {"to": to}, "status": status} for to, status in effects]
    args = {"campaign": more.pop("campaign", "spring"), "recipients": recipients}
    return {"name": name, "world": world, "args": args, "result": result, "effects": expected, **more}


def _result(sent: int = 0, waiting: int = 0, failed: int = 0, unknown: int = 0) -> dict[str, int]:
    return {"sent": sent, "skipped": 0, "waiting": waiting, "failed": failed, "unknown": unknown}


SPEC: dict[str, Any] = {
    "spec_version": "1",
    "name": "greet_all",
    "title": "Greet each recipient of a campaign, once",
    "description": "Sends one greeting to each recipient; the same recipient is never greeted twice for one campaign.",
    "inputs": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["campaign", "recipients"],
        "properties": {
            "campaign": {"type": "string", "minLength": 1, "maxLength": 64, "description": "Key of the campaign."},
            "recipients": {
                "type": "array",
                "maxItems": 1000,
                "description": "Addresses.",
                "items": {"type": "string", "format": "email", "minLength": 3, "maxLength": 200, "description": "An address."},
            },
        },
    },
    "outputs": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["sent", "skipped", "waiting", "failed", "unknown"],
        "properties": {
            "sent": _count("Greeted by this call."),
            "skipped": _count("Greeted before."),
            "waiting": _count("Refused for now; the queue goes on."),
            "failed": _count("Refused for good."),
            "unknown": _count("May have been greeted."),
        },
    },
    "reads": [{"id": "sender", "connector": "records.get", "config": {"collection": "campaigns"}}],
    "effects": [
        {
            "id": "send",
            "connector": "email.send",
            "config": {"from_domain": "example.com"},
            "key": "[args.campaign, item.to]",
            "limits": {"per_run": 1000},
            "ledger": {"name": "greetings", "group": "args.campaign", "subject": "item.to"},
            "undo": None,
            "undo_reason": "an e-mail cannot be called back",
        }
    ],
    "invariants": [
        {"id": "sent_is_true", "text": "what is reported sent was sent", "expr": "result.sent == effects.send.done"},
        {
            "id": "nobody_is_lost",
            "text": "each distinct recipient is counted once",
            "expr": "result.sent + result.skipped + result.waiting + result.failed + result.unknown == effects.send.distinct",
        },
    ],
    "examples": [
        _example(
            "two recipients", ["a@example.com", "b@example.com"], _result(sent=2), [("a@example.com", "done"), ("b@example.com", "done")]
        ),
        _example(
            "one is refused for good",
            ["a@example.com", "x@example.com"],
            _result(sent=1, failed=1),
            [("a@example.com", "done"), ("x@example.com", "failed")],
            script=[{"effect": "send", "when": {"to": "x@example.com"}, "answer": "refuse_for_good"}],
        ),
        _example("no such campaign", ["a@example.com"], None, [], campaign="none", error={"code": "campaign_not_found"}),
        _example(
            "the same address twice",
            ["c@example.com", "C@example.com"],
            _result(sent=1),
            [("c@example.com", "done"), ("c@example.com", "duplicate")],
            visibility="held_out",
        ),
    ],
    "volume": {"runs_per_month": 30, "items_per_run": 500},
    "baseline": {"calls_per_item": 2, "input_tokens_per_call": 1500, "output_tokens_per_call": 150, "model": None},
}


def specimen_spec(**changes: Any) -> ExecutionSpec:
    """The spec, with top-level fields replaced."""
    return ExecutionSpec.model_validate({**SPEC, **changes}, strict=False)


def changed(text: str, old: str, new: str) -> str:
    """The text with one place replaced; the place must exist, so that a defect is never forgotten."""
    assert text.count(old) == 1, old
    return text.replace(old, new)
