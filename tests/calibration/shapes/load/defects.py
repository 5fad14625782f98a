"""Defects of the shape of a load: rows into records, in one transaction, with a receipt."""

from __future__ import annotations

from tests.calibration.defect import WHOLE, Change, Defect
from tests.calibration.shapes.load.suites import NOTHING_ASSERTED, PARTS_ALONE, WITHOUT_THE_RECEIPT

DEFECTS = (
    Defect(
        "a_later_version_knows_imports_without_their_parts",
        "keys",
        "compatibility",
        (
            Change(
                "spec.json",
                '"config": {"collection": "products"},\n      "key": "[args.import_id, args.part]"',
                '"config": {"collection": "products"},\n      "key": "[args.import_id]"',
            ),
        ),
        grave=True,
    ),
    Defect(
        "each_call_writes_a_receipt_of_its_own",
        "keys",
        "effects",
        (
            Change("tool.py", '{"key": f"{args[\'import_id\']}/{args[\'part\']}", "body": body}', '{"key": ctx.new_id(), "body": body}'),
            Change(
                "spec.json",
                '"config": {"collection": "import_parts"},\n      "key": "[args.import_id, args.part]"',
                '"config": {"collection": "import_parts"},\n      "key": "[args.import_id, args.part, item.key]"',
            ),
            Change("spec.json", '"item": {"key": "march/1", "body"', '"item": {"body"'),
            Change("spec.json", '"item": {"key": "may/7"}', '"item": {}'),
        ),
        grave=True,
    ),
    Defect(
        "receipts_are_told_apart_by_the_time_of_the_call",
        "keys",
        "effects",
        (
            Change(
                "tool.py",
                '{"key": f"{args[\'import_id\']}/{args[\'part\']}", "body"',
                '{"key": f"{args[\'import_id\']}/{ctx.now():%H%M%S}", "body"',
            ),
            Change(
                "spec.json",
                '"config": {"collection": "import_parts"},\n      "key": "[args.import_id, args.part]"',
                '"config": {"collection": "import_parts"},\n      "key": "[args.part, item.key]"',
            ),
            Change("spec.json", '"item": {"key": "march/1", "body"', '"item": {"body"'),
            Change("spec.json", '"item": {"key": "may/7"}', '"item": {}'),
        ),
        grave=True,
    ),
    Defect(
        "the_receipt_is_written_before_the_rows",
        "order",
        "examples",
        (
            Change(
                "tool.py",
                "    stored = store(ctx, records)\n",
                "    receipt = write_receipt(args, ctx)\n    stored = store(ctx, records)\n",
            ),
            Change(
                "tool.py",
                '    there = stored is None or stored.status in ("done", "skipped")\n'
                '    receipt = write_receipt(args, ctx) if there else "none"\n',
                "",
            ),
        ),
        grave=True,
    ),
    Defect(
        "of_rows_with_one_ean_the_last_counts",
        "order",
        ("examples", "properties"),
        (
            Change(
                "tool.py",
                '        if row["ean"] in seen:\n            tally.duplicates += 1\n            continue\n',
                '        if row["ean"] in seen:\n'
                "            tally.duplicates += 1\n"
                '            records = [record for record in records if record["key"] != row["ean"]]\n',
            ),
        ),
    ),
    Defect(
        "products_are_compared_with_the_first_page_alone",
        "order",
        ("examples", "effects"),
        (
            Change(
                "tool.py",
                'in ctx.read_pages("present", collection="products", filter={"supplier": args["supplier"]})',
                'in ctx.read("present", collection="products", filter={"supplier": args["supplier"]})["items"]',
            ),
            Change("test_tool.py", "for number in range(600)]", "for number in range(60)]"),
        ),
    ),
    Defect(
        "products_that_are_there_are_kept_between_calls",
        "state",
        ("imports", "effects"),
        (
            Change("tool.py", "class Product(NamedTuple):", "PRESENT: dict[str, Any] = {}\n\n\nclass Product(NamedTuple):"),
            Change(
                "tool.py",
                "    tally = Tally()\n",
                "    present = {**present, **PRESENT}\n    PRESENT.update(present)\n    tally = Tally()\n",
            ),
        ),
        grave=True,
    ),
    Defect(
        "the_samples_of_all_calls_are_one_list",
        "state",
        ("imports", "ruff", "effects"),
        (
            Change("tool.py", "from dataclasses import dataclass, field\n", ""),
            Change("tool.py", "@dataclass\nclass Tally:", "class Tally:"),
            Change("tool.py", "samples: list[Sample] = field(default_factory=list)", "samples: list[Sample] = []"),
        ),
    ),
    Defect(
        "cents_are_cut_off_a_binary_fraction",
        "money",
        "examples",
        (Change("tool.py", "    cents = int(found[1]) * 100 + int(found[2] or 0)\n", "    cents = int(float(text) * 100)\n"),),
        grave=True,
    ),
    Defect(
        "whatever_python_reads_as_a_number_is_a_price",
        "money",
        "properties",
        (
            Change(
                "tool.py",
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
            Change("spec.json", '"name": "Desk", "price": "1.5", "stock"', '"name": "Desk", "price": "1.5.", "stock"'),
            Change("test_tool.py", '        ({"price": "1.5"}, "price_unreadable"),\n', ""),
            Change("test_tool.py", '        ({"price": "1.505"}, "price_unreadable"),\n', ""),
            Change("test_tool.py", '        ({"price": "12345678"}, "price_unreadable"),\n', ""),
            Change("test_tool.py", '        ({"price": "Infinity"}, "price_unreadable"),\n', ""),
        ),
    ),
    Defect(
        "digits_of_any_script_are_digits_of_an_ean",
        "wrong_schema",
        "properties",
        (
            Change("tool.py", "EAN.fullmatch(text) is not None and sum(", "len(text) == 13 and text.isdigit() and sum("),
            Change("tool.py", 'EAN = re.compile(r"[0-9]{13}")\n', ""),
            Change("test_tool.py", ', ("\\u0664006381333931", False)', ""),
        ),
    ),
    Defect(
        "products_carry_the_time_of_their_load",
        "time",
        ("examples", "effects"),
        (
            Change("tool.py", "    records = fit(args, present, tally)\n", "    records = fit(args, ctx, present, tally)\n"),
            Change("tool.py", "def fit(args: Args, present:", "def fit(args: Args, ctx: Context, present:"),
            Change(
                "tool.py",
                'body = product(args["supplier"], row)\n',
                'body = {**product(args["supplier"], row), "loaded_at": ctx.now().isoformat()}\n',
            ),
            Change(
                "spec.json",
                '"name": "Pen", "price_cents": 175, "stock": 12}, "expected_version": 1},',
                '"name": "Pen", "price_cents": 175, "stock": 12, "loaded_at": "2026-03-01T09:00:00+00:00"}, "expected_version": 1},',
            ),
            Change(
                "spec.json",
                '"name": "Desk set", "price_cents": 3900, "stock": 2}, "expected_version": 0}',
                '"name": "Desk set", "price_cents": 3900, "stock": 2, "loaded_at": "2026-03-01T09:00:00+00:00"}, "expected_version": 0}',
            ),
        ),
    ),
    Defect(
        "the_receipt_carries_the_machine_s_day",
        "time",
        "imports",
        (
            Change(
                "tool.py",
                "from dataclasses import dataclass, field\n",
                "from dataclasses import dataclass, field\nfrom datetime import datetime\n",
            ),
            Change(
                "tool.py",
                '"rows": len(args["rows"])}\n    written',
                '"rows": len(args["rows"]), "on": f"{datetime.now():%Y-%m-%d}"}\n    written',
            ),
        ),
    ),
    Defect(
        "a_part_that_failed_is_never_loaded",
        "retries",
        "tests",
        (
            Change(
                "spec.json",
                '"retry_failed": true,\n      "limits": {"per_run": 1},\n      "ledger"',
                '"retry_failed": false,\n      "limits": {"per_run": 1},\n      "ledger"',
            ),
        ),
        grave=True,
    ),
    Defect(
        "a_part_that_is_loaded_already_is_an_error",
        "retries",
        ("examples", "effects"),
        (
            Change(
                "tool.py",
                "    stored = store(ctx, records)\n",
                "    if not records:\n"
                '        raise ToolError("nothing_to_load", "All products are so already.")\n'
                "    stored = store(ctx, records)\n",
            ),
            Change(
                "test_tool.py",
                'assert counted(t) == {"rows": 2, "unchanged": 2}\n    assert t.result["receipt"] == "skipped"\n',
                'assert t.error is not None and t.error["code"] == "nothing_to_load"\n',
            ),
        ),
    ),
    Defect(
        "a_product_is_overwritten_whoever_has_changed_it_since",
        "concurrency",
        "examples",
        (Change("tool.py", '"body": body, "expected_version": there.version if there is not None else 0}', '"body": body}'),),
        grave=True,
    ),
    Defect(
        "what_another_run_wrote_counts_as_written_by_this_one",
        "concurrency",
        "effects",
        (
            Change(
                "tool.py",
                '"written": records if status == "done" else 0,\n        "skipped": records if status == "skipped" else 0,',
                '"written": records if status in ("done", "skipped") else 0,\n        "skipped": 0,',
            ),
        ),
        grave=True,
    ),
    Defect(
        "rows_are_written_one_by_one_as_they_come",
        "transactions",
        "examples",
        (Change("tool.py", '{"records": records, "atomic": True}', '{"records": records, "atomic": False}'),),
        grave=True,
    ),
    Defect(
        "the_receipt_is_written_for_a_part_that_failed_too",
        "transactions",
        ("examples", "effects"),
        (
            Change("tool.py", '    there = stored is None or stored.status in ("done", "skipped")\n', ""),
            Change("tool.py", 'receipt = write_receipt(args, ctx) if there else "none"', "receipt = write_receipt(args, ctx)"),
        ),
        grave=True,
    ),
    Defect(
        "a_part_with_an_invalid_row_is_refused_after_it_is_written",
        "transactions",
        "examples",
        (
            Change("tool.py", "    stored = store(ctx, records)\n", ""),
            Change(
                "tool.py",
                '    if tally.invalid and args["on_invalid"] == "refuse":\n',
                '    stored = store(ctx, records)\n    if tally.invalid and args["on_invalid"] == "refuse":\n',
            ),
        ),
        grave=True,
    ),
    Defect(
        "what_became_of_the_receipt_is_not_looked_at",
        "swallowed_errors",
        "effects",
        (
            Change("tool.py", 'written = ctx.perform("receipt"', 'ctx.perform("receipt"'),
            Change(
                "tool.py",
                '"body": body}).status\n    return written if written == "done" or written == "skipped" else "failed"',
                '"body": body})\n    return "done"',
            ),
        ),
        grave=True,
    ),
    Defect(
        "a_row_that_breaks_is_passed_over",
        "swallowed_errors",
        ("examples", "properties"),
        (
            Change(
                "tool.py",
                "        except Unfit as unfit:\n            tally.refuse(number, str(unfit))\n            continue\n",
                "        except (Unfit, ValueError):\n            continue\n",
            ),
        ),
    ),
    Defect(
        "without_the_products_all_rows_are_new",
        "swallowed_errors",
        "policy",
        (
            Change(
                "tool.py",
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
        ),
        grave=True,
    ),
    Defect(
        "prices_are_rounded_by_a_ruleset_that_is_not_declared",
        "undeclared_access",
        "policy",
        (Change("tool.py", "    tally = Tally()\n", '    tally = Tally()\n    ctx.read("rounding", key=args["supplier"])\n'),),
        grave=True,
    ),
    Defect(
        "products_that_are_not_in_the_list_are_taken_off_without_a_word_of_it",
        "undeclared_access",
        "policy",
        (
            Change(
                "tool.py",
                "    ctx.progress(len(args",
                '    for gone in sorted(set(present) - {row["ean"] for row in args["rows"]}):\n'
                '        ctx.perform("withdraw", {"key": gone, "body": {"supplier": args["supplier"], "stock": 0}})\n'
                "    ctx.progress(len(args",
            ),
        ),
        grave=True,
    ),
    Defect(
        "who_sent_the_list_is_logged",
        "leaks",
        "path",
        (Change("tool.py", 'ctx.log("load_started", part', 'ctx.log("load_started", by=args.get("uploaded_by", ""), part'),),
    ),
    Defect(
        "the_name_before_the_at_is_logged",
        "leaks",
        "path",
        (
            Change("tool.py", 'ctx.log("load_started", part', 'ctx.log("load_started", by=args.get("uploaded_by", "").split("@")[0], part'),
            Change("spec.json", '"uploaded_by": "c1@example.com"', '"uploaded_by": "ann.bob@example.com"'),
        ),
    ),
    Defect("a_suite_that_asserts_nothing", "vacuous_tests", "mutation", (Change("test_tool.py", WHOLE, NOTHING_ASSERTED),)),
    Defect("a_suite_that_never_looks_at_the_receipt", "vacuous_tests", "mutation", (Change("test_tool.py", WHOLE, WITHOUT_THE_RECEIPT),)),
    Defect("a_suite_of_the_parts_alone", "vacuous_tests", "mutation", (Change("test_tool.py", WHOLE, PARTS_ALONE),)),
    Defect(
        "samples_are_longer_than_the_spec_says",
        "wrong_schema",
        ("properties", "examples"),
        (Change("tool.py", "SAMPLES = 5", "SAMPLES = 20"),),
    ),
    Defect(
        "a_sample_names_its_row_by_text",
        "wrong_schema",
        "mypy",
        (Change("tool.py", '{"row": number, "reason"', '{"row": str(number), "reason"'),),
    ),
    Defect(
        "rows_may_hold_anything",
        "wrong_schema",
        "spec",
        (Change("spec.json", '"title": "Row", "type": "object", "additionalProperties": false,', '"title": "Row", "type": "object",'),),
    ),
    Defect(
        "an_optional_argument_is_taken_for_granted",
        "wrong_schema",
        ("examples", "properties"),
        (Change("tool.py", 'ctx.log("load_started", part', 'ctx.log("load_started", known=bool(args["uploaded_by"]), part'),),
    ),
    Defect(
        "what_is_so_already_counts_as_written",
        "wrong_bucket",
        ("examples", "properties", "effects"),
        (
            Change(
                "tool.py",
                '"written": records if status == "done" else 0,',
                '"written": (records if status == "done" else 0) + tally.unchanged,',
            ),
            Change("tool.py", '"unchanged": tally.unchanged,', '"unchanged": 0,'),
        ),
        grave=True,
    ),
    Defect(
        "rows_of_one_ean_count_as_invalid_too",
        "wrong_bucket",
        ("examples", "properties"),
        (
            Change(
                "tool.py",
                "            tally.duplicates += 1\n",
                '            tally.duplicates += 1\n            tally.refuse(number, "duplicate")\n',
            ),
        ),
    ),
    Defect(
        "an_ean_of_another_check_digit_is_taken",
        "wrong_bucket",
        "examples",
        (
            Change(
                "tool.py",
                " and sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(text)) % 10 == 0",
                "",
            ),
        ),
    ),
)
