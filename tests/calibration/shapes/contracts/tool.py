"""Carry out one request about one contract: renew, terminate or reinstate it, then confirm by mail.

The request is written down first, with the contract as it was. What is written afterwards follows from that record alone, so a request
that is made again, or goes on after a crash, asks for the same things whatever the contract has become meanwhile.
"""

import re
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from contract import Args, ConfirmItem, LogRequestItem, ReinstateItem, RenewItem, Result, TerminateItem
from toolkit import Context, Outcome, ToolError

CENT = Decimal("0.01")
PRICE = re.compile(r"[0-9]{1,9}\.[0-9]{2}")
PERCENT = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,2})?")
ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
Mail = Literal["sent", "sent_before", "retry_queue", "unknown"]
MAIL: Mapping[str, Mail] = MappingProxyType({"done": "sent", "skipped": "sent_before", "retrying": "retry_queue", "unknown": "unknown"})


class Contract(NamedTuple):
    """A contract as it was when the request was written down. `price` and `increase` are amounts and percent."""

    number: str
    version: int
    body: dict[str, Any]
    ends_on: date
    notice_from: date
    term_months: int
    price: Decimal
    increase: Decimal
    email: str
    name: str


class Settled(NamedTuple):
    """What a contract becomes: the state it is in, what is in force afterwards, and the sentence that tells it."""

    state: Literal["active", "renewed", "terminated"]
    ends_on: date
    price: Decimal
    successor: str | None
    sentence: str


def run(args: Args, ctx: Context) -> Result:
    event = ctx.read("event", key=event_key(args))
    repeated = event is not None
    if event is None:
        event = request_of(args, ctx)
    elif event.get("action") != args["action"]:
        raise ToolError("request_reused", f"The request {args['request_id']!r} asked for {event.get('action')!r} before.")
    found = read_contract(args["contract"], event["before"], event["version"])
    settled = settle(found, args["action"], date.fromisoformat(event["on"]))
    ctx.log("request_taken", action=args["action"], repeated=repeated)

    logged = ctx.perform("log_request", log_item(args, event))
    if logged.status not in ("done", "skipped"):
        return unsettled(found, logged, 0)
    written = write(args, ctx, found, settled)
    if written.status not in ("done", "skipped"):
        return unsettled(found, written, int(logged.status == "done"))
    mailed = ctx.perform("confirm", confirmation(found, settled))
    ctx.log("request_settled", action=args["action"], written=written.status, mail=mailed.status)
    return {
        "outcome": "done" if written.status == "done" else "already_done",
        "state": settled.state,
        "ends_on": settled.ends_on.isoformat(),
        "price": str(settled.price),
        "successor": settled.successor,
        "written": int(written.status == "done"),
        "logged": int(logged.status == "done"),
        "mailed": int(mailed.status == "done"),
        "mail": MAIL.get(mailed.status, "failed"),
        "reason": code_of(mailed),
    }


def request_of(args: Args, ctx: Context) -> dict[str, Any]:
    """The request as it is written down: the day, and the contract as it is now."""
    rows = ctx.read("contract", collection="contracts", filter={"number": args["contract"]}, limit=2)["items"]
    if not rows:
        raise ToolError("contract_not_found", f"There is no contract {args['contract']!r}.")
    if len(rows) > 1 or rows[0]["key"] != args["contract"]:
        raise ToolError("contract_ambiguous", f"The number {args['contract']!r} is not that of one contract alone.")
    return {
        "contract": args["contract"],
        "request_id": args["request_id"],
        "action": args["action"],
        "on": ctx.now().date().isoformat(),
        "version": rows[0]["version"],
        "before": rows[0]["body"],
    }


def settle(found: Contract, action: str, on: date) -> Settled:
    """What the request makes of the contract. Raises ToolError where it may not be made on that day or in that state."""
    wanted = "terminated" if action == "reinstate" else "active"
    if found.body.get("state") != wanted:
        raise ToolError("wrong_state", f"The contract {found.number!r} is not {wanted}.")
    if on > found.ends_on:
        raise ToolError("contract_ended", f"The contract {found.number!r} ended on {found.ends_on}.")
    if action == "reinstate":
        return Settled("active", found.ends_on, found.price, None, f"is reinstated and runs until {found.ends_on}")
    if action == "terminate":
        if on >= found.notice_from:
            raise ToolError("notice_too_late", f"Notice for {found.number!r} had to be given before {found.notice_from}.")
        return Settled("terminated", found.ends_on, found.price, None, f"is terminated and ends on {found.ends_on}")
    if on < found.notice_from:
        raise ToolError("not_due", f"The contract {found.number!r} can be renewed from {found.notice_from} on.")
    starts_on = found.ends_on + timedelta(days=1)
    ends_on = add_months(starts_on, found.term_months) - timedelta(days=1)
    price = cents(found.price * (100 + found.increase) / 100)
    successor = f"{found.body.get('root', found.number)}-{starts_on}"
    return Settled("renewed", ends_on, price, successor, f"is renewed as {successor} until {ends_on}, at {price} a month")


