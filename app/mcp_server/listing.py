"""The list of tools for one actor: what it may call, in a fixed order, in pages, from dicts that are made once.

It refuses to be: the check. A tool that is not listed is refused again when it is called.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from app.core.actor import Actor
from app.core.errors import Invalid
from app.core.pages import decode, encode
from app.mcp_server.entry import Management
from app.mcp_server.management import MANAGEMENT
from app.registry.catalog import Catalog, Entries, callable_tools
from app.registry.entries import Entry

PAGE = 50
TTL_MS = 5000
MOST_KEPT = 5000


class Listing:
    """One per server. A published tool's dict is kept for as long as its artifact is listed."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._dumped: dict[Hashable, dict[str, Any]] = {}

    def page(self, actor: Actor, entries: Entries, cursor: str | None) -> dict[str, Any]:
        """One page of `tools/list`, ordered by name. Raises MCPError for a cursor that is not ours."""
        after = _after(cursor)
        published = {entry.name: self._dump(entry) for entry in callable_tools(actor, entries)}
        offered = published | {tool.name: tool.dumped for tool in MANAGEMENT.values() if tool.open_to(actor)}
        names = sorted(name for name in offered if name > after)
        shown = [offered[name] for name in names[:PAGE]]
        result: dict[str, Any] = {"resultType": "complete", "tools": shown, "ttlMs": TTL_MS, "cacheScope": "private"}
        if len(names) > PAGE:
            result["nextCursor"] = encode([names[PAGE - 1]])
        return result

    def schema_of(self, name: str) -> Mapping[str, Any] | None:
        """The input schema of a tool, from memory."""
        tool: Management | None = MANAGEMENT.get(name)
        return tool.input_schema if tool is not None else self._catalog.schema_of(name)

    def _dump(self, entry: Entry) -> dict[str, Any]:
        key = (entry.digest, entry.evidence_digest, entry.version, entry.shape["annotations"]["openWorldHint"])
        known = self._dumped.get(key)
        if known is None:
            if len(self._dumped) >= MOST_KEPT:
                self._dumped.clear()
            known = self._dumped[key] = {
                "name": entry.name,
                "title": entry.spec.title,
                "description": entry.spec.description,
                "inputSchema": entry.spec.inputs,
                "outputSchema": entry.spec.outputs,
                "annotations": entry.shape["annotations"],
                "_meta": {
                    "toolmint/version": entry.version,
                    "toolmint/evidenceDigest": entry.evidence_digest,
                    "toolmint/annotationsEvidence": entry.shape["annotations_evidence"],
                },
            }
        return known


def _after(cursor: str | None) -> str:
    if not cursor:
        return ""
    try:
        return str(decode(cursor, 1)[0])
    except Invalid:
        raise MCPError(INVALID_PARAMS, "Invalid cursor") from None
