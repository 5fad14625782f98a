"""The management tools about effects: ledgers, queues with their causes, redrives and verdicts.

It refuses to be: a place for rules. Each function calls one use case and returns what REST would.
"""

from __future__ import annotations

from typing import Any

from app.core.errors import Invalid
from app.mcp_server.answers import value_result
from app.mcp_server.asking import Ask
from app.mcp_server.entry import OUTWARD, PAGE, SAME_AGAIN, TOOL, Management
from app.mcp_server.fields import boolean, integer, obj, one_of, text
from app.registry.entries import MANAGERS
from app.runtime.causes import list_causes
from app.runtime.decisions import resolve_effect
from app.runtime.redrives import MOST_IDS, Selection, cancel_decision, list_decisions, read_decision, redrive_effects, resolve_effects
from app.runtime.verdicts import VERDICTS
from app.runtime.views import list_effects, list_ledgers, read_effect, read_ledger


async def ledger(ask: Ask) -> dict[str, Any]:
    """`GET /ledgers/{name}/{group}`, or `GET /ledgers`."""
    named = ask.given("name", "group", "state", "subject")
    if not named:
        return value_result(await ask.of(list_ledgers, ask.services.database, **ask.given("cursor", "limit")))
    if not {"name", "group"} <= named.keys():
        raise Invalid("args_invalid", "A ledger is read by its name and group.", fix="Pass both, or neither for the list of ledgers.")
    return value_result(await ask.of(read_ledger, ask.services.database, **named, **ask.given("cursor", "limit")))


async def queues(ask: Ask) -> dict[str, Any]:
    """`GET /effects`, `GET /effects/causes` or `GET /effects/{id}`."""
    if ("id" in ask.args) == ("state" in ask.args):
        raise Invalid("args_invalid", "Pass the state of a queue, or the id of one effect.", fix="Pass exactly one of the two.")
    if "id" in ask.args:
        if len(ask.args) > 1:
            raise Invalid("args_invalid", "One effect is read by its id alone.", fix="Leave the rest out.")
        return value_result(await ask.of(read_effect, ask.services.database, ask.args["id"]))
    state = ask.args["state"]
    if ask.args.get("by_cause"):
        if ask.given("effect", "error_code"):
            raise Invalid("args_invalid", "Causes are narrowed by tool only.", fix="Leave effect and error_code out, or by_cause.")
        return value_result(await ask.of(list_causes, ask.services.database, state=state, **ask.given("tool", "cursor", "limit")))
    given = ask.given("tool", "effect", "error_code", "cursor", "limit")
    return value_result(await ask.of(list_effects, ask.services.database, state=state, **given))


async def redrive(ask: Ask) -> dict[str, Any]:
    """`POST /effects/redrives`."""
    made = await ask.of(redrive_effects, ask.services.catalog, _selection(ask), ask.args["reason"], ask.args.get("version"))
    ask.services.feed.nudge()
    return value_result(made)


async def resolve(ask: Ask) -> dict[str, Any]:
    """`POST /effects/{id}/resolutions`, or `POST /effects/resolutions`."""
    verdict, reason = ask.args["verdict"], ask.args["reason"]
    if "id" not in ask.args:
        made = await ask.of(resolve_effects, ask.services.database, _selection(ask), verdict, reason)
    elif ask.given("ids", "filter", "mark"):
        raise Invalid("args_invalid", "Pass an id, or ids, or a filter.", fix="Leave all but one of them out.")
    else:
        made = await ask.of(resolve_effect, ask.services.database, ask.args["id"], verdict, reason)
    ask.services.feed.nudge()
    return value_result(made)


async def redrives(ask: Ask) -> dict[str, Any]:
    """`GET /effects/redrives/{id}` (or resolutions), or the list of them."""
    if "id" in ask.args:
        return value_result(await ask.of(read_decision, ask.services.database, ask.args["id"]))
    return value_result(await ask.of(list_decisions, ask.services.database, **ask.given("kind", "state", "cursor", "limit")))


async def cancel(ask: Ask) -> dict[str, Any]:
    """`POST /effects/redrives/{id}/cancellations` (or resolutions)."""
    made = await ask.of(cancel_decision, ask.services.database, ask.args["id"])
    ask.services.feed.nudge()
    return value_result(made)


