"""Defects of the paging_reads shape: a report over every order of a currency."""

from __future__ import annotations

from tests.calibration.defect import WHOLE, after, before, defect, spec, suite, tool
from tests.calibration.shapes.paging_reads.suites import COUNTS_ALONE, NO_ERROR_ALONE

PAGES = 'for row in ctx.read_pages("orders", collection="orders", filter={"currency": args["currency"], "status": ["paid", "refunded"]}):'

DEFECTS = (
    defect(
        "only_the_first_page_is_summed",
        "order",
        ("examples", "tests"),
        tool(
            PAGES,
            'page = ctx.read("orders", collection="orders", filter={"currency": args["currency"], "status": ["paid", "refunded"]})\n'
            '    for row in page["items"]:',
        ),
    ),
    defect(
        "equal_products_stand_as_they_came",
        "order",
        "examples",
        tool(
            "sorted(revenue, key=lambda name: (-revenue[name], name))[:top]",
            "sorted(revenue, key=lambda name: revenue[name], reverse=True)[:top]",
        ),
    ),
    defect(
        "amounts_are_compared_as_texts",
        "order",
        "tests",
        tool("key=lambda name: (-revenue[name], name))[:top]", "key=lambda name: (money(revenue[name]), name), reverse=True)[:top]"),
    ),
    defect(
        "five_are_named_whatever_was_asked_for",
        "wrong_schema",
        ("examples", "properties"),
        tool("for sku in best(sums.by_product, top)", "for sku in best(sums.by_product, 5)"),
        tool("for customer in best(sums.by_customer, top)", "for customer in best(sums.by_customer, 5)"),
    ),
    defect(
        "a_line_is_computed_with_floats",
        "money",
        "examples",
        tool("(price * quantity * share).quantize(CENT, ROUND_HALF_UP))", 'Decimal(f"{float(price) * quantity * float(share):.2f}"))'),
    ),
    defect(
        "lines_are_rounded_half_to_even",
        "money",
        "examples",
        tool("(price * quantity * share).quantize(CENT, ROUND_HALF_UP))", "(price * quantity * share).quantize(CENT))"),
    ),
    defect(
        "only_sums_are_rounded",
        "money",
        "examples",
        tool("(price * quantity * share).quantize(CENT, ROUND_HALF_UP))", "price * quantity * share)"),
    ),
    defect(
        "refunds_are_taken_off_twice",
        "money",
        ("examples", "properties"),
        tool("        self.gross += order.amount\n        if order.refunded:", "        if order.refunded:"),
        before("        self.orders[order.customer] += 1\n", "        self.gross += order.amount\n"),
    ),
    defect(
        "a_discount_may_be_more_than_everything",
        "money",
        "tests",
        tool('r"[0-9]{1,2}(?:\\.[0-9]{1,2})?|100"', 'r"[0-9]{1,3}(?:\\.[0-9]{1,2})?"'),
    ),
    defect(
        "the_average_of_nothing_is_divided_by_zero",
        "money",
        ("examples", "properties"),
        tool("sums.gross / sums.counted if sums.counted else Decimal(0)", "sums.gross / sums.counted"),
    ),
    defect(
        "the_day_is_that_of_the_order_s_own_offset",
        "time",
        "examples",
        tool("return moment.astimezone(UTC).date()", "return moment.date()"),
        tool("import UTC, date, datetime", "import date, datetime"),
    ),
    defect(
        "an_instant_without_an_offset_is_taken_for_local_time",
        "time",
        "examples",
        tool("if moment is not None and moment.tzinfo is not None:", "if moment is not None:"),
    ),
    defect("the_last_day_is_left_out", "time", "examples", tool("if first <= order.day <= last:", "if first <= order.day < last:")),
    defect(
        "a_period_is_cut_at_the_machine_s_day", "time", "imports", before("    if first > last:\n", "    last = min(last, date.today())\n")
    ),
    defect(
        "a_period_that_ends_before_it_begins_is_empty",
        "swallowed_errors",
        "examples",
        tool(
            'raise ToolError("period_invalid", "The period ends before it begins: first_day is after last_day.")',
            'ctx.log("period_empty", currency=args["currency"])',
        ),
        tool("from toolkit import Context, ToolError", "from toolkit import Context"),
    ),
    defect(
        "what_cannot_be_read_is_passed_over",
        "swallowed_errors",
        ("examples", "properties"),
        tool('except Unreadable as why:\n            sums.leave_out(row["key"], str(why))\n', "except Unreadable:\n            continue\n"),
    ),
    defect(
        "whatever_goes_wrong_is_an_unreadable_order",
        "swallowed_errors",
        "ruff",
        tool("except Unreadable as why:", "except Exception as why:"),
        tool("str(why))\n        else:", '"unreadable")\n        else:'),
    ),
    defect(
        "a_refused_read_ends_as_an_empty_report",
        "swallowed_errors",
        "policy",
        tool("from collections.abc import Iterable\n", "from collections.abc import Iterable, Iterator\n"),
        tool(PAGES, "for row in orders_of(args, ctx):"),
        tool(
            "def parse(body: dict[str, Any]) -> Order:",
            "def orders_of(args: Args, ctx: Context) -> Iterator[dict[str, Any]]:\n"
            '    wanted = {"currency": args["currency"], "status": ["paid", "refunded"]}\n'
            "    try:\n"
            '        yield from ctx.read_pages("orders", collection="orders", filter=wanted)\n'
            "    except ToolError as error:\n"
            '        ctx.log("orders_unavailable", code=error.code)\n\n\n'
            "def parse(body: dict[str, Any]) -> Order:",
        ),
    ),
    defect(
        "parsed_days_are_kept_between_calls",
        "state",
        "imports",
        tool("class Line(NamedTuple):", "DAYS: dict[str, date] = {}\n\n\nclass Line(NamedTuple):"),
        tool(
            "            return moment.astimezone(UTC).date()\n",
            "            return DAYS.setdefault(str(text), moment.astimezone(UTC).date())\n",
        ),
    ),
    defect(
        "sums_begin_where_the_last_call_ended",
        "state",
        ("imports", "ruff", "effects"),
        tool("    sums = Sums()\n", "    sums = begun()\n"),
        tool(
            "def parse(body: dict[str, Any]) -> Order:",
            "def begun(sums: Sums = Sums()) -> Sums:\n    return sums\n\n\ndef parse(body: dict[str, Any]) -> Order:",
        ),
    ),
    defect(
        "a_collection_is_read_that_the_spec_does_not_name",
        "undeclared_access",
        ("policy", "examples"),
        tool(
            "            if first <= order.day <= last:\n",
            '            known = ctx.read("customers", key=order.customer)\n'
            "            if known is not None and first <= order.day <= last:\n",
        ),
        grave=True,
        rule="undeclared_read",
    ),
    defect(
        "a_read_is_declared_that_nothing_uses",
        "undeclared_access",
        "policy",
        spec(
            '{"id": "orders", "connector": "records.query", "config": {"collections": ["orders"]}}',
            '{"id": "orders", "connector": "records.query", "config": {"collections": ["orders"]}},\n'
            '    {"id": "customers", "connector": "records.query", "config": {"collections": ["customers"]}}',
        ),
    ),
    defect(
        "an_order_that_cannot_be_read_is_logged_whole",
        "leaks",
        "path",
        after(
            '            sums.leave_out(row["key"], str(why))\n',
            '            ctx.log("order_left_out", order=row["key"], body=str(row["body"]))\n',
        ),
    ),
    defect("tests_that_look_at_counts_alone", "vacuous_tests", "mutation", suite(WHOLE, COUNTS_ALONE)),
    defect("tests_that_are_content_without_an_error", "vacuous_tests", "mutation", suite(WHOLE, NO_ERROR_ALONE)),
    defect(
        "more_may_be_asked_for_than_the_result_holds",
        "wrong_schema",
        "properties",
        spec('"minimum": 1, "maximum": 10, "description": "How many', '"minimum": 1, "maximum": 50, "description": "How many'),
    ),
    defect(
        "an_amount_is_declared_as_a_number",
        "wrong_schema",
        "spec",
        spec(
            '"amount": {"type": "string", "maxLength": 32, "pattern": "^[0-9]{1,24}\\\\.[0-9]{2}$", "description"',
            '"amount": {"type": "number", "minimum": 0, "description"',
        ),
    ),
    defect(
        "names_in_the_result_are_unbounded",
        "wrong_schema",
        "spec",
        spec('"sku": {"type": "string", "maxLength": 64, "description"', '"sku": {"type": "string", "description"'),
    ),
    defect(
        "names_are_not_cut_to_what_the_result_holds",
        "wrong_schema",
        ("properties", "tests"),
        tool('{"sku": sku[:LABEL_LENGTH], "quantity"', '{"sku": sku, "quantity"'),
        suite('    assert [len(row["sku"]) for row in t.result["top_products"]] == [64] * 10\n', ""),
    ),
    defect(
        "unreadable_orders_are_counted_as_outside",
        "wrong_bucket",
        "examples",
        tool('            sums.leave_out(row["key"], str(why))\n', "            sums.outside += 1\n"),
        tool("except Unreadable as why:", "except Unreadable:"),
    ),
    defect(
        "refunds_of_other_periods_are_counted",
        "wrong_bucket",
        "properties",
        tool("            self.refunded += 1\n            self.refunds", "            self.refunds"),
        tool(
            "        else:\n            if first <= order.day <= last:\n",
            "        else:\n            sums.refunded += order.refunded\n            if first <= order.day <= last:\n",
        ),
    ),
    defect(
        "refunded_orders_count_for_the_best",
        "wrong_bucket",
        "examples",
        tool("            self.refunds += order.amount\n            return\n", "            self.refunds += order.amount\n"),
    ),
)
