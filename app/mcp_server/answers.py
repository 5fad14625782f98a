"""How answers look to an MCP client: results, business failures, refusals.

A published tool's result is `structuredContent` exactly as its `outputs`. What went wrong is `isError` with a stable code in text and
in `_meta`, so that a model can read it and a program can branch on it.

It refuses to be: where an error is worded. Code, detail and fix come from the room that raised it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from app.core.errors import ToolmintError
from app.invocation.answers import RunAnswer

MOST_PLANNED = 20
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def unknown_tool(name: str) -> MCPError:
    """The answer for an unknown tool, and for one that the actor may not call: the same."""
    return MCPError(INVALID_PARAMS, f"Unknown tool: {name[:128]}", {"code": "tool_not_found"})


def value_result(value: Any, *, failed: bool = False, meta: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A JSON value, as text and as structured content."""
    result: dict[str, Any] = {"content": [_text(_encode(value))], "structuredContent": value, "isError": failed}
    return result | ({"_meta": dict(meta)} if meta else {})


def brief(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body whose plan a model can afford to read: the first effects of it; `plan_summary` speaks for all."""
    plan = body.get("plan")
    if not plan or len(plan) <= MOST_PLANNED:
        return dict(body)
    total = (body.get("plan_summary") or {}).get("total", len(plan))
    left_out = f"{total - MOST_PLANNED} more effects; GET /runs/{{id}} lists up to {len(plan)}"
    return {**body, "plan": plan[:MOST_PLANNED], "left_out": left_out}


def text_result(text: str) -> dict[str, Any]:
    """Prose."""
    return {"content": [_text(text)], "isError": False}


def run_result(answer: RunAnswer) -> dict[str, Any]:
    """The answer of a published tool. One that is not over is an error, since no other answer may leave the output schema."""
    body = answer.body
    meta = run_meta(answer)
    if not answer.over:
        text = (
            f"run_in_progress: the run {body['id']} goes on in the background{_so_far(body['progress'])}. "
            "Do not call the tool again with the same purpose; "
            f'follow it with toolmint_run_status {{"id": "{body["id"]}"}}.'
        )
        return {"content": [_text(text)], "isError": True, "_meta": meta | {"toolmint/code": "run_in_progress"}}
    if body["state"] == "completed":
        return {"content": [_text(_encode(body["result"]))], "structuredContent": body["result"], "isError": False, "_meta": meta}
    error = body["error"] or {"code": f"run_{body['state']}", "message": f"The run is {body['state']}."}
    return {"content": [_text("\n".join(_told(body, error)))], "isError": True, "_meta": meta | {"toolmint/code": error["code"]}}


def _told(body: Mapping[str, Any], error: Mapping[str, Any]) -> list[str]:
    """A run that ended without a result: why, where, what to do, and what it had done by then. A tool's own failure speaks for itself."""
    line = f" (tool.py line {error['line']})" if error.get("line") else ""
    lines = [f"{error['code']}: {error.get('message') or 'The run failed.'}{line}"]
    if error.get("business"):
        return lines
    lines += [error["fix"]] if error.get("fix") else []
    for effect, counts in body["effects"].items():
        lines.append(f"{effect}: " + ", ".join(f"{number} {name}" for name, number in counts.items() if number and name != "distinct"))
    return [*lines, f"Run {body['id']}, version {body['version']}."]


def _so_far(progress: Mapping[str, Any]) -> str:
    if progress["done"] is None:
        return ""
    return f" ({progress['done']} of {progress['total'] if progress['total'] is not None else 'an unknown number'} so far)"


def run_meta(answer: RunAnswer) -> dict[str, Any]:
    """`_meta` of a published tool's result, under `toolmint/`; the ledger's counts are those of now, also where the answer is a replay."""
    return {
        "toolmint/runId": answer.body["id"],
        "toolmint/version": answer.body["version"],
        "toolmint/replayed": answer.body["replayed"],
        "toolmint/evidenceDigest": answer.evidence.report,
        "toolmint/annotationsEvidence": answer.evidence.annotations,
        "toolmint/ledgerCounts": answer.body["effects"],
        "toolmint/traceId": answer.body["trace_id"],
    } | ({"toolmint/approval": answer.body["approval"]} if answer.body["approval"] else {})


def refusal(error: ToolmintError, trace: str) -> dict[str, Any]:
    """An error of the tree, for a model to read and mend."""
    lines = [f"{error.code}: {error.detail}"]
    lines += [f"- {problem.path} {problem.told()}" for problem in error.problems]
    lines += [error.fix] if error.fix else []
    meta: dict[str, Any] = {"toolmint/code": error.code, "toolmint/retryable": error.retryable, "toolmint/traceId": trace}
    if error.problems:
        meta["toolmint/errors"] = [problem.as_dict() for problem in error.problems]
    if "run_id" in error.data:
        meta["toolmint/runId"] = error.data["run_id"]
    return {"content": [_text("\n".join(lines))], "isError": True, "_meta": meta}


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
