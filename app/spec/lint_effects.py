"""Rules about reads and effects: connectors and their config, keys, ledgers, ways back, the run's key.

It refuses to be: a run. It looks at schemas only, so what a schema leaves open is allowed here and checked when it happens.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from app.core.errors import Problem
from app.spec.catalog import ConnectorCatalog, Role
from app.spec.cel_engine import BadExpression, compile_expression
from app.spec.expressions import BadKey, KeyExpression, Part, compile_key, compile_value
from app.spec.model import Effect, ExecutionSpec
from app.spec.schema_paths import not_scalar, places
from app.spec.schemas import BadSchema, compile_schema

Rule = Callable[[ExecutionSpec, ConnectorCatalog], Iterator[Problem]]
OPEN: dict[str, Any] = {"type": "object"}
_WORDS = {"read": "reads", "effect": "effects"}


def known_connectors(spec: ExecutionSpec, catalog: ConnectorCatalog) -> Iterator[Problem]:
    """Each read and effect names a kind that exists, in its own role, with a config that the kind accepts."""
    ports: list[tuple[str, Role, str, Mapping[str, Any]]] = [
        (f"$.reads[{i}]", "read", read.connector, read.config) for i, read in enumerate(spec.reads)
    ]
    ports += [(f"$.effects[{i}]", "effect", effect.connector, effect.config) for i, effect in enumerate(spec.effects)]
    for path, role, name, config in ports:
        kind = catalog.get(name)
        if kind is None or kind.role != role:
            known = catalog.names(role)
            near = difflib.get_close_matches(name, known, 1)
            what = f"{name!r} is a connector for {_WORDS[kind.role]}" if kind else f"no connector is called {name!r}"
            fix = f"Did you mean {near[0]!r}?" if near else f"Use one of {', '.join(known) or 'none: there is none'}."
            yield Problem(f"{path}.connector", what, fix)
            continue
        try:
            yield from compile_schema(dict(kind.config_schema)).problems(config, f"{path}.config")
        except BadSchema as error:
            yield Problem(f"{path}.connector", f"the connector's own config schema is broken: {error}", "Report it to the operator.")


def undo_or_reason(spec: ExecutionSpec, _catalog: ConnectorCatalog) -> Iterator[Problem]:
    """An effect says how it is reversed, or why it cannot be; one of the two."""
    for index, effect in enumerate(spec.effects):
        if (effect.undo is None) == (effect.undo_reason is None):
            what = "has both undo and undo_reason" if effect.undo else "says neither how it is undone nor why it cannot be"
            yield Problem(f"$.effects[{index}].undo", what, 'Set "undo", or set it to null with a sentence in "undo_reason".')


def keys_make_sense(spec: ExecutionSpec, catalog: ConnectorCatalog) -> Iterator[Problem]:
    """A key is in the restricted language, its paths exist and hold scalars, and it tells the items of one run apart."""
    for index, effect in enumerate(spec.effects):
        path = f"$.effects[{index}].key"
        key, problems = _compiled_key(effect.key, path, ("args", "item"))
        yield from problems
        if key is None:
            continue
        roots = {"args": spec.inputs, "item": _item_schema(effect, catalog)}
        for part in key.parts:
            yield from _part_problems(part, roots, path)
        kind = catalog.get(effect.connector)
        held = {part.path[1] for part in key.parts if part.path is not None and part.path[0] == "item" and len(part.path) == 2}
        for name in () if kind is None else kind.key_fields:
            if name not in held:
                yield Problem(path, f"does not hold item.{name}, so of two {name}s only the first would be served", f"Add item.{name}.")
        if effect.limits.per_run > 1 and not key.varies_with("item"):
            yield Problem(
                path,
                f"does not vary with the item, so of up to {effect.limits.per_run} items of a run only the first would happen",
                "Add the field that tells the items apart, such as item.to, or set limits.per_run to 1.",
            )
        elif not key.paths:
            yield Problem(path, "is the same for every call, so the effect would happen once and never again", "Add a path of args.")


def ledgers_make_sense(spec: ExecutionSpec, catalog: ConnectorCatalog) -> Iterator[Problem]:
    """Group and subject are single paths or literals; the group is one for the whole run."""
    for index, effect in enumerate(spec.effects):
        if effect.ledger is None:
            continue
        roots = {"args": spec.inputs, "item": _item_schema(effect, catalog)}
        for name, text, allowed in (("group", effect.ledger.group, ("args",)), ("subject", effect.ledger.subject, ("args", "item"))):
            path = f"$.effects[{index}].ledger.{name}"
            try:
                part = compile_value(text, allowed).part
            except BadKey as error:
                yield Problem(path, str(error), f"Write one path of {' or '.join(allowed)}, or a text in quotes.")
                continue
            yield from _part_problems(part, roots, path)


def undo_makes_sense(spec: ExecutionSpec, catalog: ConnectorCatalog) -> Iterator[Problem]:
    """The reversing effect exists and takes the fields that are filled in."""
    for index, effect in enumerate(spec.effects):
        if effect.undo is None:
            continue
        path = f"$.effects[{index}].undo"
        target = spec.effect(effect.undo.effect)
        if target is None:
            yield Problem(f"{path}.effect", f"no effect is called {effect.undo.effect!r}", "Name the id of an effect of this spec.")
        target_schema = _item_schema(target, catalog) if target else OPEN
        roots = {"args": spec.inputs, "item": _item_schema(effect, catalog), "receipt": OPEN}
        for name, text in effect.undo.item.items():
            if not places(target_schema, (name,)):
                yield Problem(f"{path}.item.{name}", f"the effect {effect.undo.effect!r} takes no field {name!r}", "Remove it.")
            try:
                part = compile_value(text, ("args", "item", "receipt")).part
            except BadKey as error:
                yield Problem(f"{path}.item.{name}", str(error), "Write one path of args, item or receipt, or a literal.")
                continue
            yield from _part_problems(part, roots, f"{path}.item.{name}", scalar=False)


def run_key_makes_sense(spec: ExecutionSpec, _catalog: ConnectorCatalog) -> Iterator[Problem]:
    """The run's key is a key over the arguments alone."""
    if spec.run_key is None:
        return
    key, problems = _compiled_key(spec.run_key, "$.run_key", ("args",))
    yield from problems
    if key is None:
        return
    for part in key.parts:
        yield from _part_problems(part, {"args": spec.inputs}, "$.run_key")
    if not key.paths:
        yield Problem("$.run_key", "is the same for every call, so only the first would ever run", "Add a path of args, or drop it.")


