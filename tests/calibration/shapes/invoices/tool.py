"""Invoice the delivered orders of a month: write the invoice, mail it, mark the order.

An invoice's number is made of the period and the order's key, and its content of the order and the terms alone, so the same order gives
the same invoice whenever this runs. An order is mailed only if its invoice stands, and marked only if its mail is accepted; whatever a
run leaves open, the next one finds again by the order's status.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple

from contract import Args, IssueItem, MarkItem, Result, Sample, SendItem
from toolkit import Context, Outcome, ToolError

BATCH = 500
SAMPLES = 3
SAMPLE_LENGTH = 64
CENT = Decimal("0.01")
MAILED = MappingProxyType({"done": "sent", "skipped": "skipped", "retrying": "retry_queue", "unknown": "unknown"})

QUANTITY = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?")
PRICE = re.compile(r"[0-9]{1,9}\.[0-9]{2}")
PERCENT = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,2})?")


class Terms(NamedTuple):
    """How orders are billed; `percent` is the tax of each tax class."""

    currency: str
    payment_days: int
    percent: dict[str, Decimal]


class Share(NamedTuple):
    """What is due in one tax class."""

    net: Decimal
    tax: Decimal


class Draft(NamedTuple):
    """One order with its invoice, its mail and what it becomes."""

    order: str
    net: Decimal
    tax: Decimal
    invoice: IssueItem
    mail: SendItem
    marked: MarkItem


class Unfit(Exception):
    """An order that cannot be invoiced; the argument says why."""


@dataclass
class Tally:
    """The counts and sums of one run, with a bounded sample of each bucket that somebody may have to look at."""

    orders: int = 0
    issued: int = 0
    marked: int = 0
    net: Decimal = Decimal(0)
    tax: Decimal = Decimal(0)
    buckets: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def add(self, bucket: str, order: str, reason: str) -> None:
        self.buckets[bucket] += 1
        self.note(bucket, order, reason)

    def note(self, bucket: str, order: str, reason: str) -> None:
        sample = self.samples.setdefault(bucket, [])
        if len(sample) < SAMPLES:
            sample.append({"order": order[:SAMPLE_LENGTH], "reason": reason[:SAMPLE_LENGTH]})

    def sampled(self, bucket: str) -> list[Sample]:
        return self.samples.get(bucket, [])


def run(args: Args, ctx: Context) -> Result:
    terms = load_terms(ctx, args["terms_id"])
    last = last_day(args["period"])
    if ctx.now().date() <= last:
        raise ToolError("period_open", f"The period {args['period']} is not over; it can be invoiced from {last + timedelta(days=1)} on.")
    ctx.log("invoicing_started", period=args["period"], tax_classes=len(terms.percent))
    tally = Tally()
    rows = ctx.read_pages("orders", collection="orders", filter={"period": args["period"], "status": "delivered"})
    for batch in batches(rows, BATCH):
        invoice_batch(ctx, list(drafts(args["period"], last, terms, batch, tally)), tally)
        ctx.progress(tally.orders)
    result = summary(tally, args["period"])
    ctx.log("invoicing_finished", **{name: value for name, value in result.items() if isinstance(value, int)})
    return result


def invoice_batch(ctx: Context, found: list[Draft], tally: Tally) -> None:
    """Write the invoices, mail those that stand, mark the orders whose mail is accepted."""
    issued = ctx.perform_each("issue", (draft.invoice for draft in found))
    standing = [draft for draft, outcome in zip(found, issued, strict=True) if stands(draft, outcome, tally)]
    sent = ctx.perform_each("send", (draft.mail for draft in standing))
    accepted = [draft for draft, outcome in zip(standing, sent, strict=True) if is_mailed(draft, outcome, tally)]
    marked = ctx.perform_each("mark", (draft.marked for draft in accepted))
    for draft, outcome in zip(accepted, marked, strict=True):
        if outcome.status == "done":
            tally.marked += 1
        elif outcome.status != "skipped":
            tally.note("unmarked", draft.order, code_of(outcome))


def stands(draft: Draft, outcome: Outcome, tally: Tally) -> bool:
    """Whether this very invoice is written; an order that is not the one that was invoiced gets no mail."""
    if outcome.status == "done":
        tally.issued += 1
        tally.net += draft.net
        tally.tax += draft.tax
        return True
    if outcome.status == "skipped" and not outcome.differs:
        return True
    tally.add("failed", draft.order, "order_changed" if outcome.differs else code_of(outcome))
    return False


def is_mailed(draft: Draft, outcome: Outcome, tally: Tally) -> bool:
    """Whether the mail server has taken the mail, now or earlier."""
    tally.add(MAILED.get(outcome.status, "failed"), draft.order, code_of(outcome))
    return outcome.status in ("done", "skipped")


def code_of(outcome: Outcome) -> str:
    return str(outcome.error["code"]) if outcome.error else outcome.status


def load_terms(ctx: Context, terms_id: str) -> Terms:
    body = ctx.read("terms", key=terms_id)
    if body is None:
        raise ToolError("terms_not_found", f"There are no terms {terms_id!r} in billing_terms.")
    currency, days, percent = body.get("currency"), body.get("payment_days"), body.get("tax_percent")
    if not isinstance(currency, str) or not re.fullmatch(r"[A-Z]{3}", currency):
        raise ToolError("terms_invalid", f"The terms {terms_id!r} need a currency such as EUR.")
    if not isinstance(days, int) or isinstance(days, bool) or not 0 <= days <= 365:
        raise ToolError("terms_invalid", f"The terms {terms_id!r} need payment_days from 0 to 365.")
    if not isinstance(percent, dict) or not all(isinstance(value, str) and PERCENT.fullmatch(value) for value in percent.values()):
        raise ToolError("terms_invalid", f"The terms {terms_id!r} need tax_percent, a decimal text for each tax class.")
    return Terms(currency, days, {name: Decimal(value) for name, value in percent.items()})


def last_day(period: str) -> date:
    year, month = int(period[:4]), int(period[5:])
    return date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)


def drafts(period: str, last: date, terms: Terms, rows: Iterable[dict[str, Any]], tally: Tally) -> Iterator[Draft]:
    for row in rows:
        tally.orders += 1
        try:
            yield draft_of(period, last, terms, row)
        except Unfit as unfit:
            tally.add("invalid", row["key"], str(unfit))


def draft_of(period: str, last: date, terms: Terms, row: dict[str, Any]) -> Draft:
    """The invoice of one order. Raises Unfit."""
    body = row["body"]
    email, name = text_in(body, "email"), text_in(body, "name")
    discount = decimal_in({"discount_percent": "0", **body}, "discount_percent", PERCENT)
    lines = lines_of(body)
    due = shares(lines, discount, terms)
    net = sum((share.net for share in due.values()), Decimal(0))
    tax = sum((share.tax for share in due.values()), Decimal(0))
    if net <= 0:
        raise Unfit("nothing_due")
    number, due_on, total = f"{period}-{row['key']}", last + timedelta(days=terms.payment_days), net + tax
    invoice: IssueItem = {
        "key": number,
        "expected_version": 0,
        "body": {
            "number": number,
            "order": row["key"],
            "issued_on": last.isoformat(),
            "due_on": due_on.isoformat(),
            "currency": terms.currency,
            "lines": lines,
            "discount_percent": str(discount),
            "taxes": [
                {"tax": tax_class, "percent": str(terms.percent[tax_class]), "net": str(share.net), "amount": str(share.tax)}
                for tax_class, share in sorted(due.items())
            ],
            "net": str(net),
            "tax": str(tax),
            "total": str(total),
        },
    }
    mail: SendItem = {
        "to": email,
        "subject": f"Invoice {number}",
        "text": f"Dear {name},\n\nyour invoice {number} over {total} {terms.currency} is due on {due_on}.\n",
    }
    marked: MarkItem = {
        "key": row["key"],
        "expected_version": row["version"],
        "body": {**body, "status": "invoiced", "invoice": number},
    }
    return Draft(row["key"], net, tax, invoice, mail, marked)


def lines_of(body: dict[str, Any]) -> list[dict[str, str]]:
    """The order's lines with what each costs. Raises Unfit."""
    given = body.get("lines")
    if not isinstance(given, list) or not given or not all(isinstance(line, dict) for line in given):
        raise Unfit("lines_invalid")
    lines = []
    for line in given:
        quantity, price = decimal_in(line, "quantity", QUANTITY), decimal_in(line, "unit_price", PRICE)
        kept = {name: text_in(line, name) for name in ("text", "quantity", "unit_price", "tax")}
        lines.append({**kept, "net": str(cents(quantity * price))})
    return lines


