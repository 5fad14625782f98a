"""Book a shipment with the carrier for each packed order of a warehouse, and write down which it is.

The order's own key is the reference, so that an order is shipped once whatever batch it comes in. A shipment is written down only where the
carrier has said that it exists; what it refused, what waits and what is in doubt is counted apart and never written down.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

from contract import Args, BookItem, NoteItem, Result, Sample
from toolkit import Context, Outcome, ToolError

CARRIER = "https://api.carrier.example.com/v1/shipments"
BATCH = 500
SAMPLES = 5
LABEL_LENGTH = 64
MOST_WEIGHT_G = 31_500
COUNTRIES = frozenset({"AT", "BE", "DE", "FR", "NL"})
POSTCODE = re.compile(r"[0-9A-Z][0-9A-Z -]{2,9}")
PRICE = re.compile(r"[0-9]{1,9}\.[0-9]{2}")
BUCKET_OF = MappingProxyType(
    {"done": "booked", "skipped": "booked_before", "retrying": "waiting", "failed": "refused", "unknown": "unknown"}
)
EXISTS = frozenset({"done", "skipped"})


class Parcel(NamedTuple):
    """What the carrier is asked for: the order's key, the item, the declared value."""

    order: str
    item: BookItem
    value: Decimal


class Unshippable(Exception):
    """An order that cannot be booked as it stands; the argument names the field."""


@dataclass
class Tally:
    """The counts of one run, with a bounded sample of each bucket that somebody may have to look at."""

    orders: int = 0
    noted: int = 0
    value: Decimal = Decimal(0)
    buckets: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def add(self, bucket: str, order: str, reason: str) -> None:
        self.buckets[bucket] += 1
        sample = self.samples.setdefault(bucket, [])
        if len(sample) < SAMPLES:
            sample.append({"order": order[:LABEL_LENGTH], "reason": reason[:LABEL_LENGTH]})

    def sampled(self, bucket: str) -> list[Sample]:
        return self.samples.get(bucket, [])


def run(args: Args, ctx: Context) -> Result:
    service = load_service(ctx, args["warehouse"])
    ctx.log("booking_started", warehouse=args["warehouse"], service=service)
    tally = Tally()
    rows = ctx.read_pages("orders", collection="orders", filter={"warehouse": args["warehouse"], "status": "packed"})
    for batch in batches(rows, BATCH):
        book_batch(ctx, service, batch, tally)
        ctx.progress(tally.orders)
    result = summary(args, tally)
    ctx.log("booking_finished", **{name: value for name, value in result.items() if isinstance(value, int)})
    return result


def load_service(ctx: Context, warehouse: str) -> str:
    """The carrier's service that ships from a warehouse."""
    body = ctx.read("warehouse", key=warehouse)
    if body is None:
        raise ToolError("warehouse_not_found", f"There is no warehouse {warehouse!r} in warehouses.")
    service = body.get("service")
    if not isinstance(service, str) or not service:
        raise ToolError("warehouse_invalid", f"The warehouse {warehouse!r} names no service.")
    return service


def book_batch(ctx: Context, service: str, batch: list[dict[str, Any]], tally: Tally) -> None:
    """Book what can be shipped, then write down the shipments that exist."""
    tally.orders += len(batch)
    parcels: list[Parcel] = []
    for row in batch:
        try:
            parcels.append(parcel(row["key"], row["body"], service))
        except Unshippable as why:
            tally.add("unshippable", row["key"], str(why))
    exist: list[tuple[Parcel, Outcome]] = []
    for each, outcome in zip(parcels, ctx.perform_each("book", (each.item for each in parcels)), strict=True):
        reason = str(outcome.error["code"]) if outcome.error else outcome.status
        tally.add(BUCKET_OF[outcome.status], each.order, reason)
        if outcome.status == "done":
            tally.value += each.value
        if outcome.status in EXISTS:
            exist.append((each, outcome))
    for (each, _), outcome in zip(exist, ctx.perform_each("note", (note(each, booked) for each, booked in exist)), strict=True):
        if outcome.status == "done":
            tally.noted += 1
        elif outcome.status != "skipped":
            tally.add("unnoted", each.order, str(outcome.error["code"]) if outcome.error else outcome.status)


def parcel(order: str, body: dict[str, Any], service: str) -> Parcel:
    """Raises Unshippable with the field that keeps the order from being shipped."""
    address = body.get("address")
    if not isinstance(address, dict):
        raise Unshippable("address")
    country, postcode = address.get("country"), address.get("postcode")
    if country not in COUNTRIES:
        raise Unshippable("country")
    if not isinstance(postcode, str) or not POSTCODE.fullmatch(postcode):
        raise Unshippable("postcode")
    weight = body.get("weight_g")
    if not isinstance(weight, int) or isinstance(weight, bool) or not 0 < weight <= MOST_WEIGHT_G:
        raise Unshippable("weight_g")
    value = value_of(body.get("lines"))
    to = {"name": text_of(address, "name"), "street": text_of(address, "street"), "postcode": postcode, "country": country}
    item: BookItem = {
        "method": "POST",
        "url": CARRIER,
        "json": {"reference": order, "service": service, "to": to, "weight_g": weight, "declared_value": str(value)},
    }
    return Parcel(order, item, value)


def text_of(address: dict[str, Any], name: str) -> str:
    text = address.get(name)
    if not isinstance(text, str) or not text.strip():
        raise Unshippable(name)
    return text.strip()


def value_of(lines: Any) -> Decimal:
    """The sum of quantity times price."""
    if not isinstance(lines, list) or not lines:
        raise Unshippable("lines")
    total = Decimal("0.00")
    for line in lines:
        price, quantity = (line.get("price"), line.get("quantity")) if isinstance(line, dict) else (None, None)
        if not isinstance(price, str) or not PRICE.fullmatch(price) or not isinstance(quantity, int) or not 0 < quantity <= 10_000:
            raise Unshippable("lines")
        total += Decimal(price) * quantity
    return total


def note(each: Parcel, booked: Outcome) -> NoteItem:
    """The shipment's record: what the carrier calls it, as its receipt says."""
    fields = (booked.receipt or {}).get("fields", {})
    body = {"order": each.order, "shipment": fields.get("shipment_id"), "label": fields.get("label_url")}
    return {"key": each.order, "body": body}


def batches(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    stream = iter(rows)
    while batch := list(islice(stream, size)):
        yield batch


def summary(args: Args, tally: Tally) -> Result:
    buckets = tally.buckets
    return {
        "orders": tally.orders,
        "booked": buckets["booked"],
        "booked_before": buckets["booked_before"],
        "waiting": buckets["waiting"],
        "refused": buckets["refused"],
        "unknown": buckets["unknown"],
        "unshippable": buckets["unshippable"],
        "noted": tally.noted,
        "unnoted": buckets["unnoted"],
        "declared_value": str(tally.value.quantize(Decimal("0.01"))),
        "samples": {
            "waiting": tally.sampled("waiting"),
            "refused": tally.sampled("refused"),
            "unknown": tally.sampled("unknown"),
            "unshippable": tally.sampled("unshippable"),
            "unnoted": tally.sampled("unnoted"),
        },
        "ledger": f"/ledgers/shipments/{quote(args['warehouse'], safe='')}",
    }
