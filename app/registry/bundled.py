"""The tools that come with a release: `generated_tools/<family>/<tool>/`, approved by the digests in `approved.json` beside them.

They take the way of every other tool: the spec is saved, the candidate is submitted by the system, verified here, and published. What
stands in for the second actor is the release, and only for exactly these bytes: a bundled tool that was edited is not submitted.

`python -m app.registry.bundled` rewrites `approved.json` after a tool was changed on purpose; a test says when it is out of date.

It refuses to be: a way round verification, or a schedule. The worker verifies; `publish_bundled` is called when it has.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from app.candidates.approval import approve_from_release
from app.candidates.files import candidate_digest, checked_files
from app.candidates.reading import list_candidates
from app.candidates.submission import submit_candidate
from app.core.actor import SYSTEM
from app.core.db import Database
from app.registry.catalog import Catalog
from app.registry.publishing import publish
from app.spec.model import ExecutionSpec
from app.spec.revisions import save_spec

ROOT = Path(__file__).resolve().parents[2] / "generated_tools"
APPROVED = "approved.json"
REASON = "it comes with this release"
SOURCES = ("tool.py", "test_tool.py")
SETTLED = ("queued", "verifying", "passed", "published", "refused")
"""States of a candidate that need no second submission: it is on its way, there, or was found wanting."""


@dataclass(frozen=True)
class Bundled:
    """One bundled tool: its place (`family/tool`), the text of its spec, its files."""

    place: str
    spec: str
    files: tuple[dict[str, str], ...]

    @property
    def tool(self) -> str:
        return self.place.split("/")[1]

    @cached_property
    def digest(self) -> str:
        """The digest that a candidate of these files for this spec has."""
        return candidate_digest(ExecutionSpec.parse(self.spec).digest, checked_files(self.files))


def bundled_tools(root: Path = ROOT) -> list[Bundled]:
    """Every bundled tool on disk, by place."""
    places = sorted(path.parent for path in root.glob("*/*/spec.json") if path.parent.parent.name != "published")
    return [_read(root, place) for place in places]


def approved_digests(root: Path = ROOT) -> dict[str, str]:
    """What the release approves: place → digest. Empty without the file."""
    try:
        found: dict[str, str] = json.loads((root / APPROVED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def write_approved(root: Path = ROOT) -> dict[str, str]:
    """Approve what lies there now; for whoever makes a release."""
    digests = {tool.place: tool.digest for tool in bundled_tools(root)}
    (root / APPROVED).write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")
    return digests


def released_tools(root: Path = ROOT) -> list[Bundled]:
    """The bundled tools that are exactly what the release approves."""
    approved = approved_digests(root)
    return [tool for tool in bundled_tools(root) if approved.get(tool.place) == tool.digest]


async def submit_bundled(catalog: Catalog, root: Path = ROOT) -> list[str]:
    """Submit what is released and not known yet; returns the ids of the candidates that the worker will verify."""
    tools = await asyncio.to_thread(released_tools, root)
    submitted = []
    for tool in tools:
        if await asyncio.to_thread(_known, catalog.database, tool, SETTLED):
            continue
        saved = await save_spec(SYSTEM, catalog.database, json.loads(tool.spec), catalog.kinds)
        candidate = await asyncio.to_thread(
            submit_candidate, SYSTEM, catalog.database, tool.tool, saved["revision"], tool.files, notes=REASON
        )
        submitted.append(candidate["id"])
    return submitted


def publish_bundled(catalog: Catalog, root: Path = ROOT) -> list[dict[str, Any]]:
    """Approve and publish the released candidates that have passed; returns what `publish` does. Safe to repeat."""
    published = []
    for tool in released_tools(root):
        for candidate in _known(catalog.database, tool, ("passed",)):
            approve_from_release(catalog.database, candidate["id"], {tool.digest}, REASON)
            published.append(publish(SYSTEM, catalog, candidate["id"], reason=REASON))
    return published


def bundled_state(database: Database, root: Path = ROOT) -> Literal["verifying", "published"]:
    """For `/readyz`: whether every released tool has been published."""
    waiting = [tool for tool in released_tools(root) if not _known(database, tool, ("published",))]
    return "verifying" if waiting else "published"


def _known(database: Database, tool: Bundled, states: tuple[str, ...]) -> list[dict[str, Any]]:
    found = list_candidates(SYSTEM, database, tool=tool.tool, limit=200)["items"]
    return [row for row in found if row["digest"] == tool.digest and row["author"] == SYSTEM.id and row["state"] in states]


def _read(root: Path, folder: Path) -> Bundled:
    files = tuple({"path": name, "content": (folder / name).read_text(encoding="utf-8")} for name in SOURCES)
    return Bundled(folder.relative_to(root).as_posix(), (folder / "spec.json").read_text(encoding="utf-8"), files)


if __name__ == "__main__":
    write_approved()
