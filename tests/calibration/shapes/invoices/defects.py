"""Defects of the invoices shape: invoice_orders."""

from __future__ import annotations

from tests.calibration.defect import WHOLE, after, defect, spec, suite, tool, without
from tests.calibration.shapes.invoices.suites import COUNTS_ALONE, NOTHING_ASSERTED

_TWO_MAILS_TEST = """def test_two_orders_of_one_customer_get_two_mails() -> None:
    t = invoice(order(1, email="c@example.com"), order(2, email="c@example.com"))
    assert counted(t)["sent"] == 2
    assert [item["subject"] for item in t.items("send")] == ["Invoice 2026-02-o0001", "Invoice 2026-02-o0002"]


"""

_CONTEXT_FOR_ORDERS = (
    tool('drafts(args["period"], last, terms, batch, tally)', 'drafts(ctx, args["period"], last, terms, batch, tally)'),
    tool("def drafts(period: str,", "def drafts(ctx: Context, period: str,"),
)
_CONTEXT_FOR_DRAFTS = (
    *_CONTEXT_FOR_ORDERS,
    tool("yield draft_of(period,", "yield draft_of(ctx, period,"),
    tool("def draft_of(period: str,", "def draft_of(ctx: Context, period: str,"),
)

DEFECTS = (
    defect(
        "a_customer_with_two_orders_gets_one_mail",
        "keys",
        "examples",
        spec('"key": "[item.to, item.subject]"', '"key": "[args.period, item.to]"'),
        suite('["c1@example.com", "Invoice 2026-02-o0001"]', '["2026-02", "c1@example.com"]'),
        suite(_TWO_MAILS_TEST, ""),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "a_fresh_reference_in_the_subject_is_part_of_the_key_of_a_mail",
        "keys",
        "effects",
        spec('"subject": "Invoice 2026-02-o1",\n', "\n"),
        spec('"subject": "Invoice 2026-02-o2",\n', "\n"),
        spec(', "subject": "Invoice 2024-02-7/a"}', "}"),
        *_CONTEXT_FOR_DRAFTS,
        tool('f"Invoice {number}"', 'f"Invoice {number} (our reference {ctx.new_id()[:8]})"'),
        suite('{"orders": 1, "skipped": 1, "marked": 1}', '{"orders": 1, "sent": 1, "marked": 1}'),
        suite('["skipped", "skipped", "done"]', '["skipped", "done", "done"]'),
        suite('"send", ["c1@example.com", "Invoice 2026-02-o0001"]', '"send", [t.items("send")[0]["to"], t.items("send")[0]["subject"]]'),
        suite('        "subject": "Invoice 2026-02-o0001",\n', '        "subject": item["subject"],\n'),
        suite('[item["subject"] for item in t.items("send")] ==', '[item["subject"][:21] for item in t.items("send")] =='),
        grave=True,
        rule="new_effects_on_repeat",
    ),
    defect(
        "an_order_is_marked_once_and_never_again",
        "keys",
        "compatibility",
        spec('"key": "[args.period, item.key, item.expected_version]"', '"key": "[args.period, item.key]"'),
        grave=True,
        rule="key_changed",
    ),
    defect(
        "orders_are_marked_before_their_mail_is_out",
        "order",
        ("examples", "tests"),
        without(
            '    sent = ctx.perform_each("send", (draft.mail for draft in standing))\n'
            "    accepted = [draft for draft, outcome in zip(standing, sent, strict=True) if is_mailed(draft, outcome, tally)]\n"
        ),
        tool(
            "(draft.marked for draft in accepted))\n    for draft, outcome in zip(accepted, marked, strict=True):",
            "(draft.marked for draft in standing))\n    for draft, outcome in zip(standing, marked, strict=True):",
        ),
        tool(
            'tally.note("unmarked", draft.order, code_of(outcome))\n',
            'tally.note("unmarked", draft.order, code_of(outcome))\n'
            '    sent = ctx.perform_each("send", (draft.mail for draft in standing))\n'
            "    for draft, outcome in zip(standing, sent, strict=True):\n"
            "        is_mailed(draft, outcome, tally)\n",
        ),
        grave=True,
        rule=("example_effect", "test_failed"),
    ),
    defect(
        "outcomes_of_mails_are_paired_with_all_orders",
        "order",
        "effects",
        tool("zip(standing, sent, strict=True)", "zip(found, sent, strict=False)"),
        grave=True,
        rule="wrong_item_follows",
    ),
    defect(
        "invoices_are_numbered_by_a_counter_of_the_module",
        "state",
        "imports",
        tool("from itertools import islice\n", "from itertools import count, islice\n"),
        after('CENT = Decimal("0.01")\n', "NUMBERS = count(1)\n"),
        tool("f\"{period}-{row['key']}\"", 'f"{period}-{next(NUMBERS):05}"'),
        grave=True,
        rule="module_state",
    ),
    defect(
        "terms_are_kept_between_calls_in_a_default",
        "state",
        "imports",
        tool(
            "class Draft(NamedTuple):",
            "@dataclass\n"
            "class Kept:\n"
            '    """Terms that were read before."""\n'
            "\n"
            "    terms: dict[str, Terms] = field(default_factory=dict)\n"
            "\n"
            "\n"
            "KEPT = Kept()\n"
            "\n"
            "\n"
            "class Draft(NamedTuple):",
        ),
        tool(
            "def load_terms(ctx: Context, terms_id: str) -> Terms:\n",
            "def load_terms(ctx: Context, terms_id: str) -> Terms:\n"
            "    kept = KEPT\n"
            "    if terms_id in kept.terms:\n"
            "        return kept.terms[terms_id]\n",
        ),
        tool(
            "    return Terms(currency, days, {name: Decimal(value) for name, value in percent.items()})",
            "    kept.terms[terms_id] = Terms(currency, days, {name: Decimal(value) for name, value in percent.items()})\n"
            "    return kept.terms[terms_id]",
        ),
    ),
    defect(
        "half_a_cent_is_rounded_to_even",
        "money",
        "examples",
        tool("import ROUND_HALF_UP, Decimal", "import ROUND_HALF_EVEN, Decimal"),
        tool("rounding=ROUND_HALF_UP)", "rounding=ROUND_HALF_EVEN)"),
        suite(
            '("0.005", "0.01"), ("0.015", "0.02"), ("0.025", "0.03"), ("1.004", "1.00"), ("1.005", "1.01")',
            '("0.004", "0.00"), ("0.015", "0.02"), ("1.004", "1.00"), ("1.006", "1.01")',
        ),
    ),
    defect(
        "tax_is_rounded_for_each_line",
        "money",
        "examples",
        after("    sums: dict[str, Decimal] = {}\n", "    taxes: dict[str, Decimal] = {}\n"),
        tool(
            'sums[line["tax"]] = sums.get(line["tax"], Decimal(0)) + Decimal(line["net"])\n',
            'sums[line["tax"]] = sums.get(line["tax"], Decimal(0)) + Decimal(line["net"])\n'
            '        taxes[line["tax"]] = taxes.get(line["tax"], Decimal(0)) + cents(\n'
            '            (Decimal(line["net"]) - Decimal(line["net"]) * discount / 100) * terms.percent[line["tax"]] / 100\n'
            "        )\n",
        ),
        tool("Share(net, cents(net * terms.percent[tax_class] / 100))", "Share(net, taxes[tax_class])"),
    ),
    defect(
        "amounts_are_floats",
        "money",
        ("examples", "tests"),
        tool("    return amount.quantize(CENT, rounding=ROUND_HALF_UP)", '    return Decimal(f"{float(amount):.2f}")'),
    ),
    defect(
        "sums_in_cents_lose_one_by_way_of_a_float",
        "money",
        "tests",
        tool('"net_cents": int(tally.net * 100)', '"net_cents": int(float(tally.net) * 100)'),
        tool('"tax_cents": int(tally.tax * 100)', '"tax_cents": int(float(tally.tax) * 100)'),
        tool('"total_cents": int((tally.net + tally.tax) * 100)', '"total_cents": int(float(tally.net + tally.tax) * 100)'),
    ),
    defect("the_day_is_taken_from_the_machine", "time", "imports", tool("if ctx.now().date() <= last:", "if date.today() <= last:")),
    defect(
        "an_invoice_holds_the_moment_at_which_it_was_written",
        "time",
        "effects",
        *_CONTEXT_FOR_DRAFTS,
        after('            "issued_on": last.isoformat(),\n', '            "written_at": ctx.now().isoformat(),\n'),
        suite(
            '                "due_on": "2026-03-14",\n                "currency"',
            '                "due_on": "2026-03-14",\n'
            '                "written_at": "2026-03-01T09:00:00+00:00",\n'
            '                "currency"',
        ),
        grave=True,
        rule="not_recovered",
    ),
    defect(
        "a_period_may_be_invoiced_on_its_last_day",
        "time",
        "examples",
        tool("if ctx.now().date() <= last:", "if ctx.now().date() < last:"),
        suite(
            '[("2026-02-28T23:59:59Z", "period_open"), ("2026-01-15T00:00:00Z", "period_open")]',
            '[("2026-01-15T00:00:00Z", "period_open")]',
        ),
    ),
    defect(
        "a_mail_whose_answer_was_lost_is_sent_again",
        "retries",
        ("examples", "tests"),
        spec('"on_unknown": "hold"', '"on_unknown": "retry"'),
        grave=True,
        rule=("example_effect", "test_failed"),
    ),
    defect(
        "a_mail_in_the_retry_queue_is_sent_again_with_another_subject",
        "retries",
        "examples",
        tool(
            "    marked = ctx.perform_each(",
            "    late = [draft for draft in standing if draft not in accepted]\n"
            "    for draft in late:\n"
            '        ctx.perform("send", {**draft.mail, "subject": f"{draft.mail[\'subject\']} (second attempt)"})\n'
            "    marked = ctx.perform_each(",
        ),
        grave=True,
        rule="example_effect_extra",
    ),
    defect(
        "an_order_that_somebody_else_writes_meanwhile_is_overwritten",
        "concurrency",
        "effects",
        spec('"key": "[args.period, item.key, item.expected_version]"', '"key": "[args.period, item.key]"'),
        spec('{"id": "mark", "item": {"key": "o1", "expected_version": 1, "body": {', '{"id": "mark", "item": {"key": "o1", "body": {'),
        spec('{"id": "mark", "item": {"key": "o2", "expected_version": 1}}', '{"id": "mark", "item": {"key": "o2"}}'),
        without('        "expected_version": row["version"],\n'),
        suite('("mark", ["2026-02", "o0001", 1]),', '("mark", ["2026-02", "o0001"]),'),
        suite('assert item == {"key": "o0001", "expected_version": 1, "body"', 'assert item == {"key": "o0001", "body"'),
        grave=True,
        rule="overwrites_what_it_read",
    ),
    defect(
        "orders_are_marked_whatever_became_of_their_mail",
        "transactions",
        "examples",
        tool(
            "accepted = [draft for draft, outcome in zip(standing, sent, strict=True) if is_mailed(draft, outcome, tally)]",
            "accepted = standing\n    for draft, outcome in zip(standing, sent, strict=True):\n        is_mailed(draft, outcome, tally)",
        ),
        suite("(1, 1, 2, 1)\n", "(1, 1, 2, 2)\n"),
        suite('assert statuses(t) == ["delivered", "invoiced"]', 'assert statuses(t) == ["invoiced", "invoiced"]'),
        grave=True,
        rule="example_effect_extra",
    ),
    defect(
        "without_terms_standard_ones_are_taken",
        "swallowed_errors",
        "policy",
        tool(
            '    body = ctx.read("terms", key=terms_id)\n',
            "    try:\n"
            '        body = ctx.read("terms", key=terms_id)\n'
            "    except ToolError:\n"
            '        return Terms("EUR", 14, {"standard": Decimal(19), "reduced": Decimal(7)})\n',
        ),
        grave=True,
        rule="refusal_passed_over",
    ),
    defect(
        "whatever_goes_wrong_makes_an_order_invalid",
        "swallowed_errors",
        "ruff",
        tool(
            '        except Unfit as unfit:\n            tally.add("invalid", row["key"], str(unfit))',
            '        except Exception as error:\n            tally.add("invalid", row["key"], str(error) or "invalid")',
        ),
    ),
    defect(
        "addresses_are_looked_up_in_an_undeclared_collection",
        "undeclared_access",
        "policy",
        *_CONTEXT_FOR_ORDERS,
        tool("yield draft_of(period, last, terms, row)", "yield draft_of(period, last, terms, with_address(ctx, row))"),
        tool(
            "def draft_of(period: str,",
            "def with_address(ctx: Context, row: dict[str, Any]) -> dict[str, Any]:\n"
            '    """The order with the address of its customer where it has none of its own."""\n'
            '    if "customer" not in row["body"]:\n'
            "        return row\n"
            '    customer = ctx.read("customers", key=row["body"]["customer"])\n'
            '    return {**row, "body": {"email": customer["email"], **row["body"]}}\n'
            "\n"
            "\n"
            "def draft_of(period: str,",
        ),
        grave=True,
        rule="undeclared_read",
    ),
    defect(
        "customers_are_logged_as_their_orders_are_marked",
        "leaks",
        "path",
        after("            tally.marked += 1\n", '            ctx.log("order_marked", order=draft.order, customer=draft.mail["to"])\n'),
        suite('["invoicing_started", "invoicing_finished"]', '["invoicing_started", "order_marked", "invoicing_finished"]'),
        suite('t.logs[1]["fields"] ==', 't.logs[-1]["fields"] =='),
        suite('    assert "example.com" not in str(t.logs)\n', ""),
    ),
    defect(
        "orders_that_cannot_be_invoiced_are_logged_whole",
        "leaks",
        "path",
        tool(
            'list(drafts(args["period"], last, terms, batch, tally)), tally)\n',
            'list(drafts(args["period"], last, terms, batch, tally)), tally)\n'
            "        for row in batch:\n"
            '            if row["key"] in [sample["order"] for sample in tally.sampled("invalid")]:\n'
            '                ctx.log("order_invalid", order=row["key"], **row["body"])\n',
        ),
    ),
    defect("a_suite_that_asserts_nothing", "vacuous_tests", ("tests", "mutation"), suite(WHOLE, NOTHING_ASSERTED)),
    defect("a_suite_that_asserts_counts_alone", "vacuous_tests", ("tests", "mutation"), suite(WHOLE, COUNTS_ALONE)),
    defect(
        "the_total_is_a_text_where_a_number_is_promised",
        "wrong_schema",
        "mypy",
        tool('"total_cents": int((tally.net + tally.tax) * 100)', '"total_cents": str(tally.net + tally.tax)'),
    ),
    defect(
        "a_sample_takes_any_text",
        "wrong_schema",
        "spec",
        spec('"reason": {"type": "string", "maxLength": 64, ', '"reason": {"type": "string", '),
    ),
    defect(
        "a_mail_of_an_earlier_run_counts_as_sent",
        "wrong_bucket",
        "effects",
        tool('"skipped": "skipped", "retrying"', '"skipped": "sent", "retrying"'),
        suite('{"orders": 1, "skipped": 1, "marked": 1}', '{"orders": 1, "sent": 1, "marked": 1}'),
    ),
    defect(
        "mails_in_the_retry_queue_count_as_failed",
        "wrong_bucket",
        "examples",
        without('"retrying": "retry_queue", '),
        suite('("refuse_now", "retry_queue")', '("refuse_now", "failed")'),
    ),
)
