"""Load one part of a supplier's price list into the products: all rows that are fit, in one transaction, or none.

A row is compared with the product that is there: what is the same is not written again, what differs is written if nobody
has written it since it was read. The receipt of the part is written down only once its rows are there.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from contract import Args, Result, Row, Sample, StoreItem, StoreItemRecordsItem
from toolkit import Context, Outcome, ToolError

SAMPLES = 5
REASON_LENGTH = 64
PRICE = re.compile(r"([0-9]{1,7})(?:\.([0-9]{2}))?")
Receipt = Literal["done", "skipped", "failed", "none"]
EAN = re.compile(r"[0-9]{13}")


class Unfit(Exception):
    """A row that is not loaded; the argument says why."""


class Product(NamedTuple):
    """What is there: the record's version and body."""

    version: int
    body: Mapping[str, Any]


@dataclass
class Tally:
    """The rows of one part by what becomes of them, with a bounded sample of those that are not fit."""

    unchanged: int = 0
    duplicates: int = 0
    invalid: int = 0
    samples: list[Sample] = field(default_factory=list)

    def refuse(self, number: int, reason: str) -> None:
        self.invalid += 1
        if len(self.samples) < SAMPLES:
            self.samples.append({"row": number, "reason": reason[:REASON_LENGTH]})


def run(args: Args, ctx: Context) -> Result:
    ctx.log("load_started", part=args["part"], rows=len(args["rows"]))
    present = {
        row["key"]: Product(row["version"], row["body"])
        for row in ctx.read_pages("present", collection="products", filter={"supplier": args["supplier"]})
    }
    tally = Tally()
    records = fit(args, present, tally)
    if tally.invalid and args["on_invalid"] == "refuse":
        raise ToolError("rows_invalid", f"{tally.invalid} rows cannot be loaded, the first is row {tally.samples[0]['row']}.")
    stored = store(ctx, records)
    there = stored is None or stored.status in ("done", "skipped")
    receipt = write_receipt(args, ctx) if there else "none"
    ctx.progress(len(args["rows"]), len(args["rows"]))
    result = summary(args, tally, len(records), stored, receipt)
    ctx.log("load_finished", **{name: value for name, value in result.items() if isinstance(value, int)})
    return result


def fit(args: Args, present: Mapping[str, Product], tally: Tally) -> list[StoreItemRecordsItem]:
    """The records to write, in the order of their rows. Of several rows with one EAN the first counts."""
    seen: set[str] = set()
    records: list[StoreItemRecordsItem] = []
    for number, row in enumerate(args["rows"], start=1):
        if row["ean"] in seen:
            tally.duplicates += 1
            continue
        try:
            body = product(args["supplier"], row)
        except Unfit as unfit:
            tally.refuse(number, str(unfit))
            continue
        seen.add(row["ean"])
        there = present.get(row["ean"])
        if there is not None and there.body == body:
            tally.unchanged += 1
        else:
            records.append({"key": row["ean"], "body": body, "expected_version": there.version if there is not None else 0})
    return records


def product(supplier: str, row: Row) -> dict[str, Any]:
    """The body of a product. Raises Unfit."""
    if not is_ean(row["ean"]):
        raise Unfit("ean_invalid")
    name = " ".join(row["name"].split())
    if not name:
        raise Unfit("name_empty")
    return {"supplier": supplier, "name": name, "price_cents": price_cents(row["price"]), "stock": row["stock"]}


def is_ean(text: str) -> bool:
    """Thirteen digits, the last of which is the check digit: with weights of 1 and 3 in turn, the sum divides by ten."""
    return EAN.fullmatch(text) is not None and sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(text)) % 10 == 0


def price_cents(text: str) -> int:
    """`12` or `12.50` in cents. Raises Unfit for any other text, and for nothing."""
    found = PRICE.fullmatch(text)
    if found is None:
        raise Unfit("price_unreadable")
    cents = int(found[1]) * 100 + int(found[2] or 0)
    if not cents:
        raise Unfit("price_zero")
    return cents


def store(ctx: Context, records: list[StoreItemRecordsItem]) -> Outcome | None:
    """What became of the records as a whole; None where there is nothing to write. Raises ToolError `part_differs`."""
    if not records:
        return None
    item: StoreItem = {"records": records, "atomic": True}
    stored = ctx.perform("store", item)
    if stored.status == "skipped" and stored.differs:
        raise ToolError("part_differs", "This part was loaded before with other rows; give it a new number or a new import.")
    return stored


def write_receipt(args: Args, ctx: Context) -> Receipt:
    body = {"supplier": args["supplier"], "rows": len(args["rows"])}
    written = ctx.perform("receipt", {"key": f"{args['import_id']}/{args['part']}", "body": body}).status
    return written if written == "done" or written == "skipped" else "failed"


def summary(args: Args, tally: Tally, records: int, stored: Outcome | None, receipt: Receipt) -> Result:
    status = stored.status if stored is not None else "done"
    return {
        "rows": len(args["rows"]),
        "written": records if status == "done" else 0,
        "skipped": records if status == "skipped" else 0,
        "failed": records if status not in ("done", "skipped") else 0,
        "unchanged": tally.unchanged,
        "duplicates": tally.duplicates,
        "invalid": tally.invalid,
        "samples": tally.samples,
        "reason": str(stored.error["code"]) if stored is not None and stored.error else "",
        "receipt": receipt,
        "ledger": f"/ledgers/loads/{quote(args['import_id'], safe='')}",
    }
