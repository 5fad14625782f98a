"""Add a note to a customer, once."""

from contract import Args, Result
from toolkit import Context, ToolError


def run(args: Args, ctx: Context) -> Result:
    if ctx.read("customer", key=args["customer_id"]) is None:
        raise ToolError("customer_not_found", f"There is no customer {args['customer_id']!r}.")
    key = f"{args['customer_id']}/{args['note_id']}"
    outcome = ctx.perform("keep", {"key": key, "body": {"text": args["text"]}})
    ctx.log("note_kept", status=outcome.status)
    return {"added": 1 if outcome.status == "done" else 0}
