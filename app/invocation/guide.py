"""The guide for authors, human or model: how to write a spec and a tool; a capable model needs nothing else.

What can be taken from its source is taken from there (the spec's fields, the toolkit's own words, the connectors' schemas, a
bundled tool as the example), so that the guide cannot fall behind.

It refuses to be: the judge. What the lint or a gate says of a text counts, not what stands here.
"""

from __future__ import annotations

import ast
import inspect
import json
import typing
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from app.spec import model
from app.spec.catalog import ConnectorCatalog, ConnectorKind

ROOT = Path(__file__).resolve().parents[2] / "generated_tools"
TOPICS = ("way", "spec", "rules", "toolkit", "testing", "connectors", "example")
_EXAMPLE = ("data", "repair_customer_records")
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

_RULES = """\
# Rules

**What is not declared cannot happen.** `ctx.read` takes the id of a declared read, `ctx.perform` the id of a declared effect. There is no
network, no file, no clock, no randomness, no environment but through the context.

**Keys make effects happen once.** The host computes an effect's key from the spec's `key`, a CEL list of scalar paths over `args` and over
the item as the connector canonicalised it. The same key never happens twice: not in a second call, a retry, a crash, another
version. Choose the business identity (`[args.campaign_id, item.to]`), not the attempt. A key must vary with the item where
`limits.per_run` is over 1.

**Outcomes are counted, never assumed.** `done`: performed by this run. `skipped`: done before by another run. `duplicate`: the same key
came earlier in this run. `retrying`: refused for now, the queue goes on. `failed`: refused for good. `unknown`: nobody can know; never
repeat it and never call it done. Put each item into exactly one bucket of the result and write invariants that say so:
`result.sent == effects.send.done`.

**A run is deterministic given its journal.** After a crash the tool runs again from the top and its steps are answered from the journal.
Take time from `ctx.now()`, chance from `ctx.random`, ids from `ctx.new_id()`; iterate over nothing unordered (sort sets); keep no module
state that changes.

**Many items go through `perform_each`**, with a generator: memory stays flat and the host pipelines. Report `ctx.progress(done, total)`.

**Results are small.** Large inputs come as references (a collection and a filter); results are counts, a few samples, the ledger's name.

**Business failures are codes.** Raise `ToolError("campaign_not_found", "There is no campaign 'x'.")`; callers branch on the code. Never
catch broadly, never swallow.

**Schemas are strict.** Objects close (`additionalProperties: false`), texts and arrays are bounded, each property has a description, `$ref`
stays within the document.

**Types.** `contract.py` is generated from the spec (`Args`, `Result`, one `<Effect>Item` for each effect); mypy checks the tool against it,
strictly. `run(args: Args, ctx: Context) -> Result` is the entry.

**Logs hold no personal data.** `ctx.log("event", count=3)`: names of events and numbers.

**Tests must notice defects**: a deleted effect, a changed key or item, a negated condition. Test results, effects and repeated calls.
"""


def guide_text(catalog: ConnectorCatalog, topic: str | None = None, modules: Iterable[str] = ()) -> str:
    """The whole guide, or one of `TOPICS`. `modules` are those of the library that a tool may import. Markdown."""
    if topic is not None:
        return _topic(topic, catalog, modules)
    return "\n".join(_topic(name, catalog, modules) for name in TOPICS)


def _topic(topic: str, catalog: ConnectorCatalog, modules: Iterable[str]) -> str:
    match topic:
        case "way":
            return _WAY
        case "spec":
            return spec_reference()
        case "rules":
            admitted = ", ".join(f"`{name}`" for name in sorted(modules))
            return _RULES + (f"\n**Imports.** A tool may import these and nothing else: {admitted}.\n" if admitted else "")
        case "toolkit":
            return _module_reference("context.py", "The toolkit: what `run` is given")
        case "testing":
            return _module_reference("testing.py", "`toolkit.testing`: trials for test_tool.py")
        case "connectors":
            return connector_reference(catalog)
        case _:
            return _example()


@cache
def spec_reference() -> str:
    """Every field of the spec with its type and default, from the model itself."""
    parts = ["# The spec\n\nOne JSON object. Fields without a default are required.\n"]
    for part in _PARTS:
        lines = [f"- `{name}`: {_kind(field.annotation)}{_default(field)}" for name, field in part.model_fields.items()]
        parts.append(f"## {part.__name__}\n\n{inspect.cleandoc(part.__doc__ or '')}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def connector_reference(catalog: ConnectorCatalog) -> str:
    """Every connector kind with the schemas of its config and of its query or item."""
    parts = ["# Connectors\n\nThe kinds that `reads` and `effects` may name here. `config` is the narrowest that the tool needs.\n"]
    return "\n".join(parts + [_connector(kind) for _, kind in sorted(catalog.kinds.items())])


def _connector(kind: ConnectorKind) -> str:
    what = "read: the query of `ctx.read`" if kind.role == "read" else "effect: the item of `ctx.perform`"
    where = "commits in this installation's own database and is never unknown" if kind.local else "leaves this installation"
    canonical = f" Rewritten before keys are computed: {', '.join(kind.canonical_fields)}." if kind.canonical_fields else ""
    return (
        f"## {kind.name} ({what}; {where}).{canonical}\n\n"
        f"config: `{_json(kind.config_schema)}`\n\n{'query' if kind.role == 'read' else 'item'}: `{_json(kind.item_schema)}`\n"
    )


@cache
def _module_reference(name: str, title: str) -> str:
    source = (ROOT / "toolkit" / name).read_text(encoding="utf-8")
    parts = [f"# {title}\n"]
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_") and ast.get_docstring(node):
            parts.append(_documented(node, ""))
    return "\n".join(parts)


def _documented(node: ast.ClassDef | ast.FunctionDef, indent: str) -> str:
    text = "\n".join(f"{indent}    {line}".rstrip() for line in (ast.get_docstring(node) or "").splitlines())
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"{indent}def {node.name}({ast.unparse(node.args)}){returns}\n{text}\n"
    members = [
        _documented(member, indent + "    ")
        for member in node.body
        if isinstance(member, ast.FunctionDef) and not member.name.startswith("_") and ast.get_docstring(member)
    ]
    return f"{indent}class {node.name}\n{text}\n" + "\n".join(members)


@cache
def _example() -> str:
    folder = ROOT.joinpath(*_EXAMPLE)
    parts = [f"# A full example: {_EXAMPLE[1]}\n"]
    for name, language in (("spec.json", "json"), ("tool.py", "python"), ("test_tool.py", "python")):
        text = (folder / name).read_text(encoding="utf-8")
        if name == "spec.json":
            spec = model.ExecutionSpec.parse(text).without_held_out()
            text = json.dumps(spec.model_dump(mode="json", exclude_defaults=True), indent=1, ensure_ascii=False) + "\n"
        parts.append(f"## {name}\n\n```{language}\n{text}```\n")
    return "\n".join(parts)


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
