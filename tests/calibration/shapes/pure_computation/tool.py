"""Price an order: line totals, a discount that is spread over the tax rates without losing a cent, tax, and the day it is due.

Amounts are exact decimals until they are rounded, half up, to whole cents: each line, the discount, and the tax of each rate. Nothing is
read and nothing is changed.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from types import MappingProxyType

from contract import Args, Line, Rate, Result
from toolkit import Context, ToolError

RATES = MappingProxyType({"zero": Decimal(0), "reduced": Decimal(7), "standard": Decimal(19)})
MOST_CENTS = 10**12
SATURDAY, SUNDAY = 5, 6


def run(args: Args, ctx: Context) -> Result:
    due = due_on(args["issued_on"], args["due_days"])
    net = dict.fromkeys(RATES, 0)
    for line in args["lines"]:
        net[line["rate"]] += line_cents(line)
    subtotal = sum(net.values())
    if subtotal > MOST_CENTS:
        raise ToolError("too_large", "An order is at most ten thousand million.")
    discount = cents(Decimal(subtotal) * Decimal(args.get("discount_percent", "0")) / 100)
    shares = spread(discount, net)
    rates = {rate: taxed(rate, net[rate] - shares[rate]) for rate in RATES}
    tax = sum(rate["tax_cents"] for rate in rates.values())
    ctx.log("order_priced", lines=len(args["lines"]), gross_cents=subtotal - discount + tax)
    return {
        "subtotal_cents": subtotal,
        "discount_cents": discount,
        "net_cents": subtotal - discount,
        "tax_cents": tax,
        "gross_cents": subtotal - discount + tax,
        "rates": {"zero": rates["zero"], "reduced": rates["reduced"], "standard": rates["standard"]},
        "due_on": due,
    }


def line_cents(line: Line) -> int:
    """Quantity times price in whole cents. Raises ToolError `quantity_zero`."""
    quantity = Decimal(line["quantity"])
    if not quantity:
        raise ToolError("quantity_zero", f"The line {line['sku']!r} orders nothing.")
    return cents(quantity * Decimal(line["unit_price"]) * 100)


def cents(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def spread(discount: int, net: Mapping[str, int]) -> dict[str, int]:
    """The discount by rate, in proportion; the cents that are left over go to the largest remainders, then in the order of the rates."""
    whole = sum(net.values())
    if not whole:
        return dict.fromkeys(net, 0)
    shares = {rate: discount * amount // whole for rate, amount in net.items()}
    left = discount - sum(shares.values())
    by_remainder = sorted(net, key=lambda rate: -(discount * net[rate] % whole))
    for rate in by_remainder[:left]:
        shares[rate] += 1
    return shares


def taxed(rate: str, net: int) -> Rate:
    return {"net_cents": net, "tax_cents": cents(Decimal(net) * RATES[rate] / 100)}


def due_on(issued: str, days: int) -> str:
    """The day of payment: so many days later, moved to the Monday if it falls on a weekend. Raises ToolError `date_invalid`."""
    try:
        due = date.fromisoformat(issued) + timedelta(days=days)
        if due.weekday() in (SATURDAY, SUNDAY):
            due += timedelta(days=7 - due.weekday())
    except (ValueError, OverflowError):
        raise ToolError("date_invalid", f"{issued} and the days after it are not in the calendar.") from None
    return due.isoformat()
