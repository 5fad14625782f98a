"""From a parsed JSON body to an ExecutionSpec: the shape's faults told with JSON paths and how to mend them.

It refuses to be: the lint. It runs first, and the lint runs only on what has the right shape.
"""

from __future__ import annotations

import difflib
import json
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from app.core.errors import Problem
from app.spec import model
from app.spec.schemas import json_path

_NAME_FIX = "Use lower-case letters, digits and underscores, starting with a letter, at most 64 characters."
_FIXES = {
    "missing": "Add it.",
    "string_type": "Write it as a text.",
    "int_type": "Write it as a whole number.",
    "float_type": "Write it as a number.",
    "bool_type": "Write true or false.",
    "dict_type": "Write it as an object.",
    "tuple_type": "Write it as a list.",
    "model_type": "Write it as an object.",
    "string_too_long": "Shorten it.",
    "string_too_short": "Say something there, or leave the field out.",
    "too_long": "Leave some out.",
}
_PARTS: dict[str, type[BaseModel]] = {
    "reads": model.Read,
    "effects": model.Effect,
    "retry": model.Retry,
    "limits": model.EffectLimits,
    "ledger": model.Ledger,
    "undo": model.Undo,
    "invariants": model.Invariant,
    "examples": model.Example,
    "world": model.World,
    "script": model.ScriptEntry,
    "volume": model.Volume,
    "baseline": model.Baseline,
}


def read_shape(body: Any) -> tuple[model.ExecutionSpec | None, list[Problem]]:
    """The value, or what keeps `body` from being one. Raises nothing."""
    if not isinstance(body, dict):
        return None, [Problem("$", "a spec is a JSON object", "Send one object with spec_version, name, inputs, outputs and the rest.")]
    try:
        return model.ExecutionSpec.parse(json.dumps(body)), []
    except ValidationError as error:
        return None, [_problem(detail) for detail in error.errors(include_url=False, include_input=False)]


def _problem(detail: ErrorDetails) -> Problem:
    location = [step for step in detail["loc"] if isinstance(step, str | int)]
    path = json_path(location)
    kind = detail["type"]
    if kind == "extra_forbidden":
        return Problem(path, "is not a field of a spec", _did_you_mean(location))
    if kind == "string_pattern_mismatch":
        return Problem(path, "is not written in the allowed form", _form(location, str(detail.get("ctx", {}).get("pattern", ""))))
    if kind == "literal_error":
        allowed = str(detail.get("ctx", {}).get("expected", ""))
        return Problem(path, "is none of the allowed values", f"Use {allowed}.")
    return Problem(path, detail["msg"][:1].lower() + detail["msg"][1:], _FIXES.get(kind, "Change it so that this holds."))


def _form(location: list[str | int], pattern: str) -> str:
    if pattern == model.NAME_PATTERN:
        return _NAME_FIX
    if "permissions" in location:
        return "Write a permission as NOUN:VERB in lower case, such as campaigns:send."
    return f"It must match {pattern}."


def _did_you_mean(location: list[str | int]) -> str:
    names = [step for step in location[:-1] if isinstance(step, str)]
    part: type[BaseModel] = model.ExecutionSpec
    if names:
        top = {"limits": model.RunLimits}.get(names[-1]) if len(location) == 2 else None
        part = top or _PARTS.get(names[-1], model.ExecutionSpec)
    near = difflib.get_close_matches(str(location[-1]), part.model_fields, 1)
    return f"Did you mean {near[0]!r}?" if near else f"Leave it out; the fields here are {', '.join(part.model_fields)}."
