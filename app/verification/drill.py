"""A private installation for one tool: its spec saved, the candidate submitted, approved and published, then called as callers call.

Everything is the product's own: revisions, submission, approval, registry, channels, invocation, runtime, sandbox. Only the report that
lets the candidate through is the drill's, in a database that is thrown away.

It refuses to be: a way to publish. Nothing leaves its folder.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
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
from app.verification.stage import Stage, open_stage
from app.verification.subject import Bench, Subject

_LEASE_MS = 60_000
_NO_TESTS = {"test_tool.py": "# No gate that drills is handed the author's tests.\n"}
_LET_THROUGH: Mapping[str, Any] = {
    "publishable": True,
    "gates": [{"gate": "drill", "status": "passed", "findings": [], "evidence": {}, "duration_ms": 0}],
    "rubric": [{"dimension": "drill", "score": 1.0, "threshold": 0.0, "passed": True, "evidence": []}],
}


@dataclass(frozen=True, slots=True)
class Drill:
    """A stage with the product around it. `author`, `operator` and the subject's caller are three actors."""

    subject: Subject
    stage: Stage
    catalog: Catalog
    calls: Calls
    author: Actor
    operator: Actor

    @property
    def database(self) -> Database:
        return self.stage.database

    async def publish(self) -> int:
        """Submit the candidate, let it through, approve it, publish it; the version."""
        return await asyncio.to_thread(self._publish)

    async def call(self, args: Mapping[str, Any], key: str | None = None) -> dict[str, Any]:
        """The run as REST answers it, waited for to its end."""
        waiting = Waiting(wait_s=self.subject.spec.limits.timeout_s + 5)
        answer = await call_tool(
            self.subject.caller, self.calls, self.subject.tool, dict(args), key=key, source="verification", waiting=waiting
        )
        return answer.body

    async def roll_back(self) -> int:
        """Back to the version before; the version that answers now."""
        done = await asyncio.to_thread(roll_back, self.operator, self.catalog, self.subject.tool, "roll-back drill")
        version: int = done["version"]
        return version

    def _publish(self) -> int:
        files = [{"path": path, "content": content} for path, content in {**_NO_TESTS, **self.subject.files}.items()]
        candidate: str = submit_candidate(self.author, self.database, self.subject.tool, None, files)["id"]
        owner = owners.register(self.database, "verification", _LEASE_MS)
        claimed = claim_candidate(self.database, candidate, owner)
        if claimed is None:
            raise Failed("drill_failed", "The drill could not claim the candidate that it had just submitted.")
        finish_candidate(self.database, candidate, owner, {"candidate_id": candidate, "digest": claimed.digest, **_LET_THROUGH})
        if self.subject.spec.effects:
            approve_candidate(self.operator, self.database, candidate, "approve", "roll-back drill")
        version: int = publish(self.operator, self.catalog, candidate)["version"]
        return version


@asynccontextmanager
async def drilled(bench: Bench, subject: Subject, example: Example) -> AsyncIterator[Drill]:
    """A drill in the world of `example`, with the spec saved and nothing published yet."""
    async with open_stage(bench, example, subject.caller) as (stage, path):
        folder = Path(f"{path}.published")
        catalog = Catalog(stage.database, folder, stage.connectors.catalog, Keyring(folder))
        stage.load = catalog.load
        author = Actor("key_author", "author", subject.tenant, frozenset({"specs:write", "candidates:submit"}))
        operator = Actor("key_operator", "operator", subject.tenant, frozenset({"candidates:approve", "tools:publish", "tools:rollback"}))
        await asyncio.to_thread(save_checked, author, stage.database, subject.spec)  # the gate "spec" has checked it
        await asyncio.to_thread(stand_in, stage.database, subject.tenant, subject.spec)
        calls = Calls(await stage.living(), catalog)
        try:
            yield Drill(subject, stage, catalog, calls, author, operator)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
