"""Defects of the shape of a load: rows into records, in one transaction, with a receipt."""

from __future__ import annotations

from tests.calibration.defect import WHOLE, after, before, defect, spec, suite, tool, without
from tests.calibration.shapes.load.suites import NOTHING_ASSERTED, PARTS_ALONE, WITHOUT_THE_RECEIPT

DEFECTS = (
    defect(
        "a_later_version_knows_imports_without_their_parts",
        "keys",
        "compatibility",
        spec(
            '"config": {"collection": "products"},\n      "key": "[args.import_id, args.part]"',
            '"config": {"collection": "products"},\n      "key": "[args.import_id]"',
        ),
        grave=True,
        rule="key_changed",
    ),
    defect(
        "each_call_writes_a_receipt_of_its_own",
        "keys",
        "effects",
        tool('{"key": f"{args[\'import_id\']}/{args[\'part\']}", "body": body}', '{"key": ctx.new_id(), "body": body}'),
        spec(
            '"config": {"collection": "import_parts"},\n      "key": "[args.import_id, args.part]"',
            '"config": {"collection": "import_parts"},\n      "key": "[args.import_id, args.part, item.key]"',
        ),
        spec('"item": {"key": "march/1", "body"', '"item": {"body"'),
        spec('"item": {"key": "may/7"}', '"item": {}'),
        grave=True,
        rule="new_effects_on_repeat",
    ),
    defect(
        "receipts_are_told_apart_by_the_time_of_the_call",
        "keys",
        "effects",
        tool('{"key": f"{args[\'import_id\']}/{args[\'part\']}", "body"', '{"key": f"{args[\'import_id\']}/{ctx.now():%H%M%S}", "body"'),
        spec(
            '"config": {"collection": "import_parts"},\n      "key": "[args.import_id, args.part]"',
            '"config": {"collection": "import_parts"},\n      "key": "[args.part, item.key]"',
        ),
        spec('"item": {"key": "march/1", "body"', '"item": {"body"'),
        spec('"item": {"key": "may/7"}', '"item": {}'),
        grave=True,
        rule="new_effects_on_repeat",
    ),
    defect(
        "the_receipt_is_written_before_the_rows",
        "order",
        "examples",
        before("    stored = store(ctx, records)\n", "    receipt = write_receipt(args, ctx)\n"),
        without(
            '    there = stored is None or stored.status in ("done", "skipped")\n'
            '    receipt = write_receipt(args, ctx) if there else "none"\n'
        ),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "of_rows_with_one_ean_the_last_counts",
        "order",
        ("examples", "properties"),
        tool(
            '        if row["ean"] in seen:\n            tally.duplicates += 1\n            continue\n',
            '        if row["ean"] in seen:\n'
            "            tally.duplicates += 1\n"
            '            records = [record for record in records if record["key"] != row["ean"]]\n',
        ),
    ),
    defect(
        "products_are_compared_with_the_first_page_alone",
        "order",
        ("examples", "effects"),
        tool(
            'in ctx.read_pages("present", collection="products", filter={"supplier": args["supplier"]})',
            'in ctx.read("present", collection="products", filter={"supplier": args["supplier"]})["items"]',
        ),
        suite("for number in range(600)]", "for number in range(60)]"),
    ),
    defect(
        "products_that_are_there_are_kept_between_calls",
        "state",
        ("imports", "effects"),
        tool("class Product(NamedTuple):", "PRESENT: dict[str, Any] = {}\n\n\nclass Product(NamedTuple):"),
        tool("    tally = Tally()\n", "    present = {**present, **PRESENT}\n    PRESENT.update(present)\n    tally = Tally()\n"),
        grave=True,
        rule="module_state",
    ),
    defect(
        "the_samples_of_all_calls_are_one_list",
        "state",
        ("imports", "ruff", "effects"),
        without("from dataclasses import dataclass, field\n"),
        tool("@dataclass\nclass Tally:", "class Tally:"),
        tool("samples: list[Sample] = field(default_factory=list)", "samples: list[Sample] = []"),
    ),
    defect(
        "cents_are_cut_off_a_binary_fraction",
        "money",
        "examples",
        tool("    cents = int(found[1]) * 100 + int(found[2] or 0)\n", "    cents = int(float(text) * 100)\n"),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "whatever_python_reads_as_a_number_is_a_price",
        "money",
        "properties",
        tool(
            "    found = PRICE.fullmatch(text)\n"
            "    if found is None:\n"
            '        raise Unfit("price_unreadable")\n'
            "    cents = int(found[1]) * 100 + int(found[2] or 0)\n",
            "    try:\n"
            "        amount = float(text)\n"
            "    except ValueError:\n"
            '        raise Unfit("price_unreadable") from None\n'
            "    if amount < 0:\n"
            '        raise Unfit("price_unreadable")\n'
            "    cents = round(amount * 100)\n",
        ),
        spec('"name": "Desk", "price": "1.5", "stock"', '"name": "Desk", "price": "1.5.", "stock"'),
        suite('        ({"price": "1.5"}, "price_unreadable"),\n', ""),
        suite('        ({"price": "1.505"}, "price_unreadable"),\n', ""),
        suite('        ({"price": "12345678"}, "price_unreadable"),\n', ""),
        suite('        ({"price": "Infinity"}, "price_unreadable"),\n', ""),
    ),
    defect(
        "digits_of_any_script_are_digits_of_an_ean",
        "wrong_schema",
        "properties",
        tool("EAN.fullmatch(text) is not None and sum(", "len(text) == 13 and text.isdigit() and sum("),
        without('EAN = re.compile(r"[0-9]{13}")\n'),
        suite(', ("\\u0664006381333931", False)', ""),
    ),
    defect(
        "products_carry_the_time_of_their_load",
        "time",
        ("examples", "effects"),
        tool("    records = fit(args, present, tally)\n", "    records = fit(args, ctx, present, tally)\n"),
        tool("def fit(args: Args, present:", "def fit(args: Args, ctx: Context, present:"),
        tool('body = product(args["supplier"], row)\n', 'body = {**product(args["supplier"], row), "loaded_at": ctx.now().isoformat()}\n'),
        spec(
            '"name": "Pen", "price_cents": 175, "stock": 12}, "expected_version": 1},',
            '"name": "Pen", "price_cents": 175, "stock": 12, "loaded_at": "2026-03-01T09:00:00+00:00"}, "expected_version": 1},',
        ),
        spec(
            '"name": "Desk set", "price_cents": 3900, "stock": 2}, "expected_version": 0}',
            '"name": "Desk set", "price_cents": 3900, "stock": 2, "loaded_at": "2026-03-01T09:00:00+00:00"}, "expected_version": 0}',
        ),
    ),
    defect(
        "the_receipt_carries_the_machine_s_day",
        "time",
        "imports",
        after("from dataclasses import dataclass, field\n", "from datetime import datetime\n"),
        tool('"rows": len(args["rows"])}\n    written', '"rows": len(args["rows"]), "on": f"{datetime.now():%Y-%m-%d}"}\n    written'),
    ),
    defect(
        "a_part_that_failed_is_never_loaded",
        "retries",
        "tests",
        spec(
            '"retry_failed": true,\n      "limits": {"per_run": 1},\n      "ledger"',
            '"retry_failed": false,\n      "limits": {"per_run": 1},\n      "ledger"',
        ),
        grave=True,
        rule="test_failed",
    ),
    defect(
        "a_part_that_is_loaded_already_is_an_error",
        "retries",
        ("examples", "effects"),
        tool(
            "    stored = store(ctx, records)\n",
            "    if not records:\n"
            '        raise ToolError("nothing_to_load", "All products are so already.")\n'
            "    stored = store(ctx, records)\n",
        ),
        suite(
            'assert counted(t) == {"rows": 2, "unchanged": 2}\n    assert t.result["receipt"] == "skipped"\n',
            'assert t.error is not None and t.error["code"] == "nothing_to_load"\n',
        ),
    ),
    defect(
        "a_product_is_overwritten_whoever_has_changed_it_since",
        "concurrency",
        "examples",
        tool('"body": body, "expected_version": there.version if there is not None else 0}', '"body": body}'),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "what_another_run_wrote_counts_as_written_by_this_one",
        "concurrency",
        "effects",
        tool(
            '"written": records if status == "done" else 0,\n        "skipped": records if status == "skipped" else 0,',
            '"written": records if status in ("done", "skipped") else 0,\n        "skipped": 0,',
        ),
        grave=True,
        rule="twins_differ",
    ),
    defect(
        "rows_are_written_one_by_one_as_they_come",
        "transactions",
        "examples",
        tool('{"records": records, "atomic": True}', '{"records": records, "atomic": False}'),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "the_receipt_is_written_for_a_part_that_failed_too",
        "transactions",
        ("examples", "effects"),
        without('    there = stored is None or stored.status in ("done", "skipped")\n'),
        tool('receipt = write_receipt(args, ctx) if there else "none"', "receipt = write_receipt(args, ctx)"),
        grave=True,
        rule="example_effect_extra",
    ),
    defect(
        "a_part_with_an_invalid_row_is_refused_after_it_is_written",
        "transactions",
        "examples",
        without("    stored = store(ctx, records)\n"),
        before('    if tally.invalid and args["on_invalid"] == "refuse":\n', "    stored = store(ctx, records)\n"),
        grave=True,
        rule="example_effect_extra",
    ),
    defect(
        "what_became_of_the_receipt_is_not_looked_at",
        "swallowed_errors",
        "effects",
        tool('written = ctx.perform("receipt"', 'ctx.perform("receipt"'),
        tool(
            '"body": body}).status\n    return written if written == "done" or written == "skipped" else "failed"',
            '"body": body})\n    return "done"',
        ),
        grave=True,
        rule="fails_on_repeat",
    ),
    defect(
        "a_row_that_breaks_is_passed_over",
        "swallowed_errors",
        ("examples", "properties"),
        tool(
            "        except Unfit as unfit:\n            tally.refuse(number, str(unfit))\n            continue\n",
            "        except (Unfit, ValueError):\n            continue\n",
        ),
    ),
    defect(
        "without_the_products_all_rows_are_new",
        "swallowed_errors",
        "policy",
        tool(
            "    present = {\n"
            '        row["key"]: Product(row["version"], row["body"])\n'
            '        for row in ctx.read_pages("present", collection="products", filter={"supplier": args["supplier"]})\n'
            "    }\n",
            "    present: dict[str, Product] = {}\n"
            "    try:\n"
            '        for row in ctx.read_pages("present", collection="products", filter={"supplier": args["supplier"]}):\n'
            '            present[row["key"]] = Product(row["version"], row["body"])\n'
            "    except ToolError as error:\n"
            '        ctx.log("products_unreadable", code=error.code)\n',
        ),
        grave=True,
        rule="refusal_passed_over",
    ),
    defect(
        "prices_are_rounded_by_a_ruleset_that_is_not_declared",
        "undeclared_access",
        "policy",
        after("    tally = Tally()\n", '    ctx.read("rounding", key=args["supplier"])\n'),
        grave=True,
        rule="undeclared_read",
    ),
    defect(
        "products_that_are_not_in_the_list_are_taken_off_without_a_word_of_it",
        "undeclared_access",
        "policy",
        tool(
            "    ctx.progress(len(args",
            '    for gone in sorted(set(present) - {row["ean"] for row in args["rows"]}):\n'
            '        ctx.perform("withdraw", {"key": gone, "body": {"supplier": args["supplier"], "stock": 0}})\n'
            "    ctx.progress(len(args",
        ),
        grave=True,
        rule="undeclared_effect",
    ),
    defect(
        "who_sent_the_list_is_logged",
        "leaks",
        "path",
        tool('ctx.log("load_started", part', 'ctx.log("load_started", by=args.get("uploaded_by", ""), part'),
    ),
    defect(
        "the_name_before_the_at_is_logged",
        "leaks",
        "path",
        tool('ctx.log("load_started", part', 'ctx.log("load_started", by=args.get("uploaded_by", "").split("@")[0], part'),
        spec('"uploaded_by": "c1@example.com"', '"uploaded_by": "ann.bob@example.com"'),
    ),
    defect("a_suite_that_asserts_nothing", "vacuous_tests", "mutation", suite(WHOLE, NOTHING_ASSERTED)),
    defect("a_suite_that_never_looks_at_the_receipt", "vacuous_tests", "mutation", suite(WHOLE, WITHOUT_THE_RECEIPT)),
    defect("a_suite_of_the_parts_alone", "vacuous_tests", "mutation", suite(WHOLE, PARTS_ALONE)),
    defect("samples_are_longer_than_the_spec_says", "wrong_schema", ("properties", "examples"), tool("SAMPLES = 5", "SAMPLES = 20")),
    defect("a_sample_names_its_row_by_text", "wrong_schema", "mypy", tool('{"row": number, "reason"', '{"row": str(number), "reason"')),
    defect(
        "rows_may_hold_anything",
        "wrong_schema",
        "spec",
        spec('"title": "Row", "type": "object", "additionalProperties": false,', '"title": "Row", "type": "object",'),
    ),
    defect(
        "an_optional_argument_is_taken_for_granted",
        "wrong_schema",
        ("examples", "properties"),
        tool('ctx.log("load_started", part', 'ctx.log("load_started", known=bool(args["uploaded_by"]), part'),
    ),
    defect(
        "what_is_so_already_counts_as_written",
        "wrong_bucket",
        ("examples", "properties", "effects"),
        tool('"written": records if status == "done" else 0,', '"written": (records if status == "done" else 0) + tally.unchanged,'),
        tool('"unchanged": tally.unchanged,', '"unchanged": 0,'),
        grave=True,
        rule="example_invariant",
    ),
    defect(
        "rows_of_one_ean_count_as_invalid_too",
        "wrong_bucket",
        ("examples", "properties"),
        after("            tally.duplicates += 1\n", '            tally.refuse(number, "duplicate")\n'),
    ),
    defect(
        "an_ean_of_another_check_digit_is_taken",
        "wrong_bucket",
        "examples",
        without(" and sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(text)) % 10 == 0"),
    ),
)
