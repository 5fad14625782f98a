"""Verify a candidate: claim it, run the line of gates on it, compute the rubric, store the report.

Every gate is written down as it starts and ends, so that pages follow it live. A worker that dies leaves a claim that lapses, and the
results of the gates that it finished: the next one takes them from memory, since they depend on the same, and goes on with the rest.

It refuses to be: a second chance. A verification that broke is an error of the candidate, which is then neither passed nor refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.candidates.keeping import find_kept, keep_result, recall_facts, remember_facts
from app.candidates.verifying import (
    ClaimedCandidate,
    claim_candidate,
    fail_candidate,
    finish_candidate,
    gate_finished,
    gate_started,
    release_candidate,
    still_held,
)
from app.core.db import Database
from app.core.errors import Conflict, ToolmintError
from app.core.settings import Settings
from app.economics.costs import generation_usd
from app.observability import metrics
from app.observability.logs import working
from app.observability.traces import tracing
from app.runtime.activity import in_demand
from app.sandbox.oneshot import PATIENCE
from app.sandbox.sandbox import Sandbox
from app.spec.catalog import ConnectorCatalog
from app.verification.findings import GateResult
from app.verification.gates import GATES
from app.verification.keeping import FORGETFUL, Keeper
from app.verification.line import SILENT, Watcher, run_line
from app.verification.report import assemble
from app.verification.rubric import thresholds_of
from app.verification.scratch import scratch_folder
from app.verification.subject import Bench, Replaced, Subject, never
from app.verification.template import template_database

logger = logging.getLogger(__name__)
LOST = "candidate_lost"
LOOK_S = 0.5
"""How often a verifier looks whether the candidate is still its own."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """What verification needs of its process. `catalog` are the connectors of this installation, `owner` names who claims.

    `replaced` finds the version of `(tenant, tool)` that a new one would replace.
    """

    database: Database
    sandbox: Sandbox
    settings: Settings
    catalog: ConnectorCatalog
    owner: Callable[[], str]
    replaced: Callable[[str, str], Replaced | None] = lambda _tenant, _tool: None


async def verify_candidate(verifier: Verifier, candidate_id: str) -> str | None:
    """Verify a waiting candidate: `passed`, `refused` or `error`. None: it is over, or another process has it.

    Cancelled, it puts the candidate back into the queue.
    """
    owner = verifier.owner()
    claim = asyncio.ensure_future(asyncio.to_thread(claim_candidate, verifier.database, candidate_id, owner))
    try:
        claimed = await asyncio.shield(claim)
        return None if claimed is None else await _verify_claimed(verifier, claimed, owner)
    except asyncio.CancelledError:
        await claim  # a thread does not stop: what it is about to claim must be given back as well
        await asyncio.to_thread(release_candidate, verifier.database, candidate_id, owner)
        raise


async def _verify_claimed(verifier: Verifier, claimed: ClaimedCandidate, owner: str) -> str | None:
    candidate_id = claimed.id
    with tracing(claimed.trace_id), working(candidate_id=candidate_id, tool=claimed.tool):
        try:
            return await _verify(verifier, claimed, owner)
        except ToolmintError as error:
            if error.code == LOST:
                logger.warning("candidate %s was cancelled, or another process has it now", candidate_id)
                return None
            logger.exception("the verification of %s broke", candidate_id)
            return await _fail(verifier, candidate_id, owner, error)
        except Exception as error:  # of any kind: a verification that broke must end as an error, and never as a pass
            logger.exception("the verification of %s broke", candidate_id)
            return await _fail(verifier, candidate_id, owner, error)


async def examine(
    subject: Subject, bench: Bench, settings: Settings, *, full_report: bool, watcher: Watcher = SILENT, keeper: Keeper = FORGETFUL
) -> dict[str, Any]:
    """The report about a candidate. Raises GateBroke where a gate itself failed."""
    results = await run_line(GATES, subject, bench, full_report=full_report, watcher=watcher, keeper=keeper)
    return assemble(subject.candidate_id, subject.digest, results, thresholds_of(settings), subject.replaces)


@asynccontextmanager
async def bench_for(
    sandbox: Sandbox, settings: Settings, *, patience: float = 1.0, sparing: Callable[[], Awaitable[bool]] = never
) -> AsyncIterator[Bench]:
    """A bench of its own for one verification, gone afterwards: private files, and guests apart from published tools."""
    template = await asyncio.to_thread(template_database, settings.home)
    guests, others = sandbox.apart(), sandbox.apart()
    async with scratch_folder(template.parent) as scratch:
        try:
            parts = sandbox, guests, template, scratch, settings.model, settings.mutation_score
            yield Bench(*parts, others=others, patience=patience, sparing=sparing)
        finally:
            await asyncio.gather(guests.stop(), others.stop())


async def _verify(verifier: Verifier, claimed: ClaimedCandidate, owner: str) -> str:
    cost = await asyncio.to_thread(generation_usd, verifier.database, claimed.tenant, claimed.generation_id)
    subject = Subject(
        candidate_id=claimed.id,
        tenant=claimed.tenant,
        tool=claimed.tool,
        author=claimed.author,
        spec=claimed.spec,
        files=claimed.files,
        digest=claimed.digest,
        catalog=verifier.catalog,
        generation_usd=cost,
        replaces=await asyncio.to_thread(verifier.replaced, claimed.tenant, claimed.tool),
    )
    stands_back = verifier.settings.verification_stands_back
    behind = verifier.sandbox.apart(background=stands_back)
    sparing = partial(asyncio.to_thread, in_demand, verifier.database) if stands_back else never
    async with bench_for(behind, verifier.settings, patience=PATIENCE, sparing=sparing) as bench:
        watcher = _watcher(verifier.database, claimed.id, owner)
        keeper = _Memory(verifier.database, claimed.tenant, claimed.id)
        work = examine(subject, bench, verifier.settings, full_report=claimed.full_report, watcher=watcher, keeper=keeper)
        report = await _while_held(verifier.database, claimed.id, owner, work)
    await asyncio.to_thread(finish_candidate, verifier.database, claimed.id, owner, report)
    return "passed" if report["publishable"] else "refused"


async def _while_held(database: Database, candidate_id: str, owner: str, work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """What the work comes to; it is ended once the claim is gone, and then Conflict `candidate_lost` is raised."""
    task = asyncio.create_task(work, name=f"gates of {candidate_id}")
    try:
        while not (await asyncio.wait([task], timeout=LOOK_S))[0]:
            if not await asyncio.to_thread(still_held, database, candidate_id, owner):
                gone = f"The candidate {candidate_id} is no longer verified by {owner}."
                raise Conflict(LOST, gone, fix="Nothing needs to be done: another worker has it.")
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Memory:
    """The service's memory of results, on behalf of one candidate."""

    database: Database
    tenant: str
    candidate_id: str

    async def find(self, key: str) -> GateResult | None:
        found = await asyncio.to_thread(find_kept, self.database, key)
        return GateResult.from_dict(*found) if found else None

    async def keep(self, key: str, result: GateResult) -> None:
        await asyncio.to_thread(keep_result, self.database, key, self.tenant, self.candidate_id, result.as_dict())

    async def recall(self, key: str) -> Mapping[str, Any] | None:
        return await asyncio.to_thread(recall_facts, self.database, key)

    async def remember(self, key: str, gate: str, facts: Mapping[str, Any]) -> None:
        await asyncio.to_thread(remember_facts, self.database, key, self.tenant, gate, self.candidate_id, facts)


