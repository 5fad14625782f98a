"""Send one campaign e-mail to each distinct recipient, once.

Recipients stream: a list is read as it stands, a collection page by page, so that a million of them need no more memory than
a thousand. Who had this mail before is the ledger's knowledge, not this tool's: it performs `send` for everyone who may be
written to and counts what became of it.
"""

import html
import re
import unicodedata
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

from contract import Args, Result, Sample, SendItem
from toolkit import Context, Outcome, ToolError

SAMPLES = 3
SAMPLE_LENGTH = 64
PROGRESS_EVERY = 500
BUCKET_OF = MappingProxyType({"done": "sent", "skipped": "skipped", "failed": "failed", "retrying": "retry_queue", "unknown": "unknown"})

VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
LOCAL_PART = re.compile(r"[^\s@\"(),:;<>\[\\\]\x00-\x1f\x7f]{1,64}")
DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")


class Recipient(NamedTuple):
    """Someone to write to: the address as it was given, what to call it in a sample, and the values for the template."""

    address: object
    label: str
    variables: dict[str, str]


class Template(NamedTuple):
    """A stored template, with the names of the variables that it mentions. `html` and `list_unsubscribe` may be empty."""

    subject: str
    text: str
    html: str
    list_unsubscribe: str
    mentioned: frozenset[str]


class Unfit(Exception):
    """A recipient who is not written to; the argument says why."""


@dataclass
class Tally:
    """The counts of one run, with a bounded sample of each bucket that somebody may have to look at."""

    given: int = 0
    distinct: int = 0
    duplicates: int = 0
    buckets: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def add(self, bucket: str, recipient: str, reason: str) -> None:
        self.buckets[bucket] += 1
        sample = self.samples.setdefault(bucket, [])
        if len(sample) < SAMPLES:
            sample.append({"recipient": recipient[:SAMPLE_LENGTH], "reason": reason[:SAMPLE_LENGTH]})

    def sampled(self, bucket: str) -> list[Sample]:
        return self.samples.get(bucket, [])


def run(args: Args, ctx: Context) -> Result:
    campaign = args["campaign_id"]
    template = load_template(ctx, args["template_id"])
    suppressed = {fold(row["key"]) for row in ctx.read_pages("suppressions", collection="email_suppressions")}
    ctx.log("campaign_started", template=args["template_id"], suppressions=len(suppressed))

    tally = Tally()
    under_way: deque[str] = deque()

    def messages() -> Iterator[SendItem]:
        for recipient in recipients(args, ctx):
            tally.given += 1
            try:
                message = compose(campaign, template, recipient, suppressed)
            except Unfit as unfit:
                tally.add(str(unfit), recipient.label, str(unfit))
                continue
            under_way.append(message["to"])
            yield message

    for ended, outcome in enumerate(ctx.perform_each("send", messages()), start=1):
        record(tally, under_way.popleft(), outcome)
        if ended % PROGRESS_EVERY == 0:
            ctx.progress(ended)

    result = summary(tally, campaign)
    ctx.progress(tally.given, tally.given)
    ctx.log("campaign_finished", **{name: value for name, value in result.items() if isinstance(value, int)})
    return result


def load_template(ctx: Context, template_id: str) -> Template:
    body = ctx.read("template", key=template_id)
    if body is None:
        raise ToolError("template_not_found", f"There is no template {template_id!r} in email_templates.")
    parts = [body.get(name) or "" for name in ("subject", "text", "html", "list_unsubscribe")]
    if not all(isinstance(part, str) for part in parts):
        raise ToolError("template_invalid", f"The parts of the template {template_id!r} must be texts.")
    subject, text, markup, link = parts
    if not subject.strip() or not text.strip():
        raise ToolError("template_invalid", f"The template {template_id!r} needs a subject and a text.")
    return Template(subject, text, markup, link, frozenset(name for part in parts for name in VARIABLE.findall(part)))


