"""From a published version to a Program: vouched for by signed evidence, read, kept in memory for as long as nothing on disk moves.

Signature, digests and what the database says of the version are compared once in each process (`vouching`), the folder with its
manifest whenever it moves. What disagrees refuses this version and no other, with a code that names it, whoever changed it and why. A
folder that is missing is written from the database, as on a second machine.

It refuses to be: a chooser. Which version is called is decided by channels.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

from sqlmodel import select

from app.core.db import Database
from app.core.errors import NotFound
from app.core.signing import Keyring
from app.registry import repository, shelf
from app.registry.agreement import refusal
from app.registry.artifact import Artifact, problems_of
from app.registry.models import Version
from app.registry.proof import Evidence, told
from app.registry.vouching import Key, Vouched, Vouching
from app.runtime.program import Program
from app.spec.annotations import is_read_only

MOST_KEPT = 2000
LOOK_AGAIN_MS = 100
"""How long a look at a folder counts. What is in memory was checked, so this delays a refusal and lets nothing altered run."""


@dataclass(slots=True)
class _Kept:
    folder: str
    stamp: shelf.Stamp
    program: Program
    looked_at: int


class Loader:
    """`loader(tenant, tool, version)` gives the Program. One per process and database; safe to call from any thread."""

    def __init__(self, database: Database, tools_dir: Path, keys: Keyring) -> None:
        self.database = database
        self.tools_dir = tools_dir
        self.vouched = Vouching(database, keys)
        self.look_again_ms = LOOK_AGAIN_MS
        self._kept: dict[Key, _Kept] = {}
        self._evidence: dict[Key, Evidence] = {}
        self._guard = threading.Lock()

    def __call__(self, tenant: str, tool: str, version: int) -> Program:
        """The Program. Raises NotFound `version_not_found`, Conflict `artifact_altered` or as `agreement` says (audited)."""
        found = self.recall(tenant, tool, version)
        if found is not None:
            return found
        with self._guard:
            return self.recall(tenant, tool, version) or self._load(tenant, tool, version)

    def recall(self, tenant: str, tool: str, version: int) -> Program | None:
        """The Program if it is in memory and its folder has not moved since: a few `stat` calls now and then, for the hot path."""
        kept = self._kept.get((tenant, tool, version))
        if kept is None:
            return None
        at = self.database.clock.monotonic()
        if at - kept.looked_at >= self.look_again_ms:
            if shelf.stamp(kept.folder) != kept.stamp:
                return None
            kept.looked_at = at
        return kept.program

    def evidence(self, tenant: str, tool: str, version: int) -> Evidence:
        """What a version was published on. Raises NotFound `version_not_found`."""
        known = self.known_evidence(tenant, tool, version)
        return known if known is not None else self._evidence_of(self._row(tenant, tool, version))

    def known_evidence(self, tenant: str, tool: str, version: int) -> Evidence | None:
        """The same if it is in memory."""
        return self._evidence.get((tenant, tool, version))

    def _evidence_of(self, row: Version) -> Evidence:
        known = self.vouched.outcome(row)
        if not isinstance(known, Vouched):
            return Evidence(row.evidence_digest)
        return self._evidence.setdefault((row.tenant, row.tool, row.version), Evidence(known.report, told(known.proof)))

    def _row(self, tenant: str, tool: str, version: int) -> Version:
        with self.database.reading() as session:
            row = repository.version(session, tenant, tool, version)
        if row is None:
            raise NotFound("version_not_found", f"{tool} has no version {version}.", fix="See GET /tools/{name} for its versions.")
        return row

    def _load(self, tenant: str, tool: str, version: int) -> Program:
        row = self._row(tenant, tool, version)
        known = self.vouched(row)
        folder = shelf.folder_of(self.tools_dir, tenant, tool, version)
        if not folder.exists():
            shelf.put(folder, self._stored(row))
        stamp = shelf.stamp(str(folder))
        artifact = shelf.take(folder, row.digest)
        self._check(row, artifact, stamp)
        program = replace(artifact.program(tool, version), read_only=is_read_only(known.proof))
        _ = program.validators, program.rules
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        if stamp is not None:
            self._kept[tenant, tool, version] = _Kept(str(folder), stamp, program, self.database.clock.monotonic())
        self._evidence_of(row)
        self.vouched.forgive((tenant, tool, version))
        return program

    def _stored(self, row: Version) -> Artifact:
        with self.database.reading() as session:
            artifact = Artifact(row.digest, row.manifest, repository.files_of(session, row.digest))
        self._check(row, artifact, None)
        return artifact

    def _check(self, row: Version, artifact: Artifact, stamp: shelf.Stamp | None) -> None:
        if wrong := problems_of(artifact):
            self._kept.pop((row.tenant, row.tool, row.version), None)
            fix = "Remove its folder, and it is written again as it was published; or roll back to another version."
            self.vouched.refuse(row, refusal(row, "artifact_altered", wrong, fix), stamp)


def set_aside(database: Database, tools_dir: Path, aside: Path) -> int:
    """Move folders that are not what this database published to `aside`, as after another database was restored; returns how many.

    Those that belong here are written again from the database when they are next called.
    """
    with database.reading() as session:
        known = {shelf.folder_of(tools_dir, row.tenant, row.tool, row.version): row.digest for row in session.exec(select(Version))}
    strange = [folder for folder in shelf.folders(tools_dir) if folder not in known or problems_of(shelf.take(folder, known[folder]))]
    for folder in strange:
        shelf.move(folder, aside / folder.relative_to(tools_dir))
    return len(strange)
