"""Published tools for tests: a candidate that is said to have passed, approved and published through the rooms' own functions.

It refuses to be: verification. The report is made up; everything after it is real.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.candidates.approval import approve_candidate
from app.candidates.submission import submit_candidate
from app.candidates.verifying import claim_candidate, finish_candidate
from app.connectors.scripted import ScriptedConnectors, scripted
from app.core import owners
from app.core.actor import DEFAULT_TENANT, Actor
from app.core.db import Database
from app.core.feed import Feed
from app.core.migration import migrate
from app.core.signing import Keyring
from app.invocation.desk import Calls
from app.registry.catalog import Catalog, following
from app.registry.publishing import publish
from app.runtime.flow.limits import Limits
from app.runtime.process import Runtime
from app.sandbox.sandbox import Sandbox
from app.spec.model import ExecutionSpec
from app.spec.revisions import list_revisions
from app.verification.toolchain import toolchain
from tests.support.contracts import save
from tests.support.releases import CAMPAIGN
from tests.support.worlds import PURE, SENDER, sender_spec

AUTHOR = Actor("key_author", "author", DEFAULT_TENANT, frozenset({"specs:write", "candidates:submit"}))
OPERATOR = Actor("key_operator", "operator", DEFAULT_TENANT, frozenset({"candidates:approve", "tools:publish", "tools:rollback"}))
CALLER = Actor("key_caller", "caller", DEFAULT_TENANT, frozenset({"tools:call"}))
TESTS = '"""Tests."""\n\n\ndef test_nothing() -> None:\n    assert True\n'
COUNTER_ARGS = {"group": "g", "to": ["a@example.com"]}


def counter_spec(name: str = "count_notes", **changes: Any) -> ExecutionSpec:
    """A spec without effects: it counts the addresses that it is given."""
    return sender_spec(_name=name, _effects=[], _limits={"timeout_s": 60}, **changes)


def proof_of(**hints: bool) -> dict[str, Any]:
    """The row that the gate "annotations" leaves in a report, for a tool that performs nothing unless `hints` say otherwise."""
    careful = {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False}
    shown = {"runs": 7, "reads": {}, "effects": {}, "repeats": 2, "added": 0, "undone": []}
    return {
        "gate": "annotations",
        "status": "passed",
        "duration_ms": 1,
        "findings": [],
        "evidence": {"hints": {**careful, **hints}, **shown},
    }


def passing(candidate_id: str, digest: str, *gates: dict[str, Any]) -> dict[str, Any]:
    """The report of a candidate that passed, with a gate, these `gates`, and a score."""
    spec = {"gate": "spec", "status": "passed", "duration_ms": 1, "findings": []}
    rubric = [{"dimension": "safety", "score": 1.0, "threshold": 0.9, "passed": True, "evidence": []}]
    return {"candidate_id": candidate_id, "digest": digest, "publishable": True, "gates": [spec, *gates], "rubric": rubric}


def pass_candidate(
    database: Database, spec: ExecutionSpec, source: str = PURE, *, approve: bool = True, proof: dict[str, Any] | None = None
) -> str:
    """Save the spec (unless it is there), submit, say that it passed, approve; returns the candidate's id."""
    revision = _revision_of(database, spec)
    files = [{"path": "tool.py", "content": source}, {"path": "test_tool.py", "content": TESTS}]
    candidate = submit_candidate(AUTHOR, database, spec.name, revision, files)
    owner = owners.register(database, "worker", 15_000)
    assert claim_candidate(database, candidate["id"], owner)
    report = passing(candidate["id"], candidate["digest"], *([proof] if proof is not None else []))
    finish_candidate(database, candidate["id"], owner, {**report, "verified_with": toolchain()})
    if approve and spec.effects:
        approve_candidate(OPERATOR, database, candidate["id"], "approve", "looked at it")
    return str(candidate["id"])


def release(
    catalog: Catalog, spec: ExecutionSpec | None = None, source: str = PURE, *, proof: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Publish a tool from its source in one step; returns what `publish` does."""
    return publish(OPERATOR, catalog, pass_candidate(catalog.database, spec or counter_spec(), source, proof=proof))


def release_sender(catalog: Catalog, **changes: Any) -> dict[str, Any]:
    """Publish the tool that sends to each address once."""
    return release(catalog, sender_spec(**changes), SENDER)


def release_campaign(home: Path) -> None:
    """The bundled campaign tool on a home that no service runs on yet. `make test` verifies it elsewhere."""
    home.mkdir(parents=True, exist_ok=True)
    database = Database(f"sqlite:///{home / 'toolmint.db'}")
    migrate(database, home / "backups")
    spec = ExecutionSpec.model_validate_json((CAMPAIGN / "spec.json").read_text())
    release(Catalog(database, home / "published", scripted().catalog, Keyring(home)), spec, (CAMPAIGN / "tool.py").read_text())
    database.close()


def _revision_of(database: Database, spec: ExecutionSpec) -> int:
    known = {row["digest"]: row["revision"] for row in list_revisions(AUTHOR, database, spec.name)}
    if spec.digest not in known:
        save(database, spec, len(known) + 1)
    return int(known.get(spec.digest, len(known) + 1))


@dataclass
class House:
    """One web process's worth of parts, on scripted connectors."""

    database: Database
    catalog: Catalog
    calls: Calls
    feed: Feed
    runtime: Runtime
    connectors: ScriptedConnectors


@asynccontextmanager
async def house(
    database: Database,
    sandbox: Sandbox,
    tools_dir: Path,
    script: Sequence[dict[str, Any]] = (),
    *,
    places: int = 4,
    limits: Limits | None = None,
) -> AsyncIterator[House]:
    """The parts, started; stopped at the end of the block."""
    feed = Feed(database, interval_s=0.02)
    await feed.start()
    connectors = scripted(script)
    catalog = Catalog(database, tools_dir, connectors.catalog, Keyring(tools_dir.parent))
    runtime = Runtime(database, sandbox, connectors, catalog.load, feed, role="web", lease_s=15, heartbeat_s=0.2, limits=limits)
    await runtime.start()
    try:
        async with following(catalog, feed):
            yield House(database, catalog, Calls(runtime, catalog, places), feed, runtime, connectors)
    finally:
        await runtime.stop()
        await feed.stop()
