"""Start a promotion on the products of a category, and end it.

A product under promotion keeps, under `regular`, its whole record as it was before: that is what the declared undo puts back. A record is
written only if nobody has written it since it was read. A product that is under another promotion is left alone, so `regular` never nests.
"""

import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

from contract import Args, RepriceItem, RestoreItem, Result, Sample
from toolkit import Context, Outcome, ToolError

PROGRESS_EVERY = 500
SAMPLES = 5
LABEL_LENGTH = 64
CENT = Decimal("0.01")
PRICE = re.compile(r"[0-9]{1,9}\.[0-9]{2}")
PERCENT = re.compile(r"[1-9][0-9]?(?:\.[0-9])?")
BUCKET_OF = MappingProxyType({"done": "changed", "skipped": "skipped", "failed": "failed"})


class Promotion(NamedTuple):
    """A stored promotion."""

    id: str
    category: str
    percent_off: Decimal


class Step(NamedTuple):
    """A product under way: its key, its regular price and its price under the promotion."""

    key: str
    regular: Decimal
    reduced: Decimal


class LeftOut(Exception):
    """A product that is not written: the bucket that it belongs to, and why."""

    def __init__(self, bucket: str, reason: str) -> None:
        super().__init__(bucket, reason)
        self.bucket = bucket
        self.reason = reason


@dataclass
class Tally:
    """The counts of one run, with a bounded sample of each bucket that somebody may have to look at."""

    products: int = 0
    regular: Decimal = Decimal(0)
    reduced: Decimal = Decimal(0)
    buckets: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def add(self, bucket: str, product: str, reason: str) -> None:
        self.buckets[bucket] += 1
        sample = self.samples.setdefault(bucket, [])
        if len(sample) < SAMPLES:
            sample.append({"product": product[:LABEL_LENGTH], "reason": reason[:LABEL_LENGTH]})

    def end(self, step: Step, outcome: Outcome) -> None:
        reason = str(outcome.error["code"]) if outcome.error else outcome.status
        self.add(BUCKET_OF.get(outcome.status, "pending"), step.key, reason)
        if outcome.status == "done":
            self.regular += step.regular
            self.reduced += step.reduced

    def sampled(self, bucket: str) -> list[Sample]:
        return self.samples.get(bucket, [])


def run(args: Args, ctx: Context) -> Result:
    promotion = load_promotion(ctx, args["promotion_id"])
    ctx.log("promotion_run_started", promotion=promotion.id, action=args["action"])
    tally = Tally()
    under_way: deque[Step] = deque()
    if args["action"] == "start":
        outcomes = ctx.perform_each("reprice", reduced_products(promotion, ctx, tally, under_way))
    else:
        outcomes = ctx.perform_each("restore", regular_products(promotion, ctx, tally, under_way))
    for ended, outcome in enumerate(outcomes, start=1):
        tally.end(under_way.popleft(), outcome)
        if ended % PROGRESS_EVERY == 0:
            ctx.progress(ended)
    ctx.progress(tally.products, tally.products)
    result = summary(args, tally)
    ctx.log("promotion_run_finished", **{name: value for name, value in result.items() if isinstance(value, int)})
    return result


def load_promotion(ctx: Context, promotion_id: str) -> Promotion:
    body = ctx.read("promotion", key=promotion_id)
    if body is None:
        raise ToolError("promotion_not_found", f"There is no promotion {promotion_id!r} in promotions.")
    category, percent = body.get("category"), body.get("percent_off")
    if not isinstance(category, str) or not category:
        raise ToolError("promotion_invalid", f"The promotion {promotion_id!r} names no category.")
    if not isinstance(percent, str) or not PERCENT.fullmatch(percent):
        raise ToolError("promotion_invalid", f"The promotion {promotion_id!r} needs percent_off from 1 to 99.9, as a text.")
    return Promotion(promotion_id, category, Decimal(percent))


def reduced_products(promotion: Promotion, ctx: Context, tally: Tally, under_way: deque[Step]) -> Iterator[RepriceItem]:
    for row in ctx.read_pages("products", collection="products", filter={"category": promotion.category}):
        tally.products += 1
        body = row["body"]
        try:
            check_free(promotion, body)
            regular = price_of(body)
            reduced = reduced_price(regular, promotion.percent_off)
        except LeftOut as why:
            tally.add(why.bucket, row["key"], why.reason)
            continue
        under_way.append(Step(row["key"], regular, reduced))
        item: RepriceItem = {
            "key": row["key"],
            "body": {**body, "price": str(reduced), "promotion": promotion.id, "regular": body},
            "expected_version": row["version"],
        }
        yield item


def regular_products(promotion: Promotion, ctx: Context, tally: Tally, under_way: deque[Step]) -> Iterator[RestoreItem]:
    """The records without the promotion: what has been written to them meanwhile, other than the price, stays."""
    for row in ctx.read_pages("products", collection="products", filter={"promotion": promotion.id}):
        tally.products += 1
        body = row["body"]
        try:
            before = body.get("regular")
            if not isinstance(before, dict):
                raise LeftOut("left_out", "regular")
            step = Step(row["key"], price_of(before), price_of(body))
        except LeftOut as why:
            tally.add(why.bucket, row["key"], why.reason)
            continue
        under_way.append(step)
        kept = {name: value for name, value in body.items() if name not in ("promotion", "regular")}
        item: RestoreItem = {"key": row["key"], "body": {**kept, "price": before["price"]}, "expected_version": row["version"]}
        yield item


def check_free(promotion: Promotion, body: dict[str, Any]) -> None:
    """Raises LeftOut for a product that is under a promotion, this one or another."""
    present = body.get("promotion")
    if present == promotion.id:
        raise LeftOut("already", "already")
    if present is not None:
        raise LeftOut("taken", "other_promotion")


def price_of(body: dict[str, Any]) -> Decimal:
    price = body.get("price")
    if not isinstance(price, str) or not PRICE.fullmatch(price):
        raise LeftOut("left_out", "price")
    return Decimal(price)


def reduced_price(regular: Decimal, percent_off: Decimal) -> Decimal:
    """Rounded to cents, half up. Raises LeftOut where nothing would be left to pay."""
    reduced = (regular * (100 - percent_off) / 100).quantize(CENT, ROUND_HALF_UP)
    if reduced < CENT:
        raise LeftOut("left_out", "price_too_low")
    return reduced


def summary(args: Args, tally: Tally) -> Result:
    buckets = tally.buckets
    return {
        "action": args["action"],
        "products": tally.products,
        "changed": buckets["changed"],
        "skipped": buckets["skipped"],
        "failed": buckets["failed"],
        "pending": buckets["pending"],
        "already": buckets["already"],
        "taken": buckets["taken"],
        "left_out": buckets["left_out"],
        "regular_value": str(tally.regular.quantize(CENT)),
        "reduced_value": str(tally.reduced.quantize(CENT)),
        "samples": {
            "failed": tally.sampled("failed"),
            "pending": tally.sampled("pending"),
            "taken": tally.sampled("taken"),
            "left_out": tally.sampled("left_out"),
        },
        "ledger": f"/ledgers/promotions/{quote(args['promotion_id'], safe='')}",
    }
