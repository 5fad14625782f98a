"""The tools that come with a release: `generated_tools/<family>/<tool>/`, approved by the digests in `approved.json` beside them.

They take the way of every other tool: the spec is saved, the candidate is submitted by the system, verified here, and published. What
stands in for the second actor is the release, and only for exactly these bytes: a bundled tool that was edited is not submitted.

`python -m app.registry.bundled` rewrites `approved.json` after a tool was changed on purpose; a test says when it is out of date.

It refuses to be: a way round verification, or a schedule. The worker verifies, and calls `advance` now and then until nothing waits.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from app.candidates.approval import approve_from_release
from app.candidates.files import candidate_digest, checked_files
from app.candidates.reading import list_candidates
from app.candidates.submission import submit_candidate
from app.core.actor import DEFAULT_TENANT, SYSTEM
from app.core.errors import ToolmintError
from app.observability.traces import tracing
from app.registry import repository
from app.registry.catalog import Catalog
from app.registry.publishing import publish
from app.spec.model import ExecutionSpec
from app.spec.revisions import save_spec

ROOT = Path(__file__).resolve().parents[2] / "generated_tools"
APPROVED = "approved.json"
REASON = "it comes with this release"
SOURCES = ("tool.py", "test_tool.py")
SETTLED = {"queued", "verifying", "published", "refused", "cancelled"}
"""States of a candidate that need no second submission: it is on its way, there, or was found wanting."""

logger = logging.getLogger(__name__)


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


def waiting(catalog: Catalog, root: Path = ROOT) -> list[Bundled]:
    """The released tools of whose name nothing is published yet: what an operator has published is left alone."""
    with catalog.database.reading() as session:
        published = {channel.tool for channel, _ in repository.channels_of(session, DEFAULT_TENANT)}
    return [tool for tool in released_tools(root) if tool.tool not in published]


async def advance(catalog: Catalog, root: Path = ROOT) -> int:
    """Take each waiting tool one step further: submit it, or approve and publish what passed. Returns how many waited.

    Safe to repeat, and to be done by several workers at once.
    """
    tools = await asyncio.to_thread(waiting, catalog, root)
    for tool in tools:
        try:
            with tracing(tool.digest[:32]):  # one trace for the whole way of these bytes
                await _step(catalog, tool)
        except ToolmintError as error:  # another worker may have been faster; the next round looks again
            logger.warning("the bundled tool %s waits: %s", tool.tool, error)
    return len(tools)


async def _step(catalog: Catalog, tool: Bundled) -> None:
    database = catalog.database
    listed = await asyncio.to_thread(list_candidates, SYSTEM, database, tool=tool.tool, limit=200)
    states = {row["state"]: row["id"] for row in listed["items"] if row["digest"] == tool.digest and row["author"] == SYSTEM.id}
    if "passed" in states:
        await asyncio.to_thread(approve_from_release, database, states["passed"], {tool.digest}, REASON)
        await asyncio.to_thread(publish, SYSTEM, catalog, states["passed"], reason=REASON)
    elif not states.keys() & SETTLED:
        saved = await save_spec(SYSTEM, database, json.loads(tool.spec), catalog.kinds)
        await asyncio.to_thread(submit_candidate, SYSTEM, database, tool.tool, saved["revision"], tool.files, notes=REASON)


def _read(root: Path, folder: Path) -> Bundled:
    files = tuple({"path": name, "content": (folder / name).read_text(encoding="utf-8")} for name in SOURCES)
    return Bundled(folder.relative_to(root).as_posix(), (folder / "spec.json").read_text(encoding="utf-8"), files)


if __name__ == "__main__":
    write_approved()
