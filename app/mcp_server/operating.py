"""Management tools for those who publish, call and watch.

It refuses to be: a place for rules. Each function calls one use case and returns what REST would.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Literal

from app.core.errors import Invalid
from app.invocation.calling import call_tool
from app.mcp_server.answers import brief, run_meta, value_result
from app.mcp_server.asking import Ask
from app.records.imports import import_records
from app.records.snapshots import take_snapshot
from app.registry.channels import roll_back
from app.registry.publishing import publish
from app.registry.reading import list_tools
from app.runtime.decisions import cancel_run
from app.runtime.replay import replay_run
from app.runtime.views import read_run

_FAILED = ("failed", "cancelled", "quarantined")


async def publication(ask: Ask) -> dict[str, Any]:
    """`POST /tools/{name}/versions`."""
    args = ask.args
    more = ask.given("reason")
    answer = await ask.of(publish, ask.services.catalog, args["candidate_id"], args.get("channel", "stable"), tool=args["name"], **more)
    ask.services.feed.nudge()
    return value_result(answer)


async def roll(ask: Ask) -> dict[str, Any]:
    """`POST /tools/{name}/rollbacks`."""
    answer = await ask.of(roll_back, ask.services.catalog, ask.args["name"], ask.args["reason"], ask.args.get("version"))
    ask.services.feed.nudge()
    return value_result(answer)


async def search(ask: Ask) -> dict[str, Any]:
    """`GET /tools`."""
    return value_result(await ask.of(list_tools, ask.services.catalog, **ask.given("cursor", "limit", "query")))


async def call(ask: Ask) -> dict[str, Any]:
    """`POST /tools/{name}/runs`."""
    args = ask.args
    waiting = replace(ask.waiting, wait_s=args["wait_s"]) if "wait_s" in args else ask.waiting
    answer = await call_tool(
        ask.actor,
        ask.services.calls,
        args["tool"],
        args["args"],
        version=args.get("version"),
        dry_run=args.get("dry_run", False),
        key=args.get("key", ask.key),
        approval=args.get("approval", ask.approval),
        source="mcp",
        waiting=waiting,
    )
    body = {**brief(answer.body), "evidence_digest": answer.evidence.report}
    return value_result(body, failed=body["state"] in _FAILED, meta=run_meta(answer))


async def run_status(ask: Ask) -> dict[str, Any]:
    """`GET /runs/{id}`."""
    return value_result(brief(await ask.of(read_run, ask.services.database, ask.args["id"])))


async def cancel(ask: Ask) -> dict[str, Any]:
    """`POST /runs/{id}/cancellations`."""
    answer = await ask.of(cancel_run, ask.services.database, ask.args["id"])
    ask.services.feed.nudge()
    return value_result(answer)


async def replay(ask: Ask) -> dict[str, Any]:
    """`POST /runs/{id}/replays`."""
    services = ask.services
    return value_result(await replay_run(ask.actor, services.database, services.feed, ask.args["id"], **ask.given("wait_s")))


async def keep(ask: Ask) -> dict[str, Any]:
    """`POST /records/{collection}/snapshots`."""
    return value_result(await ask.of(take_snapshot, ask.services.database, ask.args["collection"], ask.args.get("filter")))


async def load(ask: Ask) -> dict[str, Any]:
    """`POST /records/{collection}/imports`."""
    args = ask.args
    if ("records" in args) == ("content" in args):
        raise Invalid("args_invalid", "Pass either records or content.", fix="Leave one of the two out.")
    lines = [json.dumps(record).encode() + b"\n" for record in args.get("records", ())]
    content = lines if "records" in args else [args["content"].encode(errors="surrogatepass")]
    kind: Literal["jsonl", "csv"] = "jsonl" if "records" in args else args.get("format", "jsonl")
    found = await ask.of(import_records, ask.services.database, args["collection"], content, kind, args.get("key"))
    return value_result({"imported": found.imported, "failed": found.failed, "errors": found.errors})
