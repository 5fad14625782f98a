"""Defects of the shape of a pure computation: an order is priced, with discount and tax."""

from __future__ import annotations

from tests.calibration.defect import WHOLE, before, defect, spec, suite, tool, without
from tests.calibration.shapes.pure_computation.suites import COMPUTED_BY_THE_TOOL, NOTHING_ASSERTED, TOTALS_ALONE

DEFECTS = (
    defect(
        "prices_are_binary_floating_point",
        "money",
        "examples",
        tool(
            'return cents(quantity * Decimal(line["unit_price"]) * 100)', 'return round(float(quantity) * float(line["unit_price"]) * 100)'
        ),
    ),
    defect(
        "halves_are_rounded_to_the_even_cent",
        "money",
        "examples",
        tool("from decimal import ROUND_HALF_UP, Decimal", "from decimal import Decimal"),
        tool("int(amount.quantize(Decimal(1), ROUND_HALF_UP))", "int(amount.quantize(Decimal(1)))"),
    ),
    defect(
        "the_cents_left_over_of_a_discount_are_lost",
        "money",
        "properties",
        without(
            "    left = discount - sum(shares.values())\n"
            "    by_remainder = sorted(net, key=lambda rate: -(discount * net[rate] % whole))\n"
            "    for rate in by_remainder[:left]:\n"
            "        shares[rate] += 1\n"
        ),
    ),
    defect(
        "each_share_of_a_discount_is_rounded_by_itself",
        "money",
        ("properties", "tests"),
        tool(
            "    shares = {rate: discount * amount // whole for rate, amount in net.items()}\n"
            "    left = discount - sum(shares.values())\n"
            "    by_remainder = sorted(net, key=lambda rate: -(discount * net[rate] % whole))\n"
            "    for rate in by_remainder[:left]:\n"
            "        shares[rate] += 1\n"
            "    return shares\n",
            "    return {rate: cents(Decimal(discount * amount) / whole) for rate, amount in net.items()}\n",
        ),
    ),
    defect(
        "tax_is_cut_off_instead_of_rounded",
        "money",
        "examples",
        tool("cents(Decimal(net) * RATES[rate] / 100)}", "int(Decimal(net) * RATES[rate] / 100)}"),
    ),
    defect(
        "lines_are_rounded_only_in_their_sum",
        "order",
        "examples",
        tool("net = dict.fromkeys(RATES, 0)", "exact = dict.fromkeys(RATES, Decimal(0))"),
        tool(
            'net[line["rate"]] += line_cents(line)\n',
            'exact[line["rate"]] += line_cents(line)\n    net = {rate: cents(amount) for rate, amount in exact.items()}\n',
        ),
        tool("def line_cents(line: Line) -> int:", "def line_cents(line: Line) -> Decimal:"),
        tool('return cents(quantity * Decimal(line["unit_price"]) * 100)', 'return quantity * Decimal(line["unit_price"]) * 100'),
    ),
    defect(
        "tax_is_computed_before_the_discount",
        "order",
        "examples",
        tool("taxed(rate, net[rate] - shares[rate]) for rate", "taxed(rate, net[rate], shares[rate]) for rate"),
        tool("def taxed(rate: str, net: int) -> Rate:", "def taxed(rate: str, net: int, share: int) -> Rate:"),
        tool('{"net_cents": net, "tax_cents"', '{"net_cents": net - share, "tax_cents"'),
    ),
    defect(
        "a_counter_of_orders_is_kept_in_the_module",
        "state",
        "imports",
        before("from types import MappingProxyType", "from itertools import count\n"),
        tool("SATURDAY, SUNDAY = 5, 6", "SATURDAY, SUNDAY = 5, 6\nNUMBERS = count(1)"),
        tool('ctx.log("order_priced", lines', 'ctx.log("order_priced", number=next(NUMBERS), lines'),
    ),
    defect(
        "the_tax_rates_are_changed_for_good_by_one_order",
        "state",
        ("imports", "effects"),
        tool("from types import MappingProxyType\n\n", "\n"),
        tool(
            "    rates = {rate: taxed(rate, net[rate] - shares[rate]) for rate in RATES}\n"
            '    tax = sum(rate["tax_cents"] for rate in rates.values())\n',
            "    each = {rate: taxed(rate, net[rate] - shares[rate]) for rate in RATES}\n"
            '    tax = sum(rate["tax_cents"] for rate in each.values())\n',
        ),
        tool(
            '{"zero": rates["zero"], "reduced": rates["reduced"], "standard": rates["standard"]}',
            '{"zero": each["zero"], "reduced": each["reduced"], "standard": each["standard"]}',
        ),
        tool(
            'RATES = MappingProxyType({"zero": Decimal(0), "reduced": Decimal(7), "standard": Decimal(19)})',
            'RATES = {"zero": Decimal(0), "reduced": Decimal(7), "standard": Decimal(19)}',
        ),
        tool(
            "    net = dict.fromkeys(RATES, 0)\n",
            "    net = dict.fromkeys(RATES, 0)\n"
            "    rates = RATES\n"
            '    if "2020-07-01" <= args["issued_on"] <= "2020-12-31":  # lowered for half a year\n'
            '        rates["standard"], rates["reduced"] = Decimal(16), Decimal(5)\n',
        ),
    ),
    defect(
        "the_day_of_the_invoice_is_the_machine_s",
        "time",
        "imports",
        tool('due_on(args["issued_on"], args["due_days"])', 'due_on(date.today().isoformat(), args["due_days"])'),
    ),
    defect(
        "a_saturday_counts_as_a_weekday",
        "time",
        "examples",
        tool("if due.weekday() in (SATURDAY, SUNDAY):", "if due.weekday() > SATURDAY:"),
    ),
    defect(
        "a_day_that_is_not_in_the_calendar_breaks_the_run",
        "time",
        "properties",
        tool(
            "    try:\n"
            "        due = date.fromisoformat(issued) + timedelta(days=days)\n"
            "        if due.weekday() in (SATURDAY, SUNDAY):\n"
            "            due += timedelta(days=7 - due.weekday())\n"
            "    except (ValueError, OverflowError):\n"
            '        raise ToolError("date_invalid", f"{issued} and the days after it are not in the calendar.") from None\n',
            "    due = date.fromisoformat(issued) + timedelta(days=days)\n"
            "    if due.weekday() in (SATURDAY, SUNDAY):\n"
            "        due += timedelta(days=7 - due.weekday())\n",
        ),
    ),
    defect(
        "a_month_is_thirty_days",
        "time",
        "tests",
        tool("from datetime import date, timedelta", "from datetime import date"),
        tool(
            "due = date.fromisoformat(issued) + timedelta(days=days)",
            "day = date.fromisoformat(issued)\n"
            "        months, rest = divmod(day.day - 1 + days, 30)\n"
            "        due = date(day.year + (day.month - 1 + months) // 12, (day.month - 1 + months) % 12 + 1, min(rest + 1, 28))",
        ),
        tool("due += timedelta(days=7 - due.weekday())", "due = date(due.year, due.month, due.day + 7 - due.weekday())"),
    ),
    defect(
        "a_line_that_orders_nothing_is_passed_over",
        "swallowed_errors",
        "examples",
        tool('        raise ToolError("quantity_zero", f"The line {line[\'sku\']!r} orders nothing.")\n', "        return 0\n"),
    ),
    defect(
        "whatever_a_line_breaks_counts_as_nothing",
        "swallowed_errors",
        "ruff",
        tool(
            '        net[line["rate"]] += line_cents(line)\n',
            '        try:\n            net[line["rate"]] += line_cents(line)\n        except Exception:\n            continue\n',
        ),
    ),
    defect(
        "an_order_over_the_limit_is_cut_to_it",
        "swallowed_errors",
        "tests",
        tool('        raise ToolError("too_large", "An order is at most ten thousand million.")\n', "        subtotal = MOST_CENTS\n"),
    ),
    defect(
        "rates_are_read_from_records_without_being_declared",
        "undeclared_access",
        "policy",
        before('    ctx.log("order_priced"', '    ctx.read("tax_rates", key="standard")\n'),
        grave=True,
        rule="undeclared_read",
    ),
    defect(
        "rates_are_taken_from_the_environment",
        "undeclared_access",
        "imports",
        before("from collections.abc import Mapping\n", "import os\n"),
        tool('"standard": Decimal(19)}', '"standard": Decimal(os.environ.get("VAT_STANDARD", "19"))}'),
        grave=True,
        rule="import",
    ),
    defect(
        "the_customer_is_logged",
        "leaks",
        "path",
        tool('ctx.log("order_priced", lines', 'ctx.log("order_priced", customer=args["customer"]["email"], lines'),
    ),
    defect(
        "the_arguments_are_logged_as_they_came",
        "leaks",
        "path",
        tool('ctx.log("order_priced", lines', 'ctx.log("order_asked", args=str(args))\n    ctx.log("order_priced", lines'),
    ),
    defect("a_suite_that_asserts_nothing", "vacuous_tests", "mutation", suite(WHOLE, NOTHING_ASSERTED)),
    defect("a_suite_that_computes_by_the_tool", "vacuous_tests", "mutation", suite(WHOLE, COMPUTED_BY_THE_TOOL)),
    defect("a_suite_of_totals_alone", "vacuous_tests", "mutation", suite(WHOLE, TOTALS_ALONE)),
    defect("amounts_are_given_as_text", "wrong_schema", "mypy", tool('"tax_cents": tax,', '"tax_cents": str(tax),')),
    defect(
        "the_spec_allows_less_than_an_order_may_cost",
        "wrong_schema",
        "properties",
        spec(
            '"subtotal_cents": {"type": "integer", "minimum": 0, "maximum": 1000000000000,',
            '"subtotal_cents": {"type": "integer", "minimum": 0, "maximum": 100000000,',
        ),
    ),
    defect("a_field_that_is_not_described", "wrong_schema", "spec", spec('"description": "Day of payment."', '"title": "Due"')),
    defect(
        "an_invariant_that_the_examples_break",
        "wrong_schema",
        "spec",
        spec("result.net_cents + result.tax_cents == result.gross_cents", "result.subtotal_cents + result.tax_cents == result.gross_cents"),
    ),
    defect(
        "the_reduced_rate_counts_as_the_standard_one",
        "wrong_bucket",
        "examples",
        tool('"reduced": rates["reduced"], "standard": rates["standard"]', '"reduced": rates["standard"], "standard": rates["reduced"]'),
    ),
    defect(
        "what_is_left_of_a_discount_goes_to_the_rate_without_tax",
        "wrong_bucket",
        ("tests", "properties"),
        tool(
            "    by_remainder = sorted(net, key=lambda rate: -(discount * net[rate] % whole))\n"
            "    for rate in by_remainder[:left]:\n"
            "        shares[rate] += 1\n",
            '    shares["zero"] += left\n',
        ),
    ),
    defect(
        "the_discount_is_left_out_where_there_is_one_rate",
        "wrong_bucket",
        ("properties", "tests"),
        tool(
            "    if not whole:\n        return dict.fromkeys(net, 0)\n",
            "    if not whole or sum(amount > 0 for amount in net.values()) == 1:\n        return dict.fromkeys(net, 0)\n",
        ),
    ),
)