def shares(lines: list[dict[str, str]], discount: Decimal, terms: Terms) -> dict[str, Share]:
    """What is due by tax class: the discount and the tax are rounded once for each. Raises Unfit."""
    sums: dict[str, Decimal] = {}
    for line in lines:
        if line["tax"] not in terms.percent:
            raise Unfit("tax_unknown")
        sums[line["tax"]] = sums.get(line["tax"], Decimal(0)) + Decimal(line["net"])
    due = {}
    for tax_class, gross in sums.items():
        net = gross - cents(gross * discount / 100)
        due[tax_class] = Share(net, cents(net * terms.percent[tax_class] / 100))
    return due


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, rounding=ROUND_HALF_UP)


def decimal_in(body: dict[str, Any], name: str, form: re.Pattern[str]) -> Decimal:
    value = body.get(name)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise Unfit("amount_invalid")
    return Decimal(value)


def text_in(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Unfit(f"{name}_missing")
    return value


def batches(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    stream = iter(rows)
    while batch := list(islice(stream, size)):
        yield batch


def summary(tally: Tally, period: str) -> Result:
    buckets = tally.buckets
    return {
        "orders": tally.orders,
        "sent": buckets["sent"],
        "skipped": buckets["skipped"],
        "failed": buckets["failed"],
        "retry_queue": buckets["retry_queue"],
        "unknown": buckets["unknown"],
        "invalid": buckets["invalid"],
        "issued": tally.issued,
        "marked": tally.marked,
        "net_cents": int(tally.net * 100),
        "tax_cents": int(tally.tax * 100),
        "total_cents": int((tally.net + tally.tax) * 100),
        "samples": {
            "failed": tally.sampled("failed"),
            "retry_queue": tally.sampled("retry_queue"),
            "unknown": tally.sampled("unknown"),
            "invalid": tally.sampled("invalid"),
            "unmarked": tally.sampled("unmarked"),
        },
        "ledger": f"/ledgers/invoices/{period}",
    }
