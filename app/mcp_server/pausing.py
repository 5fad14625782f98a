"""Management tools that pause and resume.

It refuses to be: a place for rules. Each function calls one use case and returns what REST would.
"""

from __future__ import annotations

from typing import Any

from app.invocation import pausing
from app.mcp_server.answers import value_result
from app.mcp_server.asking import Ask
from app.mcp_server.entry import SAME_AGAIN, WRITES, Management
from app.mcp_server.fields import obj, one_of, text
from app.registry.entries import MANAGERS


async def pause(ask: Ask) -> dict[str, Any]:
    """`POST /tools/{name}/pause`, `/connectors/{name}/pause` or `/pause`."""
    args = ask.args
    answer = await ask.of(pausing.pause, ask.services.calls, args["scope"], args.get("name", ""), args["reason"])
    ask.services.feed.nudge()
    return value_result(answer)


async def resume(ask: Ask) -> dict[str, Any]:
    """`DELETE` of the same."""
    answer = await ask.of(pausing.resume, ask.services.calls, ask.args["scope"], ask.args.get("name", ""))
    ask.services.feed.nudge()
    return value_result(answer)


async def pauses(ask: Ask) -> dict[str, Any]:
    """`GET /pauses`, with what `GET /connectors` says."""
    paused = await ask.of(pausing.list_pauses, ask.services.calls, limit=500)
    connectors = await ask.of(pausing.list_connectors, ask.services.calls, limit=500)
    return value_result({"pauses": paused["items"], "connectors": connectors["items"]})


_WHAT = {
    "scope": one_of("What to pause or resume.", *pausing.SCOPES),
    "name": text("Name of the tool or connector; left out for everything.", 200),
}
PAUSE_TOOLS = (
    Management(
        "toolmint_pause",
        "Pause a tool, a connector or everything",
        "Within a second, calls of what is paused are refused and its runs wait at an effect boundary; nothing is lost or repeated. A "
        "paused connector stops effects only: reads and dry runs go on. Stored answers are still given.",
        (pausing.PAUSE,),
        obj({**_WHAT, "reason": text("Why; everybody who is refused reads it.", 500)}, "scope", "reason"),
        pause,
        SAME_AGAIN,
        repeats=True,
    ),
    Management(
        "toolmint_resume",
        "End a pause",
        "What waited goes on where it was, within seconds.",
        (pausing.PAUSE,),
        obj(_WHAT, "scope"),
        resume,
        WRITES,
        repeats=True,
    ),
    Management(
        "toolmint_pauses",
        "See what is paused, and how connectors are",
        "Pauses with who set them and why; connectors with open circuits: what is not tried for a while, because it has not answered.",
        ("tools:call", pausing.PAUSE, *MANAGERS),
        obj({}),
        pauses,
    ),
)
