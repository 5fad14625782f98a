"""Remind customers of open quotes by a policy of stages, close quotes that were answered or have run out.

What is due follows from the quote's own record and from today's date by the run's clock; the quote notes each reminder that is accepted,
so the next stage counts from there. A reminder that is not settled is not noted, and nothing overtakes it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from contract import Args, CloseItem, NoteItem, RemindItem, Result, Sample
from toolkit import Context, Outcome, ToolError

BATCH = 500
SAMPLES = 4
SAMPLE_LENGTH = 64
SATURDAY = 5
REMINDED = MappingProxyType({"done": "sent", "skipped": "skipped", "retrying": "retry_queue", "unknown": "unknown"})
ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
PLACE = re.compile(r"\{\{(name|quote)\}\}")


class Stage(NamedTuple):
    """One reminder: how many days after the last word it is due, and what it says."""

    after_days: int
    text: str


class Policy(NamedTuple):
    """The reminders in order, and how many days after the last one a quote runs out."""

    stages: list[Stage]
    expire_after_days: int


class Quote(NamedTuple):
    """An open quote as it was read; `last_word` is when the customer last heard of it."""

    row: dict[str, Any]
    email: str
    name: str
    sent_on: date
    reminders: int
    last_word: date

    @property
    def key(self) -> str:
        return str(self.row["key"])


class Closing(NamedTuple):
    """A quote that is over, and why."""

    quote: Quote
    state: Literal["answered", "expired"]


class Unreadable(Exception):
    """A quote that cannot be read; the argument is the field."""


@dataclass
class Tally:
    """The counts of one run, with a bounded sample of each bucket that somebody may have to look at."""

    quotes: int = 0
    noted: int = 0
    due: int = 0
    buckets: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def add(self, bucket: str, key: str, reason: str) -> None:
        self.buckets[bucket] += 1
        self.show(bucket, key, reason)

    def show(self, bucket: str, key: str, reason: str) -> None:
        sample = self.samples.setdefault(bucket, [])
        if len(sample) < SAMPLES:
            sample.append({"quote": key[:SAMPLE_LENGTH], "reason": reason[:SAMPLE_LENGTH]})

    def sampled(self, bucket: str) -> list[Sample]:
        return self.samples.get(bucket, [])


@dataclass
class Plan:
    """What is due for a batch of quotes."""

    reminders: list[Quote] = field(default_factory=list)
    closings: list[Closing] = field(default_factory=list)


def run(args: Args, ctx: Context) -> Result:
    policy = load_policy(ctx, args["policy_id"])
    today = ctx.now().date()
    answered = set(replied(ctx))
    ctx.log("follow_up_started", policy=args["policy_id"], stages=len(policy.stages), replies=len(answered))
    tally = Tally()
    for batch in batches(ctx.read_pages("quotes", collection="quotes", filter={"state": "open"}), BATCH):
        plan = plan_of(batch, policy, answered, today, args.get("most"), tally)
        remind(ctx, plan.reminders, policy, today, tally)
        close(ctx, plan.closings, today, tally)
        ctx.progress(tally.quotes)
    result = summary(tally, args["policy_id"])
    ctx.log("follow_up_finished", **{name: value for name, value in result.items() if isinstance(value, int)})
    return result


def replied(ctx: Context) -> Iterator[str]:
    """The keys of the quotes that customers have replied to."""
    for row in ctx.read_pages("replies", collection="replies"):
        named = row["body"].get("quote")
        if isinstance(named, str):
            yield named


def plan_of(batch: Iterable[dict[str, Any]], policy: Policy, answered: set[str], today: date, most: int | None, tally: Tally) -> Plan:
    """What is due today for each quote of a batch; what is not goes into its bucket at once."""
    plan = Plan()
    for row in batch:
        tally.quotes += 1
        try:
            found = read_quote(row)
        except Unreadable as error:
            tally.add("invalid", row["key"], str(error))
            continue
        step = step_of(found, policy, row["key"] in answered, today)
        if step == "remind" and (most is None or tally.due < most):
            tally.due += 1
            plan.reminders.append(found)
        elif step == "answered" or step == "expired":
            plan.closings.append(Closing(found, step))
        else:
            tally.add("waiting", found.key, step)
    return plan


def step_of(found: Quote, policy: Policy, is_answered: bool, today: date) -> Literal["answered", "expired", "remind", "waiting"]:
    """What is due for one quote today."""
    if is_answered:
        return "answered"
    waited = (today - found.last_word).days
    if found.reminders >= len(policy.stages):
        return "expired" if waited >= policy.expire_after_days else "waiting"
    is_due = waited >= policy.stages[found.reminders].after_days
    return "remind" if is_due and today.weekday() < SATURDAY else "waiting"


def remind(ctx: Context, due: list[Quote], policy: Policy, today: date, tally: Tally) -> None:
    """Send the reminders, then note those that are accepted."""
    sent = ctx.perform_each("remind", (reminder(found, policy) for found in due))
    accepted = [found for found, outcome in zip(due, sent, strict=True) if is_accepted(found, outcome, tally)]
    noted = ctx.perform_each("note", (note(found, today) for found in accepted))
    for found, outcome in zip(accepted, noted, strict=True):
        if outcome.status == "done":
            tally.noted += 1
        elif outcome.status != "skipped":
            tally.show("unnoted", found.key, code_of(outcome))


def is_accepted(found: Quote, outcome: Outcome, tally: Tally) -> bool:
    """Whether the mail server has taken the reminder, now or earlier."""
    tally.add(REMINDED.get(outcome.status, "failed"), found.key, code_of(outcome))
    return outcome.status in ("done", "skipped")


def close(ctx: Context, closings: list[Closing], today: date, tally: Tally) -> None:
    closed = ctx.perform_each("close", (closed_quote(closing, today) for closing in closings))
    for closing, outcome in zip(closings, closed, strict=True):
        bucket = closing.state if outcome.status in ("done", "skipped") else "failed"
        tally.add(bucket, closing.quote.key, code_of(outcome))


def reminder(found: Quote, policy: Policy) -> RemindItem:
    """The next reminder. Its subject names quote, day and stage, which is what its key is made of."""
    stage = policy.stages[found.reminders]
    values = {"name": found.name, "quote": found.key}
    return {
        "to": found.email,
        "subject": f"Quote {found.key} of {found.sent_on}, reminder {found.reminders + 1}",
        "text": PLACE.sub(lambda match: values[match[1]], stage.text),
    }


def note(found: Quote, today: date) -> NoteItem:
    return {
        "key": found.key,
        "expected_version": found.row["version"],
        "body": {**found.row["body"], "reminders": found.reminders + 1, "last_reminder_on": today.isoformat()},
    }


def closed_quote(closing: Closing, today: date) -> CloseItem:
    row = closing.quote.row
    return {
        "key": closing.quote.key,
        "expected_version": row["version"],
        "body": {**row["body"], "state": closing.state, "closed_on": today.isoformat()},
    }


def read_quote(row: dict[str, Any]) -> Quote:
    """Raises Unreadable with the field that is not as it should be."""
    body = row["body"]
    email, name, reminders = body.get("email"), body.get("name"), body.get("reminders", 0)
    if not isinstance(email, str) or not email.strip():
        raise Unreadable("email")
    if not isinstance(name, str) or not name.strip():
        raise Unreadable("name")
    if not isinstance(reminders, int) or isinstance(reminders, bool) or reminders < 0:
        raise Unreadable("reminders")
    sent_on = day_in(body, "sent_on")
    last_word = day_in(body, "last_reminder_on") if reminders else sent_on
    return Quote(row, email, name, sent_on, reminders, last_word)


def day_in(body: dict[str, Any], name: str) -> date:
    text = body.get(name)
    if not isinstance(text, str) or not ISO_DATE.fullmatch(text):
        raise Unreadable(name)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Unreadable(name) from None


def load_policy(ctx: Context, policy_id: str) -> Policy:
    body = ctx.read("policy", key=policy_id)
    if body is None:
        raise ToolError("policy_not_found", f"There is no policy {policy_id!r} in follow_up_policies.")
    stages, expire = body.get("stages"), body.get("expire_after_days")
    if not isinstance(stages, list) or not stages or not all(isinstance(stage, dict) for stage in stages):
        raise ToolError("policy_invalid", f"The policy {policy_id!r} needs stages, each with after_days and text.")
    if not all(is_days(stage.get("after_days")) and isinstance(stage.get("text"), str) and stage["text"].strip() for stage in stages):
        raise ToolError("policy_invalid", f"In the policy {policy_id!r} each stage needs after_days from 0 to 365 and a text.")
    if not is_days(expire):
        raise ToolError("policy_invalid", f"The policy {policy_id!r} needs expire_after_days from 0 to 365.")
    return Policy([Stage(stage["after_days"], stage["text"]) for stage in stages], expire)


def is_days(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 365


def code_of(outcome: Outcome) -> str:
    return str(outcome.error["code"]) if outcome.error else outcome.status


def batches(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    stream = iter(rows)
    while batch := list(islice(stream, size)):
        yield batch


def summary(tally: Tally, policy_id: str) -> Result:
    buckets = tally.buckets
    return {
        "quotes": tally.quotes,
        "waiting": buckets["waiting"],
        "answered": buckets["answered"],
        "expired": buckets["expired"],
        "sent": buckets["sent"],
        "skipped": buckets["skipped"],
        "failed": buckets["failed"],
        "retry_queue": buckets["retry_queue"],
        "unknown": buckets["unknown"],
        "invalid": buckets["invalid"],
        "noted": tally.noted,
        "samples": {
            "failed": tally.sampled("failed"),
            "retry_queue": tally.sampled("retry_queue"),
            "unknown": tally.sampled("unknown"),
            "invalid": tally.sampled("invalid"),
            "unnoted": tally.sampled("unnoted"),
        },
        "ledger": f"/ledgers/reminders/{quote(policy_id, safe='')}",
    }
