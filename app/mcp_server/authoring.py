"""Management tools for those who write: the guide, specs, candidates and their reports.

It refuses to be: a place for rules. Each function calls one use case and returns what REST would.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from app.candidates.cancelling import cancel_candidate
from app.candidates.reading import read_candidate, read_report
from app.candidates.shapes import short_report
from app.candidates.submission import submit_candidate
from app.codegen.generation import start_generation
from app.connectors.named import warnings
from app.invocation.guide import TOPICS as TOPICS
from app.invocation.guide import guide_text
from app.mcp_server.answers import text_result, value_result
from app.mcp_server.asking import Ask
from app.spec.model import ExecutionSpec
from app.spec.revisions import save_spec

LOOK_AGAIN_S = 1.0
_OPEN = ("queued", "verifying")


def _spec_schema() -> dict[str, Any]:
    """The spec's fields, one level deep: what is inside is checked by the lint, which says more than a schema can."""
    types = {"string": "string", "object": "object", "array": "array", "integer": "integer"}
    whole = ExecutionSpec.model_json_schema()
    properties: dict[str, Any] = {}
    for name, field in whole["properties"].items():
        kind = field.get("type", "object" if "$ref" in field else None)
        about = {"description": f"The spec's {name}; see toolmint_guide."}
        properties[name] = about | ({"type": types[kind]} if kind in types else {})
    return {"type": "object", "additionalProperties": False, "required": whole["required"], "properties": properties}


SPEC_SCHEMA = _spec_schema()


async def guide(ask: Ask) -> dict[str, Any]:
    """The guide, or one topic of it."""
    return text_result(await asyncio.to_thread(guide_text, ask.services.connectors.catalog, ask.args.get("topic")))


async def save(ask: Ask) -> dict[str, Any]:
    """`POST /specs`."""
    services = ask.services
    saved = await save_spec(ask.actor, services.database, ask.args, services.connectors.catalog)
    return value_result({**saved, "warnings": await asyncio.to_thread(warnings, services.database, ask.actor.tenant, ask.args)})


async def submit(ask: Ask) -> dict[str, Any]:
    """`POST /tools/{name}/candidates`."""
    args = ask.args
    given = ask.given("full_report", "notes")
    answer = await ask.of(submit_candidate, ask.services.database, args["name"], args.get("spec_revision"), args["files"], **given)
    return value_result(answer)


async def generate(ask: Ask) -> dict[str, Any]:
    """`POST /tools/{name}/generations`."""
    services = ask.services
    given = ask.given("model", "brief", "repairs", "spec_revision")
    return value_result(await ask.of(start_generation, services.database, services.settings, ask.args["name"], **given))


async def cancel(ask: Ask) -> dict[str, Any]:
    """`POST /candidates/{id}/cancellations`."""
    return value_result(await ask.of(cancel_candidate, ask.services.database, ask.args["id"]))


async def report(ask: Ask) -> dict[str, Any]:
    """`GET /candidates/{id}/report`, short unless `full`, with `candidate` beside it; waits up to `wait_s` for the end of verification."""
    services, candidate_id = ask.services, ask.args["id"]
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + ask.args.get("wait_s", 0)
    async with services.feed.listen(lambda signal: signal.subject == candidate_id) as signals:
        while True:
            candidate = await ask.of(read_candidate, services.database, candidate_id)
            left = ends_at - loop.time()
            if candidate["state"] not in _OPEN or left <= 0:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(signals.get(), min(left, LOOK_AGAIN_S))
    found = await ask.of(read_report, services.database, candidate_id)
    shown = {name: candidate[name] for name in ("id", "tool", "state", "approval", "version", "error")}
    return value_result({**(found if ask.args.get("full") else short_report(found)), "candidate": shown})