def write(args: Args, ctx: Context, found: Contract, settled: Settled) -> Outcome:
    """The one effect that changes the contract, on the condition that nobody has written it since the request."""
    if args["action"] == "renew":
        return ctx.perform("renew", renewal(found, settled))
    if args["action"] == "terminate":
        return ctx.perform("terminate", termination(found))
    return ctx.perform("reinstate", reinstatement(found))


def renewal(found: Contract, settled: Settled) -> RenewItem:
    """The contract and its successor, which are written together or not at all."""
    starts_on = found.ends_on + timedelta(days=1)
    following = {
        **found.body,
        "number": settled.successor,
        "root": found.body.get("root", found.number),
        "starts_on": starts_on.isoformat(),
        "ends_on": settled.ends_on.isoformat(),
        "price": str(settled.price),
    }
    renewed = {**found.body, "state": "renewed", "successor": settled.successor}
    return {
        "atomic": True,
        "records": [
            {"key": found.number, "expected_version": found.version, "body": renewed},
            {"key": str(settled.successor), "expected_version": 0, "body": following},
        ],
    }


def termination(found: Contract) -> TerminateItem:
    body = {**found.body, "state": "terminated", "before": found.body}
    return {"key": found.number, "expected_version": found.version, "body": body}


def reinstatement(found: Contract) -> ReinstateItem:
    before = found.body.get("before")
    if not isinstance(before, dict):
        raise ToolError("contract_invalid", f"The contract {found.number!r} does not say what it was before.")
    return {"key": found.number, "expected_version": found.version, "body": before}


def log_item(args: Args, event: dict[str, Any]) -> LogRequestItem:
    return {"key": event_key(args), "expected_version": 0, "body": event}


def confirmation(found: Contract, settled: Settled) -> ConfirmItem:
    text = f"Dear {found.name},\n\nyour contract {found.number} {settled.sentence}.\n"
    return {"to": found.email, "subject": f"Contract {found.number}", "text": text}


def unsettled(found: Contract, refused: Outcome, logged: int) -> Result:
    """The result where the contract stays as it was."""
    before = found.body["state"]
    return {
        "outcome": "conflict",
        "state": "terminated" if before == "terminated" else "active",
        "ends_on": found.ends_on.isoformat(),
        "price": str(found.price),
        "successor": None,
        "written": 0,
        "logged": logged,
        "mailed": 0,
        "mail": "none",
        "reason": code_of(refused),
    }


def read_contract(number: str, body: dict[str, Any], version: int) -> Contract:
    """Raises ToolError `contract_invalid` with the field that is not as it should be."""
    for name in ("email", "name"):
        if not isinstance(body.get(name), str) or not body[name].strip():
            raise invalid(number, name)
    for name in ("term_months", "notice_days"):
        if not isinstance(body.get(name), int) or isinstance(body[name], bool) or not 0 < body[name] <= 366:
            raise invalid(number, name)
    ends_on = day_in(number, body, "ends_on")
    price, increase = body.get("price"), body.get("increase_percent", "0")
    if not isinstance(price, str) or not PRICE.fullmatch(price):
        raise invalid(number, "price")
    if not isinstance(increase, str) or not PERCENT.fullmatch(increase):
        raise invalid(number, "increase_percent")
    notice_from = ends_on - timedelta(days=body["notice_days"] - 1)
    amounts = (Decimal(price), Decimal(increase))
    return Contract(number, version, body, ends_on, notice_from, body["term_months"], *amounts, body["email"], body["name"])


def day_in(number: str, body: dict[str, Any], name: str) -> date:
    text = body.get(name)
    if not isinstance(text, str) or not ISO_DATE.fullmatch(text):
        raise invalid(number, name)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise invalid(number, name) from None


def invalid(number: str, name: str) -> ToolError:
    return ToolError("contract_invalid", f"The field {name} of the contract {number!r} is not as it should be.")


def add_months(day: date, months: int) -> date:
    """The same day of a later month, or that month's last day where it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    first_of_next = date(year + (month + 1) // 12, (month + 1) % 12 + 1, 1)
    last = (first_of_next - timedelta(days=1)).day
    return date(year, month + 1, min(day.day, last))


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, rounding=ROUND_HALF_UP)


def event_key(args: Args) -> str:
    return f"{args['contract']}/{args['request_id']}"


def code_of(outcome: Outcome) -> str | None:
    return str(outcome.error["code"])[:64] if outcome.error else None
