"""The guide for authors over MCP: the way from an idea to a published tool, and what the writing of code is guided by.

Rules, toolkit, connectors and examples are those that the model behind `/generations` is given; the spec's fields are read from the
model itself, so that neither can fall behind.

It refuses to be: the judge. What the lint or a gate says of a text counts, not what stands here.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable
from functools import cache
from typing import Any

from pydantic import BaseModel

from app.codegen import guide as writing
from app.spec import model
from app.spec.catalog import ConnectorCatalog

EXAMPLE = "data/repair_customer_records"
_PARTS: tuple[type[BaseModel], ...] = (
    model.ExecutionSpec,
    model.Read,
    model.Effect,
    model.Retry,
    model.EffectLimits,
    model.Ledger,
    model.Undo,
    model.Invariant,
    model.Example,
    model.World,
    model.WorldRecord,
    model.ScriptEntry,
    model.ExpectedEffect,
    model.ExpectedError,
    model.RunLimits,
    model.Volume,
    model.Baseline,
)

_WAY = """\
# From an idea to a published tool

A tool is code that does a whole business task for every item at once. You write it once; agents then send arguments and get counts.

1. Write the **spec**: the whole contract. Save it (`toolmint_save_spec`, or `POST /api/v1/specs`). Mend every problem that comes back: each
   has a JSON path and a fix.
2. Write **tool.py** and **test_tool.py**. Submit both (`toolmint_submit_candidate`). Exactly these two files, UTF-8.
3. Follow verification (`toolmint_candidate_report` with `wait_s`). A finding says what was seen, where, and how to mend it; where it comes
   from a run it has the input, what was expected and what came. Mend the code and submit again; mend the spec and save again where the
   contract itself was wrong. Do not argue with a gate: there is no waiver.
4. A tool with effects waits for the **approval** of another actor than its author.
5. Publish (`toolmint_publish`). The tool is then listed under its own name; call it there or with `toolmint_call`. Try it with
   `dry_run: true` first: nothing is performed, and the answer has the plan.
6. Roll back in one call (`toolmint_rollback`) if it does not do what it should.
"""


@cache
def spec_reference() -> str:
    """Every field of the spec with its type and default, from the model itself."""
    parts = ["# The spec\n\nOne JSON object. Fields without a default are required.\n"]
    for part in _PARTS:
        lines = [f"- `{name}`: {_kind(field.annotation)}{_default(field)}" for name, field in part.model_fields.items()]
        parts.append(f"## {part.__name__}\n\n{inspect.cleandoc(part.__doc__ or '')}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


_TOPICS: dict[str, Callable[[ConnectorCatalog], str]] = {
    "way": lambda _: _WAY,
    "spec": lambda _: f"{writing.tagged('spec', writing.SPEC)}\n\n{spec_reference()}",
    "writing": lambda _: writing.how_to_write(EXAMPLE),
    "connectors": writing.effect_catalogue,
}
TOPICS = tuple(_TOPICS)


def guide_text(catalog: ConnectorCatalog, topic: str | None = None) -> str:
    """The whole guide, or one of `TOPICS`; markdown with tags around what comes from elsewhere."""
    return "\n\n".join(_TOPICS[name](catalog) for name in TOPICS if topic in (None, name))


def _kind(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Literal:
        return " | ".join(json.dumps(value) for value in arguments)
    if origin is typing.Annotated:
        return _kind(arguments[0])
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"object of {_kind(arguments[1])}" if arguments[1] is not Any else "object"
    if origin is not None:
        return " | ".join(_kind(argument) for argument in arguments)
    names = {str: "text", int: "integer", float: "number", bool: "true or false", type(None): "null"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(field: Any) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    shown = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return f"; default `{_json(shown)}`"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=list)
