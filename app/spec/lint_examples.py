"""Rules about examples and invariants: an example must agree with everything else that the spec says.

It refuses to be: a run of the tool. It needs no code, so an example can be wrong in what only a run shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from app.core.clock import from_iso
from app.core.errors import Problem
from app.spec.canonical import canonical_bytes
from app.spec.catalog import ConnectorCatalog
from app.spec.cel_engine import BadExpression, compile_expression
from app.spec.invariant_child import evaluate
from app.spec.invariants import COUNTS, roots_of
from app.spec.model import Example, ExecutionSpec
from app.spec.paths import Path, bind, macro_depth, names_in
from app.spec.schema_paths import places
from app.spec.schemas import compile_schema

FUNCTIONS = frozenset(
    {"size", "has", "all", "exists", "exists_one", "map", "filter", "contains", "startsWith", "endsWith", "matches"}
    | {"int", "double", "string", "bool"}
)
MOST_MACROS = 2


def invariants_name_what_exists(spec: ExecutionSpec, _catalog: ConnectorCatalog) -> Iterator[Problem]:
    """An invariant is CEL, and every path and function in it is known."""
    for index, invariant in enumerate(spec.invariants):
        path = f"$.invariants[{index}].expr"
        try:
            compile_expression(invariant.expr)
        except BadExpression as error:
            yield Problem(path, f"is no CEL expression: {error}", "Write CEL, such as result.sent + result.failed == result.distinct.")
            continue
        if (depth := macro_depth(invariant.expr)) > MOST_MACROS:
            deep = f"nests all, exists, exists_one, map or filter {depth} deep; {MOST_MACROS} are allowed"
            yield Problem(path, deep, "Count in the tool and compare the counts, or split it into several invariants.")
            continue
        names = names_in(invariant.expr)
        for name in sorted(names.functions - FUNCTIONS):
            yield Problem(path, f"calls {name}(), which invariants do not know", f"Use one of {', '.join(sorted(FUNCTIONS))}.")
        for named in names.paths:
            if what := _unknown(spec, named):
                yield Problem(path, f"{'.'.join(named)} {what}", "Name args, result or effects.<id>.<count> by full paths.")


def _unknown(spec: ExecutionSpec, path: Path) -> str | None:
    root, rest = path[0], path[1:]
    if root not in ("args", "result", "effects"):
        return "is none of args, result and effects"
    if not rest:
        return "is a whole object; name one of its fields"
    if root == "effects":
        if spec.effect(rest[0]) is None:
            return f"names no effect of this spec; they are {', '.join(effect.id for effect in spec.effects) or 'none'}"
        if len(rest) != 2 or rest[1] not in COUNTS:
            return f"names no count; an effect has {', '.join(COUNTS)}"
        return None
    schema = spec.inputs if root == "args" else spec.outputs
    return None if places(schema, rest) else f"does not exist in the schema of {root}"


def at_least_one_example(spec: ExecutionSpec, _catalog: ConnectorCatalog) -> Iterator[Problem]:
    """Without an example there is nothing to verify against."""
    if not spec.examples:
        yield Problem(
            "$.examples", "there is no example", "Add one: a small world, arguments, the result and the effects that they lead to."
        )


def examples_fit(spec: ExecutionSpec, catalog: ConnectorCatalog) -> Iterator[Problem]:
    """Arguments and result fit their schemas and limits; effects, scripts and times are real."""
    inputs, outputs = compile_schema(spec.inputs), compile_schema(spec.outputs)
    for index, example in enumerate(spec.examples):
        path = f"$.examples[{index}]"
        yield from inputs.problems(example.args, f"{path}.args")
        if (example.result is None) == (example.error is None):
            yield Problem(f"{path}.result", "an example ends with a result or with an error, one of the two", "Give exactly one.")
        if example.result is not None:
            yield from outputs.problems(example.result, f"{path}.result")
            if len(canonical_bytes(example.result)) > spec.limits.result_bytes:
                yield Problem(f"{path}.result", f"is over limits.result_bytes ({spec.limits.result_bytes})", "Bound the result.")
        yield from _world_fits(spec, example, path)
        yield from _effects_fit(spec, catalog, example, path)


def _world_fits(spec: ExecutionSpec, example: Example, path: str) -> Iterator[Problem]:
    try:
        from_iso(example.now)
    except ValueError:
        yield Problem(f"{path}.now", "is no instant with a time zone", "Write RFC 3339, such as 2026-03-01T09:00:00Z.")
    for collection, records in example.world.records.items():
        for key, count in Counter(record.key for record in records).items():
            if count > 1:
                yield Problem(f"{path}.world.records.{collection}", f"the key {key!r} stands {count} times", "A key is one record.")
    for at, entry in enumerate(example.world.script):
        if spec.effect(entry.effect) is None:
            yield Problem(f"{path}.world.script[{at}].effect", f"no effect is called {entry.effect!r}", "Name an effect of this spec.")


def _effects_fit(spec: ExecutionSpec, catalog: ConnectorCatalog, example: Example, path: str) -> Iterator[Problem]:
    for at, expected in enumerate(example.effects):
        place = f"{path}.effects[{at}]"
        effect = spec.effect(expected.id)
        if effect is None:
            yield Problem(f"{place}.id", f"no effect is called {expected.id!r}", "Name an effect of this spec.")
            continue
        kind = catalog.get(effect.connector)
        for name in expected.item if kind else ():
            if kind and not places(dict(kind.item_schema), (name,)):
                yield Problem(f"{place}.item.{name}", f"{effect.connector} takes no field {name!r}", "Remove it.")


def invariants_hold_in_examples(spec: ExecutionSpec, _catalog: ConnectorCatalog) -> Iterator[Problem]:
    """The author's own examples keep the author's own invariants."""
    for index, example in enumerate(spec.examples):
        if example.result is None:
            continue
        roots = roots_of(spec, example.args, example.result, _counts(example))
        for invariant in spec.invariants:
            answer = evaluate(invariant.expr, bind(names_in(invariant.expr).paths, roots))
            if answer is not True:
                what = "does not hold" if answer is False else f"cannot be evaluated: {answer}"
                yield Problem(
                    f"$.examples[{index}].result", f"the invariant {invariant.id!r} {what} here", "Correct the example or the invariant."
                )


def _counts(example: Example) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for expected in example.effects:
        if expected.status != "duplicate":
            of_effect = counts.setdefault(expected.id, dict.fromkeys(COUNTS, 0))
            of_effect[expected.status] += 1
            of_effect["distinct"] += 1
    return counts