def _watcher(database: Database, candidate_id: str, owner: str) -> Watcher:
    positions = {gate.name: position for position, gate in enumerate(GATES)}

    async def started(gate: str) -> None:
        await asyncio.to_thread(gate_started, database, candidate_id, owner, gate, positions[gate])

    async def finished(result: GateResult) -> None:
        if result.status != "skipped" and not result.kept:
            metrics.GATE_SECONDS.labels(result.gate).observe(result.duration_ms / 1000)
        row = result.as_dict()
        seen = (result.gate, result.status, result.duration_ms, row["findings"], row["evidence"], positions[result.gate], result.kept)
        await asyncio.to_thread(gate_finished, database, candidate_id, owner, *seen)

    return Watcher(started, finished)


async def _fail(verifier: Verifier, candidate_id: str, owner: str, error: Exception) -> str | None:
    told = {
        "code": "verification_broke",
        "detail": f"{type(error).__name__} while it was verified.",
        "fix": "Submit it again; report it if it stays.",
    }
    if isinstance(error, ToolmintError):
        told = {"code": error.code, "detail": error.detail, "fix": error.fix or told["fix"]}
    try:
        await asyncio.to_thread(fail_candidate, verifier.database, candidate_id, owner, told)
    except Conflict:  # another process has it meanwhile, and its word counts
        return None
    return "error"
