"""Report what was sold in a period: amounts, the best products and the best customers, from every order of a currency.

Orders are read page by page and only sums are kept, so a million orders need no more memory than a thousand. Money is decimal: each line is
rounded to cents, half up, and sums are sums of rounded lines.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

from contract import Args, CustomerTotal, ProductTotal, Result, Sample
from toolkit import Context, ToolError

PROGRESS_EVERY = 1000
SAMPLES = 5
LABEL_LENGTH = 64
CENT = Decimal("0.01")
AMOUNT = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,4})?")
PERCENT = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,2})?|100")


class Line(NamedTuple):
    """One line of an order, with its discount taken off."""

    sku: str
    quantity: int
    amount: Decimal


class Order(NamedTuple):
    """An order as far as the report needs it; the day is that of UTC."""

    day: date
    customer: str
    refunded: bool
    lines: list[Line]

    @property
    def amount(self) -> Decimal:
        return sum((line.amount for line in self.lines), Decimal(0))


class Unreadable(Exception):
    """An order of which no sum can be made; the argument says why."""


@dataclass
class Sums:
    """What is kept of the orders that were read."""

    read: int = 0
    outside: int = 0
    counted: int = 0
    refunded: int = 0
    unreadable: int = 0
    gross: Decimal = Decimal(0)
    refunds: Decimal = Decimal(0)
    quantities: Counter[str] = field(default_factory=Counter)
    by_product: dict[str, Decimal] = field(default_factory=dict)
    orders: Counter[str] = field(default_factory=Counter)
    by_customer: dict[str, Decimal] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    def add(self, order: Order) -> None:
        self.counted += 1
        self.gross += order.amount
        if order.refunded:
            self.refunded += 1
            self.refunds += order.amount
            return
        self.orders[order.customer] += 1
        self.by_customer[order.customer] = self.by_customer.get(order.customer, Decimal(0)) + order.amount
        for line in order.lines:
            self.quantities[line.sku] += line.quantity
            self.by_product[line.sku] = self.by_product.get(line.sku, Decimal(0)) + line.amount

    def leave_out(self, key: str, reason: str) -> None:
        self.unreadable += 1
        if len(self.samples) < SAMPLES:
            self.samples.append({"order": key[:LABEL_LENGTH], "reason": reason})


def run(args: Args, ctx: Context) -> Result:
    first, last = date.fromisoformat(args["first_day"]), date.fromisoformat(args["last_day"])
    if first > last:
        raise ToolError("period_invalid", "The period ends before it begins: first_day is after last_day.")
    ctx.log("report_started", currency=args["currency"])
    sums = Sums()
    for row in ctx.read_pages("orders", collection="orders", filter={"currency": args["currency"], "status": ["paid", "refunded"]}):
        sums.read += 1
        try:
            order = parse(row["body"])
        except Unreadable as why:
            sums.leave_out(row["key"], str(why))
        else:
            if first <= order.day <= last:
                sums.add(order)
            else:
                sums.outside += 1
        if sums.read % PROGRESS_EVERY == 0:
            ctx.progress(sums.read)
    ctx.progress(sums.read, sums.read)
    result = report(sums, args["top"])
    ctx.log("report_finished", **{name: value for name, value in result.items() if isinstance(value, int)})
    return result


def parse(body: dict[str, Any]) -> Order:
    """Raises Unreadable with the field that cannot be read."""
    lines = body.get("lines")
    if not isinstance(lines, list) or not lines:
        raise Unreadable("lines")
    customer = body.get("customer")
    if not isinstance(customer, str) or not customer:
        raise Unreadable("customer")
    share = 1 - decimal(body.get("discount_percent", "0"), PERCENT, "discount_percent") / 100
    return Order(day_of(body.get("placed_at")), customer, body.get("status") == "refunded", [parse_line(line, share) for line in lines])


def parse_line(line: Any, share: Decimal) -> Line:
    if not isinstance(line, dict) or not isinstance(line.get("sku"), str):
        raise Unreadable("lines")
    quantity = line.get("quantity")
    if not isinstance(quantity, int) or isinstance(quantity, bool) or not 0 < quantity <= 1_000_000:
        raise Unreadable("quantity")
    price = decimal(line.get("unit_price"), AMOUNT, "unit_price")
    return Line(line["sku"], quantity, (price * quantity * share).quantize(CENT, ROUND_HALF_UP))


def decimal(text: Any, form: re.Pattern[str], name: str) -> Decimal:
    if not isinstance(text, str) or not form.fullmatch(text):
        raise Unreadable(name)
    return Decimal(text)


def day_of(text: Any) -> date:
    """The day in UTC of an instant that says its offset."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC).date()
    except (ValueError, OverflowError):
        pass  # told below, as what has no offset is
    raise Unreadable("placed_at")


def report(sums: Sums, top: int) -> Result:
    products: list[ProductTotal] = [
        {"sku": sku[:LABEL_LENGTH], "quantity": sums.quantities[sku], "revenue": money(sums.by_product[sku])}
        for sku in best(sums.by_product, top)
    ]
    customers: list[CustomerTotal] = [
        {"customer": customer[:LABEL_LENGTH], "orders": sums.orders[customer], "revenue": money(sums.by_customer[customer])}
        for customer in best(sums.by_customer, top)
    ]
    return {
        "read": sums.read,
        "outside": sums.outside,
        "unreadable": sums.unreadable,
        "counted": sums.counted,
        "refunded": sums.refunded,
        "gross": money(sums.gross),
        "refunds": money(sums.refunds),
        "net": money(sums.gross - sums.refunds),
        "average": money(sums.gross / sums.counted if sums.counted else Decimal(0)),
        "products": len(sums.by_product),
        "customers": len(sums.by_customer),
        "top_products": products,
        "top_customers": customers,
        "unreadable_samples": sums.samples,
    }


def best(revenue: dict[str, Decimal], top: int) -> Iterable[str]:
    """The names with the most revenue; equal ones by name."""
    return sorted(revenue, key=lambda name: (-revenue[name], name))[:top]


def money(amount: Decimal) -> str:
    return str(amount.quantize(CENT, ROUND_HALF_UP))
