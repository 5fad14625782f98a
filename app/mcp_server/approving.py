"""Management tools for approvals of calls: ask, follow, decide.

It refuses to be: a place for rules. Each function calls one use case and returns what REST would.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from app.invocation.approvals import ask_approval, decide_approval, list_approvals, read_approval
from app.mcp_server.answers import brief, value_result
from app.mcp_server.asking import Ask

LOOK_AGAIN_S = 1.0


async def request(ask: Ask) -> dict[str, Any]:
    """`POST /approvals`."""
    answer = await ask.of(ask_approval, ask.services.calls, ask.args["run_id"], **ask.given("note", "ttl_s"))
    ask.services.feed.nudge()
    return value_result(answer)


async def approvals(ask: Ask) -> dict[str, Any]:
    """`GET /approvals`, or with an id `GET /approvals/{id}`, for whose decision it waits for up to `wait_s`."""
    database = ask.services.database
    if "id" not in ask.args:
        return value_result(await ask.of(list_approvals, database, **ask.given("state", "tool", "cursor", "limit")))
    approval_id = ask.args["id"]
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + ask.args.get("wait_s", 0)
    async with ask.services.feed.listen(lambda signal: signal.subject == approval_id) as signals:
        while True:
            answer = await ask.of(read_approval, database, approval_id)
            left = ends_at - loop.time()
            if answer["state"] != "waiting" or left <= 0:
                return value_result(brief(answer))
            with suppress(TimeoutError):
                await asyncio.wait_for(signals.get(), min(left, LOOK_AGAIN_S))


async def decide(ask: Ask) -> dict[str, Any]:
    """`POST /approvals/{id}/decisions`."""
    args = ask.args
    answer = await ask.of(decide_approval, ask.services.database, args["id"], args["decision"], args["reason"])
    ask.services.feed.nudge()
    return value_result(answer)
