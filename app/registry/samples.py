"""The tools that a release brings along: verified on this installation like any other, approved because the release names their
digests, and published once. What an operator has published under the same name is left alone.

`generated_tools/released.json` maps each name to the digest of the candidate that was reviewed for the release; files that differ
from it are submitted, but wait for another actor like everybody's.

It refuses to be: a way past verification.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.candidates.approval import approve_from_release
from app.candidates.files import candidate_digest, source_file
from app.candidates.reading import list_candidates
from app.candidates.submission import submit_candidate
from app.core.actor import DEFAULT_TENANT, Actor
from app.core.errors import ToolmintError
from app.registry.catalog import Catalog
from app.registry.publishing import publish
from app.spec.model import ExecutionSpec
from app.spec.revisions import save_spec

FOLDER = Path(__file__).resolve().parents[2] / "generated_tools"
CODE = ("tool.py", "test_tool.py")
RELEASE = Actor("release", "release", DEFAULT_TENANT, frozenset({"specs:write", "specs:held_out", "candidates:submit", "tools:publish"}))
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sample:
    """A bundled tool. `spec` is the JSON value of `spec.json`; `digest` is that of a candidate of these files."""

    name: str
    spec: Mapping[str, Any]
    files: Mapping[str, str]
    digest: str


def samples(folder: Path = FOLDER) -> Iterator[Sample]:
    """Every `<family>/<tool>/` below `folder`, by name."""
    for path in sorted(folder.glob("*/*/spec.json")):
        if path.parts[-3] == "published":
            continue
        text = path.read_text(encoding="utf-8")
        files = {name: (path.parent / name).read_text(encoding="utf-8") for name in CODE}
        spec = ExecutionSpec.parse(text)
        digest = candidate_digest(spec.digest, [source_file(name, body) for name, body in files.items()])
        yield Sample(spec.name, json.loads(text), files, digest)


def released(folder: Path = FOLDER) -> dict[str, str]:
    """name → digest, as the release was reviewed."""
    found: dict[str, str] = json.loads((folder / "released.json").read_text(encoding="utf-8"))
    return found


def waiting(catalog: Catalog, folder: Path = FOLDER) -> list[Sample]:
    """The samples that have no published version yet."""
    published = catalog.entries(DEFAULT_TENANT)
    return [sample for sample in samples(folder) if sample.name not in published]


async def advance(catalog: Catalog, folder: Path = FOLDER) -> int:
    """Take each sample one step further: submit it, or approve and publish what passed. Returns how many are not published."""
    left = await asyncio.to_thread(waiting, catalog, folder)
    for sample in left:
        try:
            await _step(catalog, sample, folder)
        except ToolmintError as error:  # the next round tries again; another worker may have been faster
            logger.warning("the bundled tool %s waits: %s", sample.name, error)
    return len(left)


async def _step(catalog: Catalog, sample: Sample, folder: Path) -> None:
    database = catalog.database
    listed = await asyncio.to_thread(list_candidates, RELEASE, database, tool=sample.name)
    same = [row for row in listed["items"] if row["digest"] == sample.digest]
    if not same:
        saved = await save_spec(RELEASE, database, dict(sample.spec), catalog.kinds)
        files = [{"path": path, "content": content} for path, content in sample.files.items()]
        notes = "Comes with the release."
        await asyncio.to_thread(submit_candidate, RELEASE, database, sample.name, saved["revision"], files, notes=notes)
    elif same[0]["state"] == "passed":
        reason = "The release names this digest."
        await asyncio.to_thread(approve_from_release, database, same[0]["id"], set(released(folder).values()), reason)
        await asyncio.to_thread(publish, RELEASE, catalog, same[0]["id"], reason=reason)