def recipients(args: Args, ctx: Context) -> Iterator[Recipient]:
    """Everyone who is named, in order, with the call's variables overridden by the fields of a recipient's own record."""
    shared = printable(args.get("variables", {}))
    source = args["recipients"]
    if isinstance(source, list):
        for address in source:
            yield Recipient(address, address, shared)
        return
    field_name = source.get("address_field", "email")
    snapshot = source.get("snapshot")
    where = {"snapshot": snapshot} if snapshot else {"collection": source.get("collection"), "filter": source.get("filter", {})}
    for row in ctx.read_pages("audience", **where):
        address = row["body"].get(field_name)
        label = address if isinstance(address, str) else f"record {row['key']}"
        yield Recipient(address, label, {**shared, **printable(row["body"])})


def compose(campaign: str, template: Template, recipient: Recipient, suppressed: set[str]) -> SendItem:
    """The message for one recipient. Raises Unfit with the bucket that the recipient belongs to."""
    address = canonical(recipient.address)
    if address is None:
        raise Unfit("invalid_address")
    if address in suppressed:
        raise Unfit("suppressed")
    if not template.mentioned <= recipient.variables.keys():
        raise Unfit("missing_variable")
    subject = " ".join(fill(template.subject, recipient.variables).split())
    message: SendItem = {
        "to": address,
        "subject": subject,
        "text": fill(template.text, recipient.variables),
        "list_unsubscribe": unsubscribe_link(template, campaign, recipient.variables),
    }
    if template.html:
        escaped = {name: html.escape(value) for name, value in recipient.variables.items()}
        message["html"] = fill(template.html, escaped)
    return message


def canonical(address: object) -> str | None:
    """The one spelling of an address, as the ledger's keys know it; None for what is no address."""
    if not isinstance(address, str):
        return None
    local, _, domain = fold(address).rpartition("@")
    try:
        domain = domain.encode("idna").decode()
    except UnicodeError:
        return None
    dots = local.startswith(".") or local.endswith(".") or ".." in local
    if dots or not LOCAL_PART.fullmatch(local) or not DOMAIN.fullmatch(domain) or len(local) + len(domain) > 253:
        return None
    return f"{local}@{domain}"


def fold(address: str) -> str:
    return unicodedata.normalize("NFC", address.strip()).lower()


def fill(text: str, variables: dict[str, str]) -> str:
    """The text with each `{{name}}` replaced; values are not looked into again."""
    return VARIABLE.sub(lambda match: variables[match[1]], text)


def printable(values: dict[str, Any]) -> dict[str, str]:
    """What can stand in a template: texts and numbers. Null, lists and objects count as missing."""
    return {name: str(value) for name, value in values.items() if isinstance(value, str | int | float) and not isinstance(value, bool)}


def unsubscribe_link(template: Template, campaign: str, variables: dict[str, str]) -> str:
    """The template's own link with its variables encoded, else a mail to the sender's unsubscribe address."""
    if template.list_unsubscribe:
        return fill(template.list_unsubscribe, {name: quote(value, safe="") for name, value in variables.items()})
    return f"mailto:unsubscribe@example.com?subject={quote(campaign, safe='')}"


def record(tally: Tally, address: str, outcome: Outcome) -> None:
    """Put one outcome into its bucket; the same address again is no other recipient."""
    if outcome.status == "duplicate":
        tally.duplicates += 1
        return
    tally.distinct += 1
    code = str(outcome.error["code"]) if outcome.error else outcome.status
    tally.add(BUCKET_OF[outcome.status], address, code)


def summary(tally: Tally, campaign: str) -> Result:
    buckets = tally.buckets
    return {
        "given": tally.given,
        "distinct": tally.distinct,
        "duplicates": tally.duplicates,
        "sent": buckets["sent"],
        "skipped": buckets["skipped"],
        "failed": buckets["failed"],
        "retry_queue": buckets["retry_queue"],
        "unknown": buckets["unknown"],
        "invalid_address": buckets["invalid_address"],
        "suppressed": buckets["suppressed"],
        "missing_variable": buckets["missing_variable"],
        "samples": {
            "skipped": tally.sampled("skipped"),
            "failed": tally.sampled("failed"),
            "retry_queue": tally.sampled("retry_queue"),
            "unknown": tally.sampled("unknown"),
            "invalid_address": tally.sampled("invalid_address"),
            "suppressed": tally.sampled("suppressed"),
            "missing_variable": tally.sampled("missing_variable"),
        },
        "ledger": f"/ledgers/campaigns/{quote(campaign, safe='')}",
    }
