"""How a run ends: its state with the result, the error or the plan; the judgement of a result against the contract.

It refuses to be: a writer. What it says is recorded by `execution`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.runtime.journal import encode
from app.runtime.program import Program
from app.spec.invariants import check_invariants

Counts = dict[str, dict[str, int]]
_MEND = "Mend tool.py and publish the next version, or roll back; what this run has done is not done again."
FIXES = {
    "tool_crashed": f"The tool has a bug at this line, and the same call crashes again. {_MEND}",
    "result_too_large": f"Return counts and a bounded sample, or raise limits.result_bytes in a new spec revision. {_MEND}",
    "result_invalid": f"The tool returned what its spec's outputs do not allow. {_MEND}",
    "invariant_violated": f"The tool reports what did not happen, or not all that did; trust the ledger, not the result. {_MEND}",
    "run_timed_out": "Call again: what is done is skipped and the rest is done. If it never ends, pass less, or raise limits.timeout_s.",
}
"""What to do about a run that the platform failed; a tool's own failures say that themselves."""


@dataclass(frozen=True, slots=True)
class Ending:
    """`state` is a final state of a run, or `leave`, `crashed` or `lost`: this attempt is over and the run is not.

    A dry run ends with the list of its plan, the plan's summary and the marks of its effects.
    """

    state: str
    result: Any = None
    error: dict[str, Any] | None = None
    effects: Counts | None = None
    plan: list[dict[str, Any]] | None = None
    plan_summary: dict[str, Any] | None = None
    marks: bytes = b""


def failure(code: str, message: str, **data: Any) -> Ending:
    """A failed run with a stable code, and what to do about it."""
    return Ending("failed", error=error_of(code, message, **data))


def error_of(code: str, message: str, **data: Any) -> dict[str, Any]:
    """What a run's row keeps of a failure."""
    fix = {"fix": FIXES[code]} if code in FIXES and not data.get("business") else {}
    return {"code": code, "message": message, **fix, **data}


def closing(message: Mapping[str, Any]) -> Ending:
    """What a guest's closing message other than a result means."""
    match message["t"]:
        case "tool_error":
            return failure(message["code"], message["message"], business=True)
        case "crash":
            where = message["traceback"][-1]["line"] if message["traceback"] else None
            text = f"{message['type']}: {message['message']}"
            return failure("tool_crashed", text, line=where, traceback=message["traceback"])
        case _:
            return Ending("cancelled")


def judge(program: Program, args: Mapping[str, Any], result: Any, counts: Counts) -> Ending:
    """A result that fits its schema, its size and every invariant completes the run; anything else fails it, with the effects kept."""
    size = len(encode(result).encode())
    if size > program.spec.limits.result_bytes:
        limit = program.spec.limits.result_bytes
        return _failed("result_too_large", f"The result has {size} bytes; its spec allows {limit}.", counts)
    problems = program.validators.result.problems(result)
    if problems:
        text = "; ".join(f"{problem.path} {problem.message}" for problem in problems[:5])
        return _failed("result_invalid", f"The result breaks its schema: {text}", counts)
    broken = check_invariants(program.spec, args, result, counts)
    if broken:
        return _failed("invariant_violated", "; ".join(item.message for item in broken[:5]), counts)
    return Ending("completed", result=result, effects=counts)


def _failed(code: str, message: str, counts: Counts) -> Ending:
    return Ending("failed", error=error_of(code, message), effects=counts)
