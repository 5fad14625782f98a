"""MCP's hints about a tool: derived from its spec, derived from what runs showed, and what both bear out.

Nobody types them, so that nobody can type them wrongly.

It refuses to be: trusting. Where spec and runs differ the more careful word counts, and a run that was never made proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.spec.catalog import ConnectorCatalog
from app.spec.model import ExecutionSpec

Hints = dict[str, bool]
READ_ONLY, DESTRUCTIVE, IDEMPOTENT, OPEN_WORLD = "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"
HINTS = (READ_ONLY, DESTRUCTIVE, IDEMPOTENT, OPEN_WORLD)
_CAREFUL: Mapping[str, bool] = {READ_ONLY: False, DESTRUCTIVE: True, IDEMPOTENT: False, OPEN_WORLD: True}
"""For each hint the value that promises less: what a client may assume where nothing is known."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What runs of a tool showed: how often each read was answered and each effect was done, by id; how many calls were made a second
    time and how many effects those `added`; which effects were `undone` by the effect that their spec names.
    """

    runs: int
    reads: Mapping[str, int]
    effects: Mapping[str, int]
    repeats: int
    added: int
    undone: frozenset[str]


def derive_annotations(spec: ExecutionSpec, catalog: ConnectorCatalog) -> dict[str, str | bool]:
    """`title` and the four hints of MCP's ToolAnnotations, as the spec alone has them.

    - readOnlyHint: the spec declares no effect
    - destructiveHint: some effect has no declared way back (`undo` is null)
    - idempotentHint: always true, since each effect has a key that never expires and happens once for it
    - openWorldHint: some read or effect goes through a connector that is not local to this installation
    """
    return {"title": spec.title, **declared_hints(spec, catalog)}


def declared_hints(spec: ExecutionSpec, catalog: ConnectorCatalog) -> Hints:
    """The four hints as the spec alone has them."""
    return {
        READ_ONLY: not spec.effects,
        DESTRUCTIVE: any(effect.undo is None for effect in spec.effects),
        IDEMPOTENT: True,
        OPEN_WORLD: any(_leaves(name, catalog) for name in _connectors(spec)),
    }


def shown_hints(spec: ExecutionSpec, catalog: ConnectorCatalog, shown: Shown) -> Hints:
    """The four hints as runs showed them; without a run each is the careful one.

    - readOnlyHint: no run did an effect
    - destructiveHint: some effect was done that no run has undone
    - idempotentHint: calls were made a second time, and added nothing
    - openWorldHint: some read or effect that was made goes through a connector that is not local to this installation
    """
    if not shown.runs:
        return dict(_CAREFUL)
    done = {name for name, times in shown.effects.items() if times}
    used = [effect.connector for effect in spec.effects if effect.id in done]
    used += [read.connector for read in spec.reads if shown.reads.get(read.id)]
    return {
        READ_ONLY: not done,
        DESTRUCTIVE: bool(done - shown.undone),
        IDEMPOTENT: shown.repeats > 0 and shown.added == 0,
        OPEN_WORLD: any(_leaves(name, catalog) for name in used),
    }


def agreed(*several: Mapping[str, bool]) -> Hints:
    """For each hint the more careful word of all."""
    return {hint: careful if any(hints[hint] is careful for hints in several) else not careful for hint, careful in _CAREFUL.items()}


def listed_annotations(spec: ExecutionSpec, catalog: ConnectorCatalog, proof: Mapping[str, Any] | None) -> dict[str, str | bool]:
    """What callers are told of a version: what its runs proved, or, where it was published without a proof, what its spec has.

    A connector may have become one that leaves this installation since the proof was made; then openWorldHint says so.
    """
    declared = derive_annotations(spec, catalog)
    if proof is None:
        return declared
    return {"title": spec.title, **proof["hints"], OPEN_WORLD: proof["hints"][OPEN_WORLD] or declared[OPEN_WORLD]}


def is_read_only(proof: Mapping[str, Any] | None) -> bool:
    """Whether a version with this proof is listed as read-only because of it."""
    return proof is not None and proof["hints"][READ_ONLY] is True


def _connectors(spec: ExecutionSpec) -> list[str]:
    return [read.connector for read in spec.reads] + [effect.connector for effect in spec.effects]


def _leaves(connector: str, catalog: ConnectorCatalog) -> bool:
    kind = catalog.get(connector)
    return kind is None or not kind.local