def _selection(ask: Ask) -> Selection:
    if ("ids" in ask.args) == ("filter" in ask.args):
        raise Invalid("selection_invalid", "Pass either ids or a filter.", fix='A filter of {} stands for all: {"filter": {}}.')
    named = tuple(ask.args["ids"]) if "ids" in ask.args else None
    return Selection(named, **ask.args.get("filter", {}), mark=ask.args.get("mark"))


_CODE = text("Only with this cause; none stands for those without a code.", 200)
_EFFECT = text("Only of this effect of the spec.", 64)
_REASON = text("Why; it goes into the audit trail.", 500)
_IDS = {
    "type": "array",
    "minItems": 1,
    "maxItems": MOST_IDS,
    "items": text("Id of an effect.", 100),
    "description": "These effects; or use filter.",
}
_SELECTION = {
    "ids": _IDS,
    "filter": {**obj({"tool": TOOL, "effect": _EFFECT, "error_code": _CODE}), "description": "All that match; {} stands for all."},
    "mark": integer("The mark of the causes that were looked at: what has moved since is left out.", 0, (1 << 53) - 1),
}

EFFECT_TOOLS = (
    Management(
        "toolmint_ledger",
        "Read a ledger",
        "Rows of one ledger group (a campaign, a data set): each effect with subject, state and receipt. Without name and group: which "
        "ledger groups there are.",
        ("tools:call", "effects:resolve", *MANAGERS),
        obj(
            {
                "name": text("Name of the ledger.", 64),
                "group": text("Its group, such as the id of a campaign.", 512),
                "state": text("Only rows in this state.", 32),
                "subject": text("Only rows of this subject.", 512),
                **PAGE,
            }
        ),
        ledger,
    ),
    Management(
        "toolmint_queues",
        "Look at retry queue, dead letters and unknowns",
        "Effects that wait for another attempt, that are out of attempts, or of which nobody can know whether they happened. With by_cause "
        "they are grouped by tool, effect and error code, with count, age and an example, and with the mark for a redrive or a verdict. "
        "With id: one effect, whatever its state, with its item and all that became of it.",
        ("tools:call", "effects:resolve", *MANAGERS),
        obj(
            {
                "state": one_of("Which queue.", "retry_wait", "dead", "unknown"),
                "by_cause": boolean("Groups instead of effects."),
                "tool": TOOL,
                "effect": _EFFECT,
                "error_code": _CODE,
                "id": text("Id of one effect, instead of a queue.", 100),
                **PAGE,
            }
        ),
        queues,
    ),
    Management(
        "toolmint_redrive",
        "Send dead letters round again",
        "Dead letters by id, or all that match a filter at this moment, are performed again by the retry queue, their attempts counted "
        "afresh: on the version that failed, or on a published version that mends it. What is done stays done. Follow a large one with "
        "toolmint_redrives.",
        ("effects:resolve",),
        obj({**_SELECTION, "version": integer("A fixed version of the tool to go on with.", 1, 1_000_000), "reason": _REASON}, "reason"),
        redrive,
        {**OUTWARD, "idempotentHint": False},
        repeats=True,
    ),
    Management(
        "toolmint_resolve",
        "Give a verdict on unknown effects",
        "Says of one effect (id), of several (ids) or of all that match a filter what is taken as true from now on: confirm_done, retry "
        "(performs it again) or abandon. Look into the provider's log first.",
        ("effects:resolve",),
        obj(
            {
                "id": text("Id of one effect.", 100),
                **_SELECTION,
                "verdict": one_of("What is so.", *VERDICTS),
                "reason": text("How you know; it goes into the audit trail.", 500),
            },
            "verdict",
            "reason",
        ),
        resolve,
        {**OUTWARD, "idempotentHint": False},
        repeats=True,
    ),
    Management(
        "toolmint_redrives",
        "Follow redrives and verdicts in bulk",
        "One by its id, with its progress and what became of its effects; or all of them, newest first.",
        ("effects:resolve", *MANAGERS),
        obj(
            {
                "id": text("Id of a redrive or a resolution.", 64),
                "kind": one_of("Of one kind.", "redrive", "resolution"),
                "state": one_of("In this state.", "running", "completed", "cancelled"),
                **PAGE,
            }
        ),
        redrives,
    ),
    Management(
        "toolmint_cancel_redrive",
        "Cancel a redrive or a verdict in bulk",
        "Ends one that is under way. What it has moved stays so; the other effects stay dead or unknown.",
        ("effects:resolve",),
        obj({"id": text("Id of a redrive or a resolution.", 64)}, "id"),
        cancel,
        SAME_AGAIN,
        repeats=True,
    ),
)
