"""`contract.py`: the spec's schemas as Python types, so that mypy checks a tool against its contract.

    from contract import Args, Result, SendItem

`Args` and `Result` come from the spec's two schemas, `<Effect id>Item` from the item that the effect's connector takes. An
object with a `title` is named by it, else by its place. The text is deterministic and imports `typing` alone.

It refuses to be: a validator. Lengths, patterns and formats have no place in types and are asserted by the host.
"""

from __future__ import annotations

import keyword
import re
from typing import Any

from app.spec.catalog import ConnectorCatalog
from app.spec.model import ExecutionSpec
from app.spec.schema_rules import resolve, types_of

_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_WIDTH = 140


def contract_text(spec: ExecutionSpec, catalog: ConnectorCatalog) -> str:
    """The source of `contract.py` for a spec that has passed the lint."""
    writer = _Writer()
    items = [writer.free(f"{_pascal(effect.id)}Item") for effect in spec.effects]
    writer.root("Args", spec.inputs)
    writer.root("Result", spec.outputs)
    for name, effect in zip(items, spec.effects, strict=True):
        kind = catalog.get(effect.connector)
        if kind is not None:
            writer.root(name, dict(kind.item_schema), f"What the effect {effect.id!r} ({kind.name}) takes.")
    return writer.text(f"The contract of {spec.name}, generated from its spec; edits are lost.")


class _Writer:
    """Collects definitions; what a definition refers to stands before it."""

    def __init__(self) -> None:
        self.definitions: list[str] = []
        self.taken: set[str] = {"Any", "Literal", "NotRequired", "TypedDict", "Args", "Result"}
        self.known: dict[tuple[int, str], str] = {}

    def root(self, name: str, schema: dict[str, Any], about: str = "") -> None:
        """A top-level name for a schema, one of those that are taken: a class for an object, else an alias."""
        expression = self.expression(schema, schema, name, about or str(schema.get("description", "")), named=name)
        if expression != name:
            self.definitions.append(f"{name} = {expression}")

    def expression(self, document: dict[str, Any], schema: Any, place: str, about: str = "", named: str = "") -> str:
        """The type expression of a schema; objects are defined on the way."""
        if not isinstance(schema, dict):
            return "Any"
        if isinstance(schema.get("$ref"), str):
            return self.reference(document, schema["$ref"])
        if "const" in schema or "enum" in schema:
            return _literal(schema.get("enum", [schema.get("const")]))
        kinds = types_of(schema)
        if not kinds:
            return self.alternatives(document, schema, place)
        return _union([self.of_kind(document, schema, kind, place, about, named) for kind in kinds])

    def of_kind(self, document: dict[str, Any], schema: dict[str, Any], kind: str, place: str, about: str, named: str) -> str:
        if kind == "array":
            items = schema.get("items")
            return f"list[{self.expression(document, items, f'{place}Item') if isinstance(items, dict) else 'Any'}]"
        if kind != "object":
            return _SCALARS.get(kind, "Any")
        extra = schema.get("additionalProperties", True)
        if not schema.get("properties") and extra is not False:
            value = self.expression(document, extra, f"{place}Value") if isinstance(extra, dict) else "Any"
            return f"dict[str, {value}]"
        if isinstance(extra, dict):
            return "dict[str, Any]"
        return self.typed_dict(document, schema, named or self.free(_pascal(str(schema.get("title", ""))) or place), about)

    def alternatives(self, document: dict[str, Any], schema: dict[str, Any], place: str) -> str:
        for keyword_ in ("oneOf", "anyOf"):
            branches = schema.get(keyword_)
            if isinstance(branches, list) and branches:
                return _union([self.expression(document, branch, f"{place}{n}") for n, branch in enumerate(branches, 1)])
        return "Any"

    def reference(self, document: dict[str, Any], reference: str) -> str:
        known = self.known.get((id(document), reference))
        if known is None:
            target = resolve(document, reference)
            known = self.expression(document, target, _pascal(reference.rsplit("/", 1)[-1]) or "Part")
            self.known[id(document), reference] = known
        return known

    def typed_dict(self, document: dict[str, Any], schema: dict[str, Any], name: str, about: str = "") -> str:
        required, properties = list(schema.get("required", ())), schema.get("properties", {})
        fields: list[tuple[str, str, str]] = []
        # Lists keep their order in canonical JSON and objects do not: what is required stands in the author's order.
        for field in [*(name for name in required if name in properties), *sorted(properties.keys() - set(required))]:
            child = properties[field]
            expression = self.expression(document, child, name + _pascal(field))
            described = child if isinstance(child, dict) else {}
            fields.append((field, expression if field in required else f"NotRequired[{expression}]", str(described.get("description", ""))))
        self.definitions.append(_definition(name, about or str(schema.get("description", "")), fields))
        return name

    def free(self, wanted: str) -> str:
        """The name, or one like it: `None` is no name of a class, and another definition may have it."""
        wanted = f"{wanted}Value" if keyword.iskeyword(wanted) else wanted
        name, number = wanted, 1
        while name in self.taken:
            number += 1
            name = f"{wanted}{number}"
        self.taken.add(name)
        return name

    def text(self, about: str) -> str:
        body = "\n\n\n".join(self.definitions)
        used = [name for name in ("Any", "Literal", "NotRequired", "TypedDict") if re.search(rf"\b{name}\b", body)]
        imports = f"from typing import {', '.join(used)}\n\n\n" if used else ""
        return f'"""{about}"""\n\n{imports}{body}\n'


def _definition(name: str, about: str, fields: list[tuple[str, str, str]]) -> str:
    if any(keyword.iskeyword(field) for field, _, _ in fields):
        entries = ", ".join(f"{field!r}: {expression}" for field, expression, _ in fields)
        return f"{name} = TypedDict({name!r}, {{{entries}}})"
    lines = [f"class {name}(TypedDict):"]
    if about:
        lines += [f"    {_one_line(about)!r}", ""]
    for field, expression, described in fields:
        # "#:" and not "#": a description must not read as an instruction to mypy.
        lines += [f"    #: {_one_line(described)[: _WIDTH - 7]}"] if described else []
        lines.append(f"    {field}: {expression}")
    return "\n".join(lines if len(lines) > 1 else [*lines, "    pass"])


def _one_line(text: str) -> str:
    return " ".join(_UNPRINTABLE.sub(" ", text).split())


def _pascal(text: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", text)
    name = "".join(word[:1].upper() + word[1:] for word in words)[:60]
    return name if name[:1].isalpha() else ""


def _literal(values: list[Any]) -> str:
    if any(isinstance(value, float | list | dict) for value in values):
        return "Any"
    return f"Literal[{', '.join(repr(value) for value in values)}]"


def _union(expressions: list[str]) -> str:
    unique = list(dict.fromkeys(expressions))
    return "Any" if "Any" in unique else " | ".join(unique)
