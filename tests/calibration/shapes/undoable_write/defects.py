"""Defects of the undoable_write shape: prices that a promotion reduces, and what is kept to put them back."""

from __future__ import annotations

from tests.calibration.defect import WHOLE, after, before, defect, spec, suite, tool, without
from tests.calibration.shapes.undoable_write.suites import NOBODY_LOOKS_AT_PRICES, NOTHING_ASSERTED

REPRICE = (
    '"config": {"collection": "products"},\n      "key": "[args.promotion_id, item.key, item.expected_version]",\n'
    '      "criticality": "required",\n'
)
REPRICE_KEY = '"id": "reprice",\n      "connector": "records.put",\n      ' + REPRICE
RESTORE_KEY = '"id": "restore",\n      "connector": "records.put",\n      ' + REPRICE
UNDO = '{"key": "item.key", "body": "item.body.regular", "expected_version": "receipt.version"}'
ITEM = '"body": {**body, "price": str(reduced), "promotion": promotion.id, "regular": body},'
OWN = '    if present == promotion.id:\n        raise LeftOut("already", "already")\n'

DEFECTS = (
    defect(
        "products_of_one_version_share_a_key",
        "keys",
        "examples",
        spec(REPRICE_KEY, REPRICE_KEY.replace("item.key, ", "")),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "a_promotion_can_never_be_started_again",
        "keys",
        ("tests", "rollback"),
        spec(REPRICE_KEY, REPRICE_KEY.replace(", item.expected_version", "")),
        grave=True,
        rule="test_failed",
    ),
    defect(
        "a_later_version_forgets_the_promotion_in_the_key",
        "keys",
        "compatibility",
        spec(REPRICE_KEY, REPRICE_KEY.replace("args.promotion_id, ", "")),
        grave=True,
        rule="key_changed",
    ),
    defect("outcomes_are_put_to_the_wrong_products", "order", "examples", tool("under_way.popleft()", "under_way.pop()")),
    defect(
        "every_product_of_the_shop_is_reduced",
        "order",
        "examples",
        tool('collection="products", filter={"category": promotion.category})', 'collection="products")'),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "only_the_first_page_of_a_category_is_reduced",
        "order",
        ("examples", "effects", "tests"),
        tool(
            'ctx.read_pages("products", collection="products", filter={"category": promotion.category})',
            'ctx.read("products", collection="products", filter={"category": promotion.category})["items"]',
        ),
        grave=True,
        rule=("example_effect_missing", "test_failed"),
    ),
    defect(
        "promotions_are_kept_between_calls",
        "state",
        "imports",
        tool("class Promotion(NamedTuple):", "KNOWN: dict[str, Any] = {}\n\n\nclass Promotion(NamedTuple):"),
        tool(
            '    body = ctx.read("promotion", key=promotion_id)\n',
            "    if promotion_id not in KNOWN:\n"
            '        KNOWN[promotion_id] = ctx.read("promotion", key=promotion_id)\n'
            "    body = KNOWN[promotion_id]\n",
        ),
    ),
    defect(
        "the_tally_is_a_default_argument",
        "state",
        ("imports", "ruff", "effects"),
        tool("    tally = Tally()\n", "    tally = begun()\n"),
        tool("def load_promotion(", "def begun(tally: Tally = Tally()) -> Tally:\n    return tally\n\n\ndef load_promotion("),
    ),
    defect(
        "prices_are_reduced_with_floats",
        "money",
        ("examples", "tests"),
        tool(
            "(regular * (100 - percent_off) / 100).quantize(CENT, ROUND_HALF_UP)",
            'Decimal(f"{float(regular) * (100 - float(percent_off)) / 100:.2f}")',
        ),
    ),
    defect("cents_are_rounded_half_to_even", "money", "examples", tool("/ 100).quantize(CENT, ROUND_HALF_UP)", "/ 100).quantize(CENT)")),
    defect(
        "what_failed_adds_to_the_values",
        "money",
        "examples",
        tool(
            '        if outcome.status == "done":\n            self.regular += step.regular\n            self.reduced += step.reduced\n',
            "        self.regular += step.regular\n        self.reduced += step.reduced\n",
        ),
    ),
    defect(
        "a_promotion_may_make_a_product_dearer",
        "money",
        "tests",
        tool('PERCENT = re.compile(r"[1-9][0-9]?(?:', 'PERCENT = re.compile(r"-?[0-9]{1,2}(?:'),
    ),
    defect("a_product_may_cost_nothing", "money", "examples", tool("    if reduced < CENT:\n", "    if reduced < 0:\n")),
    defect(
        "the_machine_s_clock_marks_the_record",
        "time",
        "imports",
        after("from dataclasses import dataclass, field\n", "from datetime import UTC, datetime\n"),
        tool(ITEM, ITEM.replace('"regular": body}', '"since": datetime.now(UTC).isoformat(), "regular": body}')),
    ),
    defect(
        "each_call_reduces_the_price_again",
        "retries",
        ("examples", "effects"),
        without(OWN),
        tool("    if present is not None:\n", "    if present not in (None, promotion.id):\n"),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "what_failed_once_can_never_be_written",
        "retries",
        ("tests", "effects"),
        spec(REPRICE_KEY + '      "retry_failed": true,', REPRICE_KEY + '      "retry_failed": false,'),
        grave=True,
        rule="test_failed",
    ),
    defect(
        "what_others_write_meanwhile_is_overwritten",
        "concurrency",
        "effects",
        suite('"body": ON_SALE, "expected_version": 1}]', '"body": ON_SALE}]'),
        suite('== ["spring", "p0001", 1]', '== ["spring", "p0001"]'),
        suite("def test_a_promotion_may_be_started_again_after_it_has_ended() -> None:", "def started_again() -> None:"),
        tool('"regular": body},\n            "expected_version": row["version"],\n', '"regular": body},\n'),
        spec(REPRICE_KEY, REPRICE_KEY.replace(", item.expected_version", "")),
        spec(
            '{"key": "p1", "expected_version": 1, "body": {\n          "category": "lamps", "name": "Desk lamp", "price": "16.99"',
            '{"key": "p1", "body": {\n          "category": "lamps", "name": "Desk lamp", "price": "16.99"',
        ),
        spec('"item": {"key": "p6", "expected_version": 1}', '"item": {"key": "p6"}'),
        grave=True,
        rule="overwrites_what_it_read",
    ),
    defect(
        "the_end_takes_back_what_was_written_during_the_promotion",
        "concurrency",
        "examples",
        tool('"body": {**kept, "price": before["price"]}', '"body": before'),
        without('        kept = {name: value for name, value in body.items() if name not in ("promotion", "regular")}\n'),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "the_undo_puts_back_the_reduced_record",
        "transactions",
        "rollback",
        spec(UNDO, UNDO.replace("item.body.regular", "item.body")),
        grave=True,
        rule="undo_differs",
    ),
    defect(
        "the_undo_does_not_say_which_version_it_undoes",
        "transactions",
        "rollback",
        spec(UNDO, UNDO.replace(', "expected_version": "receipt.version"', "")),
        grave=True,
        rule="undo_not_done",
    ),
    defect(
        "the_undo_expects_the_version_from_before",
        "transactions",
        "rollback",
        spec(UNDO, UNDO.replace("receipt.version", "item.expected_version")),
        grave=True,
        rule="undo_not_done",
    ),
    defect(
        "only_the_price_is_kept_from_before",
        "transactions",
        "rollback",
        suite('"promotion": "spring", "regular": LAMP}', '"promotion": "spring", "regular": {"price": "20.00"}}'),
        tool(ITEM, ITEM.replace('"regular": body}', '"regular": {"price": body["price"]}}')),
        spec(
            '"regular": {"category": "lamps", "name": "Desk lamp", "price": "19.99", "stock": 4, '
            '"supplier": {"email": "bob@example.com"}}}',
            '"regular": {"price": "19.99"}}',
        ),
        spec('"promotion": "half", "regular": {"category": "c", "price": "0.05"}', '"promotion": "half", "regular": {"price": "0.05"}'),
        spec('"promotion": "half", "regular": {"category": "c", "price": "2.01"}', '"promotion": "half", "regular": {"price": "2.01"}'),
        grave=True,
        rule="undo_differs",
    ),
    defect(
        "what_is_kept_is_the_reduced_price",
        "transactions",
        ("examples", "rollback"),
        tool(ITEM, ITEM.replace('"regular": body}', '"regular": {**body, "price": str(reduced)}}')),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "what_was_before_is_not_kept",
        "transactions",
        ("examples", "rollback"),
        tool(ITEM, ITEM.replace(', "regular": body}', "}")),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "the_way_back_leads_to_another_collection",
        "transactions",
        ("examples", "rollback", "tests"),
        spec(RESTORE_KEY, RESTORE_KEY.replace('"products"', '"products_before"')),
        grave=True,
        rule=("example_effect", "test_failed"),
    ),
    defect(
        "a_price_that_cannot_be_read_is_nothing",
        "swallowed_errors",
        "examples",
        tool(
            '        raise LeftOut("left_out", "price")\n    return Decimal(price)',
            '        return Decimal("0.00")\n    return Decimal(price)',
        ),
    ),
    defect(
        "a_promotion_that_does_not_exist_ends_well",
        "swallowed_errors",
        "examples",
        tool(
            '        raise ToolError("promotion_not_found", f"There is no promotion {promotion_id!r} in promotions.")\n',
            '        return Promotion(promotion_id, "none", Decimal(1))\n',
        ),
    ),
    defect(
        "whatever_goes_wrong_with_a_product_is_left_out",
        "swallowed_errors",
        "ruff",
        tool(
            "            reduced = reduced_price(regular, promotion.percent_off)\n        except LeftOut as why:\n"
            '            tally.add(why.bucket, row["key"], why.reason)\n',
            "            reduced = reduced_price(regular, promotion.percent_off)\n        except Exception as why:\n"
            '            tally.add("left_out", row["key"], str(why))\n',
        ),
    ),
    defect(
        "the_promotion_is_marked_as_running_undeclared",
        "undeclared_access",
        ("policy", "examples"),
        before(
            "    ctx.progress(tally.products, tally.products)\n",
            '    ctx.perform("mark", {"key": promotion.id, "body": {"status": args["action"]}})\n',
        ),
        grave=True,
        rule="undeclared_effect",
    ),
    defect(
        "an_effect_is_declared_that_nothing_performs",
        "undeclared_access",
        ("effects", "policy"),
        spec(
            '  "effects": [\n    {\n      "id": "reprice",',
            '  "effects": [\n'
            '    {"id": "mark", "connector": "records.put", "config": {"collection": "promotions"},\n'
            '     "key": "[args.promotion_id, args.action]",\n'
            '     "undo": null, "undo_reason": "the promotion says so itself"},\n    {\n      "id": "reprice",',
        ),
    ),
    defect(
        "records_are_logged_before_they_are_written",
        "leaks",
        "path",
        before(
            '        under_way.append(Step(row["key"], regular, reduced))\n',
            '        ctx.log("product_reduced", product=row["key"], before=str(body))\n',
        ),
        suite('== ["promotion_run_started", "promotion_run_finished"]', '[::2] == ["promotion_run_started", "promotion_run_finished"]'),
        suite('    assert t.logs[1]["fields"] ==', '    assert t.logs[2]["fields"] =='),
        suite('    assert "lamp" not in str(t.logs)\n', ""),
    ),
    defect("tests_that_only_run_it", "vacuous_tests", ("imports", "mutation"), suite(WHOLE, NOTHING_ASSERTED)),
    defect("tests_that_do_not_look_at_prices", "vacuous_tests", "mutation", suite(WHOLE, NOBODY_LOOKS_AT_PRICES)),
    defect(
        "an_action_that_the_code_takes_for_the_end",
        "wrong_schema",
        "properties",
        spec(
            '"action": {"enum": ["start", "end"], "description": "Whether',
            '"action": {"enum": ["start", "end", "pause"], "description": "Whether',
        ),
        grave=True,
        rule="property_result",
    ),
    defect("the_result_may_not_be_as_long_as_it_is", "wrong_schema", "spec", spec('"result_bytes": 8192', '"result_bytes": 256')),
    defect("more_samples_are_kept_than_the_result_holds", "wrong_schema", "properties", tool("SAMPLES = 5\n", "SAMPLES = 8\n")),
    defect("what_is_under_this_promotion_counts_as_taken", "wrong_bucket", "examples", without(OWN)),
    defect("failures_are_counted_as_skipped", "wrong_bucket", "examples", tool('"failed": "failed"})', '"failed": "skipped"})')),
    defect(
        "what_another_call_wrote_is_counted_as_changed",
        "wrong_bucket",
        "effects",
        tool('"skipped": "skipped", "failed"', '"skipped": "changed", "failed"'),
        grave=True,
        rule="twins_differ",
    ),
)
