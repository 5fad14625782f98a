"""Records that mean harm: an example's world in which one text of its records holds what an attacker would write.

It refuses to be: a list of attacks on connectors. What a connector takes is its own matter; here it is seen whether a tool passes a
record's text on as an address, as markup, or as a second line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.spec.catalog import ConnectorCatalog
from app.spec.model import Example, ExecutionSpec, World
from app.verification.findings import Finding
from app.verification.leaves import leaves
from app.verification.policy_attempts import line_fields
from app.verification.stage import Played

MOST = 16
"""Fields whose texts are tried, one at a time, in the order of their names."""

ADDRESS = "toolmint-probe@example.com"
MARKUP = "<script>toolmint_probe()</script>"
HARM = f"\r\nBcc: {ADDRESS}\r\n, {ADDRESS} {MARKUP}"
Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hostile:
    """A world where the text at `place` (collection, then fields) of each record ends in HARM; `markup`: it is markup by itself."""

    place: Place
    example: Example
    markup: bool

    @property
    def name(self) -> str:
        return f"hostile {'.'.join(self.place)}"


def hostile_worlds(example: Example) -> list[Hostile]:
    """One for each text field of the example's records."""
    return [_hostile(example, place) for place in sorted({place for place, _ in _texts(example.world)})]


def judge(spec: ExecutionSpec, catalog: ConnectorCatalog, hostile: Hostile, played: Played) -> Iterator[Finding]:
    """What the harm has come to. A run may end with a result or with a ToolError; what it asked for must hold no harm."""
    where = ".".join(hostile.place[1:])
    record = f"the field {where!r} of a record in {hostile.place[0]!r}"
    for done in played.done:
        effect = spec.effect(done.effect)
        kind = catalog.get(effect.connector) if effect is not None else None
        if kind is None or not isinstance(done.item, Mapping):
            continue
        if not hostile.markup and MARKUP in str(done.item.get("html", "")):
            message = f"Markup in {record} reaches the html of {done.effect!r} as markup."
            yield _finding("hostile_markup", message, "Pass each text through html.escape before it becomes part of html.", hostile)
            return
        if done.status != "done":
            continue
        if any(done.item.get(name) == ADDRESS for name in kind.canonical_fields):
            message = f"An address inside {record} becomes an address of {done.effect!r}."
            fix = "Take an address from a field that holds one address, whole; never search a text for addresses."
            yield _finding("hostile_recipient", message, fix, hostile)
            return
        if any("\n" in str(done.item.get(name, "")) for name in line_fields(kind)):
            message = f"A line break in {record} reaches a line of {done.effect!r}."
            yield _finding("not_refused", message, "Report this: the connector must hold it, whatever a tool does.", hostile)
            return
    if played.state != "completed" and not played.is_business_error:
        said = str((played.error or {}).get("message", played.state))[:200].rstrip(".")
        message = f"A hostile text in {record} ends the run with {played.error_code!r}: {said}."
        fix = "Handle the record: count it as failed, cut what becomes part of the result, or raise ToolError(code, message)."
        yield _finding("hostile_record", message, fix, hostile, warning=True)


def _finding(rule: str, message: str, fix: str, hostile: Hostile, *, warning: bool = False) -> Finding:
    given = {"example": hostile.example.name, "field": ".".join(hostile.place), "ends in": HARM}
    return Finding(rule, message, fix, "warning" if warning else "error", file="tool.py", input=given)


def _hostile(example: Example, place: Place) -> Hostile:
    collection, *path = place
    texts = [text for at, text in _texts(example.world) if at == place]
    records = tuple(
        record.model_copy(update={"body": _with_harm(record.body, tuple(path))}) for record in example.world.records[collection]
    )
    world = example.world.model_copy(update={"records": {**example.world.records, collection: records}})
    markup = "html" in place[-1].lower() or any("<" in text for text in texts)
    return Hostile(place, example.model_copy(update={"world": world}), markup)


def _texts(world: World) -> Iterator[tuple[Place, str]]:
    for collection, records in world.records.items():
        for record in records:
            for place, leaf in leaves(record.body):
                if isinstance(leaf, str):
                    yield (collection, *(name for name in place if isinstance(name, str))), leaf


def _with_harm(value: Any, path: Place) -> Any:
    if isinstance(value, list):
        return [_with_harm(part, path) for part in value]
    if isinstance(value, Mapping) and path:
        return {name: _with_harm(part, path[1:]) if name == path[0] else part for name, part in value.items()}
    return value + HARM if isinstance(value, str) and not path else value