def _compiled_key(text: str, path: str, roots: tuple[str, ...]) -> tuple[KeyExpression | None, list[Problem]]:
    try:
        key = compile_key(text, roots)
        compile_expression(text)
    except (BadKey, BadExpression) as error:
        return None, [Problem(path, str(error), f"Write a list of paths of {' or '.join(roots)} and literals.")]
    return key, []


def _item_schema(effect: Effect, catalog: ConnectorCatalog) -> dict[str, Any]:
    kind = catalog.get(effect.connector)
    return dict(kind.item_schema) if kind else OPEN


def _part_problems(part: Part, roots: Mapping[str, dict[str, Any]], path: str, *, scalar: bool = True) -> Iterator[Problem]:
    # The caller decides which arguments are there, so an optional one cannot identify; which fields an item has is the tool's doing.
    if part.path is None:
        return
    schema = roots[part.path[0]]
    found = places(schema, part.path[1:])
    if not found:
        yield Problem(path, f"{part} does not exist in the schema of {part.path[0]}", "Correct the path, or declare the property.")
        return
    kind = next((kind for place in found if (kind := not_scalar(schema, place))), None) if scalar else None
    if kind:
        yield Problem(path, f"{part} may be of type {kind}, of which no key can be made", "Name a text, an integer or a truth value.")
    elif scalar and part.path[0] == "args" and not any(place.always or place.schema is None for place in found):
        yield Problem(path, f"{part} may be absent, and then no key can be made", "Make it required in the schema, or leave it out.")
