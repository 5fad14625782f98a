"""Open an incident and tell the channels on call, once each.

The incident's record is what counts: where it cannot be written, nobody is told. Telling is best effort: a channel that refuses or does not
answer is counted and named, and the others are told all the same. Who has been told before is the ledger's knowledge.
"""

from collections import Counter
from types import MappingProxyType
from typing import Any, Literal

from contract import Args, Channel, NotifyItem, RecordItem, Result
from toolkit import Context, Outcome, ToolError

MOST_CHANNELS = 20
CHANNELS = frozenset({"ops_mail", "duty_mail", "chat", "pager"})
SHORT = frozenset({"pager"})
INCIDENT_OF: MappingProxyType[str, Literal["opened", "known"]] = MappingProxyType({"done": "opened", "skipped": "known"})
BUCKET_OF = MappingProxyType({"done": "told", "skipped": "told_before", "retrying": "waiting", "failed": "failed", "unknown": "unknown"})


def run(args: Args, ctx: Context) -> Result:
    channels = channels_on_call(ctx, args["severity"])
    ctx.log("incident_started", severity=args["severity"], channels=len(channels))
    recorded = ctx.perform("record", incident(args, ctx))
    rows: list[Channel] = []
    if recorded.status in INCIDENT_OF:
        rows = tell(args, ctx, channels)
    ctx.progress(len(rows), len(channels))
    result = summary(recorded, channels, rows)
    ctx.log("incident_finished", incident=result["incident"], **{name: value for name, value in result.items() if isinstance(value, int)})
    return result


def channels_on_call(ctx: Context, severity: str) -> list[str]:
    """The channels that a severity is told to, each once, in the order of the rota."""
    rota = ctx.read("rota", key=severity)
    if rota is None:
        raise ToolError("rota_not_found", f"There is no rota {severity!r} in on_call.")
    channels = rota.get("channels")
    if not isinstance(channels, list) or not channels or not all(isinstance(channel, str) and channel for channel in channels):
        raise ToolError("rota_invalid", f"The rota {severity!r} must list the names of channels.")
    distinct = list(dict.fromkeys(channels))
    if len(distinct) > MOST_CHANNELS:
        raise ToolError("rota_invalid", f"The rota {severity!r} lists more than {MOST_CHANNELS} channels.")
    return distinct


def incident(args: Args, ctx: Context) -> RecordItem:
    """The record, on the condition that there is none yet."""
    body: dict[str, Any] = {
        "title": args["title"],
        "severity": args["severity"],
        "text": args["text"],
        "status": "open",
        "opened_at": ctx.now().isoformat(),
    }
    return {"key": args["incident_id"], "body": body, "expected_version": 0}


def tell(args: Args, ctx: Context, channels: list[str]) -> list[Channel]:
    """What became of each channel, in the order given; a name that is no channel of this tool is told to nobody."""
    known = [channel for channel in channels if channel in CHANNELS]
    outcomes = dict(zip(known, ctx.perform_each("notify", (message(args, channel) for channel in known)), strict=True))
    return [row(channel, outcomes.get(channel)) for channel in channels]


def message(args: Args, channel: str) -> NotifyItem:
    """A pager shows one line; everybody else gets the text."""
    return {
        "channel": channel,
        "subject": f"[{args['severity']}] {args['title']}",
        "text": args["title"] if channel in SHORT else args["text"],
        "data": {"incident_id": args["incident_id"], "severity": args["severity"]},
    }


def row(channel: str, outcome: Outcome | None) -> Channel:
    if outcome is None:
        return {"channel": channel[:64], "status": "no_channel", "reason": "no_channel"}
    reason = str(outcome.error["code"]) if outcome.error else outcome.status
    return {"channel": channel[:64], "status": BUCKET_OF[outcome.status], "reason": reason[:64]}


def summary(recorded: Outcome, channels: list[str], rows: list[Channel]) -> Result:
    counts = Counter(entry["status"] for entry in rows)
    return {
        "incident": INCIDENT_OF.get(recorded.status, "refused"),
        "reason": str(recorded.error["code"])[:64] if recorded.error else recorded.status,
        "on_call": len(channels),
        "told": counts["told"],
        "told_before": counts["told_before"],
        "waiting": counts["waiting"],
        "failed": counts["failed"],
        "unknown": counts["unknown"],
        "no_channel": counts["no_channel"],
        "everybody_told": bool(rows) and all(entry["status"] in ("told", "told_before") for entry in rows),
        "channels": rows,
    }
