"""MCP annotations derived from a spec's effects. Nobody types them, so that nobody can type them wrongly.

It refuses to be: a statement about what a tool did. Observed effects may narrow these hints later, elsewhere.
"""

from __future__ import annotations

from app.spec.catalog import ConnectorCatalog
from app.spec.model import ExecutionSpec


def derive_annotations(spec: ExecutionSpec, catalog: ConnectorCatalog) -> dict[str, str | bool]:
    """`title` and the four hints of MCP's ToolAnnotations.

    - readOnlyHint: the spec declares no effect
    - destructiveHint: some effect has no declared way back (`undo` is null)
    - idempotentHint: always true, since each effect has a key that never expires and happens once for it
    - openWorldHint: some read or effect goes through a connector that is not local to this installation
    """
    names = [read.connector for read in spec.reads] + [effect.connector for effect in spec.effects]
    kinds = [catalog.get(name) for name in names]
    return {
        "title": spec.title,
        "readOnlyHint": not spec.effects,
        "destructiveHint": any(effect.undo is None for effect in spec.effects),
        "idempotentHint": True,
        "openWorldHint": any(kind is None or not kind.local for kind in kinds),
    }
