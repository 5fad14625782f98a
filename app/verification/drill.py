"""A private installation for one tool: its spec saved, the candidate submitted, approved and published, then called as callers call.

Everything is the product's own: revisions, submission, approval, registry, channels, invocation, runtime, sandbox. Only the report that
lets the candidate through is the drill's, in a database that is thrown away.

It refuses to be: a way to publish. Nothing leaves its folder.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from app.candidates.approval import approve_candidate
from app.candidates.submission import submit_candidate
from app.candidates.verifying import claim_candidate, finish_candidate
from app.connectors.named import stand_in
from app.core import owners
from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import Failed
from app.core.signing import Keyring
from app.invocation.calling import Waiting, call_tool
from app.invocation.desk import Calls
from app.registry.catalog import Catalog
from app.registry.channels import roll_back
from app.registry.publishing import publish
from app.spec.model import Example
from app.spec.revisions import save_checked
from app.verification.stage import Key, Row, Stage, open_stage
from app.verification.subject import Bench, Subject

_LEASE_MS = 60_000
_NO_TESTS = {"test_tool.py": "# No gate that drills is handed the author's tests.\n"}
_LET_THROUGH: Mapping[str, Any] = {
    "publishable": True,
    "gates": [{"gate": "drill", "status": "passed", "findings": [], "evidence": {}, "duration_ms": 0}],
    "rubric": [{"dimension": "drill", "score": 1.0, "threshold": 0.0, "passed": True, "evidence": []}],
}


@dataclass(frozen=True, slots=True)
class Walked:
    """The three calls of a drill: their answers, the ledger after each, the version that was to answer each."""

    answers: list[dict[str, Any]]
    ledgers: list[dict[Key, Row]]
    versions: list[int]

    @property
    def held(self) -> dict[str, bool]:
        """Whether each call was answered with a result by the version that had to, and nothing that was done was done again."""
        answered = zip(self.answers, self.versions, strict=True)
        well = [answer["state"] == "completed" and answer["version"] == version for answer, version in answered]
        return {
            "published": well[0],
            "replaced": well[1],
            "rolled_back": well[2] and self.versions[0] == self.versions[2],
            "nothing_repeated": all(_is_repeated_by_none(before, self.ledgers[2]) for before in self.ledgers[:2]),
        }


def _is_repeated_by_none(before: Mapping[Key, Row], after: Mapping[Key, Row]) -> bool:
    return all(after[key].performed == row.performed for key, row in before.items() if row.state == "done" and key in after)


@dataclass(frozen=True, slots=True)
class Drill:
    """A stage with the product around it. `author`, `operator` and `caller` are three actors."""

    subject: Subject
    stage: Stage
    catalog: Catalog
    calls: Calls
    author: Actor
    operator: Actor
    caller: Actor
    patience: float = 1.0

    @property
    def database(self) -> Database:
        return self.stage.database

    async def publish(self, subject: Subject | None = None) -> int:
        """Submit the candidate (or another subject), let it through, approve it, publish it; the version."""
        return await asyncio.to_thread(self._publish, subject or self.subject)

    async def call(self, args: Mapping[str, Any], key: str | None = None) -> dict[str, Any]:
        """The run as REST answers it, waited for to its end."""
        waiting = Waiting(wait_s=(self.subject.spec.limits.timeout_s + 5) * self.patience)
        answer = await call_tool(self.caller, self.calls, self.subject.tool, dict(args), key=key, source="verification", waiting=waiting)
        return answer.body

    async def roll_back(self) -> int:
        """Back to the version before; the version that answers now."""
        done = await asyncio.to_thread(roll_back, self.operator, self.catalog, self.subject.tool, "roll-back drill")
        version: int = done["version"]
        return version

    async def walk(self, args: Mapping[str, Any], first: Subject, second: Subject) -> Walked:
        """Publish the first, call; publish the second, call; roll back, call."""
        walked = Walked([], [], [])
        moves: list[Callable[[], Awaitable[int]]] = [partial(self.publish, first), partial(self.publish, second), self.roll_back]
        for step, move in enumerate(moves, 1):
            walked.versions.append(await move())
            walked.answers.append(await self.call(args, key=f"call {step}"))  # keys of their own: a natural run key would replay the first
            walked.ledgers.append(await asyncio.to_thread(self.stage.ledger))
        return walked

    def _publish(self, subject: Subject) -> int:
        files = [{"path": path, "content": content} for path, content in {**_NO_TESTS, **subject.files}.items()]
        revision = save_checked(self.author, self.database, subject.spec).revision  # the gate "spec" has checked it
        candidate: str = submit_candidate(self.author, self.database, subject.tool, revision, files)["id"]
        owner = owners.register(self.database, "verification", _LEASE_MS)
        claimed = claim_candidate(self.database, candidate, owner)
        if claimed is None:
            raise Failed("drill_failed", "The drill could not claim the candidate that it had just submitted.", fix="Verify again.")
        finish_candidate(self.database, candidate, owner, {"candidate_id": candidate, "digest": claimed.digest, **_LET_THROUGH})
        if subject.spec.effects:
            approve_candidate(self.operator, self.database, candidate, "approve", "roll-back drill")
        version: int = publish(self.operator, self.catalog, candidate)["version"]
        return version


@asynccontextmanager
async def drilled(bench: Bench, subject: Subject, example: Example, former: Subject | None = None) -> AsyncIterator[Drill]:
    """A drill in the world of `example`, with nothing published yet; `former` is another subject that may be published there."""
    specs = [subject.spec, *([former.spec] if former is not None else [])]
    caller = replace(subject.caller, permissions=frozenset({"tools:call"}.union(*(spec.permissions for spec in specs))))
    async with open_stage(bench, example, subject.caller) as (stage, path):
        folder = Path(f"{path}.published")
        catalog = Catalog(stage.database, folder, stage.connectors.catalog, Keyring(folder))
        stage.load = catalog.load
        author = Actor("key_author", "author", subject.tenant, frozenset({"specs:write", "candidates:submit"}))
        operator = Actor("key_operator", "operator", subject.tenant, frozenset({"candidates:approve", "tools:publish", "tools:rollback"}))
        await asyncio.to_thread(stand_in, stage.database, subject.tenant, *specs)
        calls = Calls(await stage.living(), catalog)
        try:
            yield Drill(subject, stage, catalog, calls, author, operator, caller, bench.patience)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
