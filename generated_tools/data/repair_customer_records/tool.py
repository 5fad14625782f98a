"""Repair customer records by a ruleset: tidy names, canonical e-mail addresses, E.164 phone numbers.

For each field that changes, a change record with the value before and after is written first, and only then the record itself, on
the condition that nobody has written it since it was read. What a rule cannot read stays as it is and is reported.
"""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

from contract import Args, RecordChangeItem, RepairItem, Result, Sample
from toolkit import Context, Outcome, ToolError

BATCH = 500
SAMPLES = 5
SAMPLE_LENGTH = 64
BUCKET_OF = MappingProxyType({"done": "repaired", "skipped": "skipped", "failed": "failed"})

ADDRESS = re.compile(r"[^\s@\"(),:;<>\[\\\]]{1,64}@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
PHONE = re.compile(r"[(+]?[0-9][0-9 ().\-/]*")
E164 = re.compile(r"\+[1-9][0-9]{6,14}")
# By country: its calling code, and the prefix that is dialled inside the country and dropped outside it.
CALLING_CODES = MappingProxyType(
    {
        "AT": ("43", "0"),
        "BE": ("32", "0"),
        "CH": ("41", "0"),
        "DE": ("49", "0"),
        "DK": ("45", ""),
        "ES": ("34", ""),
        "FR": ("33", "0"),
        "GB": ("44", "0"),
        "IE": ("353", "0"),
        "IT": ("39", ""),
        "NL": ("31", "0"),
        "PL": ("48", ""),
        "SE": ("46", "0"),
        "US": ("1", "1"),
    }
)

Normaliser = Callable[[str], str | None]


class Rule(NamedTuple):
    """One field and how its text is normalised; the normaliser says None to what it cannot read."""

    field: str
    normalise: Normaliser


class Repair(NamedTuple):
    """What is to be done for one record; no changes where it is clean."""

    item: RepairItem
    changes: list[RecordChangeItem]


@dataclass
class Tally:
    """The counts of one run, with a bounded sample of each bucket that somebody may have to look at."""

    records: int = 0
    clean: int = 0
    changes: int = 0
    buckets: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def add(self, bucket: str, record: str, reason: str) -> None:
        self.buckets[bucket] += 1
        sample = self.samples.setdefault(bucket, [])
        if len(sample) < SAMPLES:
            sample.append({"record": record[:SAMPLE_LENGTH], "reason": reason[:SAMPLE_LENGTH]})

    def add_outcome(self, record: str, outcome: Outcome) -> None:
        reason = str(outcome.error["code"]) if outcome.error else outcome.status
        self.add(BUCKET_OF.get(outcome.status, "pending"), record, reason)

    def sampled(self, bucket: str) -> list[Sample]:
        return self.samples.get(bucket, [])


def run(args: Args, ctx: Context) -> Result:
    rules = load_rules(ctx, args["ruleset_id"])
    ctx.log("repair_started", ruleset=args["ruleset_id"], rules=len(rules))
    tally = Tally()
    rows = ctx.read_pages("records", collection="customers", filter={"dataset_id": args["dataset_id"]})
    for batch in batches(rows, BATCH):
        repair_batch(args, ctx, rules, batch, tally)
        ctx.progress(tally.records)
    result = summary(tally, args["dataset_id"])
    ctx.log("repair_finished", **{name: value for name, value in result.items() if isinstance(value, int)})
    return result


def repair_batch(args: Args, ctx: Context, rules: list[Rule], batch: list[dict[str, Any]], tally: Tally) -> None:
    """Write the changes of a batch down, then make those that are written down."""
    planned = [plan(args, rules, row, tally) for row in batch]
    dirty = [repair for repair in planned if repair.changes]
    tally.records += len(planned)
    tally.clean += len(planned) - len(dirty)

    written = ctx.perform_each("record_change", (change for repair in dirty for change in repair.changes))
    ready: list[Repair] = []
    for repair in dirty:
        outcomes = list(islice(written, len(repair.changes)))
        tally.changes += sum(outcome.status == "done" for outcome in outcomes)
        missing = next((outcome for outcome in outcomes if outcome.status not in ("done", "skipped")), None)
        if missing is None:
            ready.append(repair)
        else:
            tally.add_outcome(repair.item["key"], missing)

    repaired = ctx.perform_each("repair", (repair.item for repair in ready))
    for repair, outcome in zip(ready, repaired, strict=True):
        tally.add_outcome(repair.item["key"], outcome)


def plan(args: Args, rules: list[Rule], row: dict[str, Any], tally: Tally) -> Repair:
    """The repaired record and its changes; values that a rule cannot read are noted in the tally and stay."""
    body = dict(row["body"])
    changes: list[RecordChangeItem] = []
    for rule in rules:
        before = body.get(rule.field)
        if before is None:
            continue
        after = rule.normalise(before) if isinstance(before, str) else None
        if after is None:
            tally.add("unreadable", row["key"], rule.field)
        elif after != before:
            body[rule.field] = after
            changes.append(change(args, row, rule.field, before, after))
    return Repair({"key": row["key"], "body": body, "expected_version": row["version"]}, changes)


def change(args: Args, row: dict[str, Any], name: str, before: str, after: str) -> RecordChangeItem:
    """The change record of one field, under a key that is the same for the same change of the same version of a record."""
    place = [args["dataset_id"], args["ruleset_id"], row["key"], row["version"], name]
    return {
        "key": hashlib.sha256(json.dumps(place).encode()).hexdigest()[:32],
        "body": {
            "dataset_id": args["dataset_id"],
            "ruleset_id": args["ruleset_id"],
            "record": row["key"],
            "version": row["version"],
            "field": name,
            "before": before,
            "after": after,
        },
    }


def load_rules(ctx: Context, ruleset_id: str) -> list[Rule]:
    """The rules of a stored ruleset `{"tidy": [field], "email": [field], "phone": [field], "default_country": "DE"}`."""
    body = ctx.read("ruleset", key=ruleset_id)
    if body is None:
        raise ToolError("ruleset_not_found", f"There is no ruleset {ruleset_id!r} in repair_rulesets.")
    phones = names_in(body, "phone", ruleset_id)
    country = body.get("default_country")
    if phones and country not in CALLING_CODES:
        known = ", ".join(CALLING_CODES)
        raise ToolError("ruleset_invalid", f"The ruleset {ruleset_id!r} needs a default_country for phone numbers, one of {known}.")
    rules = [Rule(name, tidy) for name in names_in(body, "tidy", ruleset_id)]
    rules += [Rule(name, canonical_address) for name in names_in(body, "email", ruleset_id)]
    rules += [Rule(name, phone_rule(str(country))) for name in phones]
    if not rules:
        raise ToolError("ruleset_invalid", f"The ruleset {ruleset_id!r} names no field under tidy, email or phone.")
    if len({rule.field for rule in rules}) < len(rules):
        raise ToolError("ruleset_invalid", f"The ruleset {ruleset_id!r} names a field twice.")
    return rules


def names_in(body: dict[str, Any], rule: str, ruleset_id: str) -> list[str]:
    names = body.get(rule, [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name != "dataset_id" for name in names):
        raise ToolError("ruleset_invalid", f"In the ruleset {ruleset_id!r}, {rule} must list fields other than dataset_id.")
    return names


def tidy(text: str) -> str:
    """Composed characters, no space at the ends, one between words."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def canonical_address(text: str) -> str | None:
    """Trimmed, lower case, the domain in ASCII; None for what is no e-mail address."""
    local, _, domain = unicodedata.normalize("NFC", text.strip()).lower().rpartition("@")
    try:
        address = f"{local}@{domain.encode('idna').decode()}"
    except UnicodeError:
        return None
    dots = local.startswith(".") or local.endswith(".") or ".." in local
    return address if ADDRESS.fullmatch(address) and not dots and len(address) <= 254 else None


def phone_rule(country: str) -> Normaliser:
    """A normaliser of phone numbers to E.164; numbers without a country are taken to be of `country`."""
    code, trunk = CALLING_CODES[country]

    def normalise(text: str) -> str | None:
        written = text.strip()
        if not PHONE.fullmatch(written):
            return None
        digits = re.sub(r"[^0-9]", "", written.replace("(0)", "", 1) if written.startswith(("+", "00")) else written)
        if written.startswith("+"):
            number = f"+{digits}"
        elif digits.startswith("00"):
            number = f"+{digits[2:]}"
        else:
            number = f"+{code}{digits.removeprefix(trunk)}"
        return number if E164.fullmatch(number) else None

    return normalise


def batches(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    stream = iter(rows)
    while batch := list(islice(stream, size)):
        yield batch


def summary(tally: Tally, dataset: str) -> Result:
    buckets = tally.buckets
    return {
        "records": tally.records,
        "clean": tally.clean,
        "repaired": buckets["repaired"],
        "skipped": buckets["skipped"],
        "failed": buckets["failed"],
        "pending": buckets["pending"],
        "changes": tally.changes,
        "unreadable": buckets["unreadable"],
        "samples": {
            "failed": tally.sampled("failed"),
            "pending": tally.sampled("pending"),
            "unreadable": tally.sampled("unreadable"),
        },
        "ledger": f"/ledgers/repairs/{quote(dataset, safe='')}",
    }
