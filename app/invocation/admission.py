"""Whether a call may begin now: is its tool paused, are too many calls open, and may its run begin in this process?

It refuses to be: a judge of answers that are there. A call that some run answers for already is let through, whatever is paused.
"""

from __future__ import annotations

import asyncio

from app.core.actor import Actor
from app.core.errors import Limited, Unavailable
from app.invocation.desk import Calls
from app.runtime.models import Pause
from app.runtime.open_calls import count_open
from app.runtime.process import Identity

PAUSED_S = 10
BUSY_S = 2


async def admitted(actor: Actor, calls: Calls, tool: str, identity: Identity | None) -> None:
    """Raise Unavailable `paused` while the tool or everything is paused, or while nobody knows; Limited `too_many_calls` where as many
    of its calls are open as its limit allows. Not where some run answers for `identity` already."""
    flow = calls.runtime.flow
    if flow is None:
        return
    most = flow.limits.tool(tool).calls
    if most is None and flow.fresh and flow.pause_of(actor.tenant, tool) is None:
        return
    known = await flow.known()
    pause = flow.pause_of(actor.tenant, tool)
    crowded = most is not None and await asyncio.to_thread(count_open, calls.database, actor.tenant, tool=tool) >= most
    if known and pause is None and not crowded:
        return
    if identity is not None and await asyncio.to_thread(calls.runtime.answered, identity):
        return
    if known and pause is None:
        raise too_many(f"{most} calls of the tool {tool} are open, as many as its limit allows.")
    raise refusal(tool, pause if known else None)


def refusal(tool: str, pause: Pause | None) -> Unavailable:
    """What a caller is told of a pause; None: it is not known whether there is one."""
    later = {"retry_after_s": PAUSED_S}
    if pause is None:
        fix = "Send the same call again in a few seconds; nothing was begun."
        return Unavailable("paused", "It is not known what is paused: the database cannot be read right now.", fix=fix, data=later)
    what = f"The tool {tool}" if pause.scope == "tool" else "Everything"
    return Unavailable(
        "paused",
        f"{what} is paused: {pause.reason}",
        fix="Nothing was begun. Send the same call again when the pause is over; an operator ends it.",
        data=later,
    )


def begins_here(calls: Calls, tool: str) -> bool:
    """Whether a run may begin in the process that takes the call: where runs at once are limited, workers take them in turn."""
    flow = calls.runtime.flow
    return flow is None or flow.limits.runs_of(tool) is None


async def room_for(actor: Actor, calls: Calls) -> None:
    """Raise Limited `too_many_calls` where a call is about to wait for a worker behind as many of its actor's as may be open."""
    flow = calls.runtime.flow
    if flow is None:
        return
    if await asyncio.to_thread(count_open, calls.database, actor.tenant, actor=actor.id) >= flow.limits.open_per_actor:
        raise too_many(f"{flow.limits.open_per_actor} runs that your key began are not over yet.")


def too_many(detail: str) -> Limited:
    """The refusal of one call more."""
    return Limited("too_many_calls", detail, fix="Wait for some to end, then send the same call again.", data={"retry_after_s": BUSY_S})
