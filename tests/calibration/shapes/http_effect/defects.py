"""Defects of the http_effect shape: shipments that are booked with a carrier, and the notes of those that exist."""

from __future__ import annotations

from tests.calibration.defect import WHOLE, after, before, defect, spec, suite, tool, without
from tests.calibration.shapes.http_effect.suites import ANSWERS_ALONE, NOTHING_ASSERTED

BOOK_KEY = '"key": "[item.json.reference]"'
BUCKETS = '{"done": "booked", "skipped": "booked_before", "retrying": "waiting", "failed": "refused", "unknown": "unknown"}'
BOOKING = '    for each, outcome in zip(parcels, ctx.perform_each("book", (each.item for each in parcels)), strict=True):\n'
UNSHIPPABLE = '        except Unshippable as why:\n            tally.add("unshippable", row["key"], str(why))\n'
COUNTED = "        tally.add(BUCKET_OF[outcome.status], each.order, reason)\n"
UNNOTED = (
    '        elif outcome.status != "skipped":\n'
    '            tally.add("unnoted", each.order, str(outcome.error["code"]) if outcome.error else outcome.status)\n'
)
JSON = '"json": {"reference": order, "service": service,'

DEFECTS = (
    defect(
        "an_order_that_moves_to_another_warehouse_is_booked_again",
        "keys",
        "tests",
        spec(BOOK_KEY, '"key": "[args.warehouse, item.json.reference]"'),
        grave=True,
        rule="test_failed",
    ),
    defect(
        "a_later_version_books_each_service_anew",
        "keys",
        "compatibility",
        spec(BOOK_KEY, '"key": "[item.json.service, item.json.reference]"'),
        grave=True,
        rule="key_changed",
    ),
    defect(
        "each_call_makes_a_new_reference",
        "keys",
        ("examples", "effects"),
        tool('parcels.append(parcel(row["key"],', 'parcels.append(parcel(ctx, row["key"],'),
        tool("def parcel(order: str,", "def parcel(ctx: Context, order: str,"),
        tool(JSON, JSON.replace("order,", 'f"{order}-{ctx.new_id()[:8]}",')),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "the_day_is_part_of_the_reference",
        "keys",
        ("examples", "effects"),
        tool('parcels.append(parcel(row["key"],', 'parcels.append(parcel(ctx, row["key"],'),
        tool("def parcel(order: str,", "def parcel(ctx: Context, order: str,"),
        tool(JSON, JSON.replace("order,", 'f"{order}-{ctx.now():%Y%m%d}",')),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "orders_of_one_address_share_a_key",
        "keys",
        "examples",
        spec(BOOK_KEY, '"key": "[item.json.to.name, item.json.to.postcode]"'),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "notes_are_kept_by_what_the_carrier_calls_them",
        "keys",
        ("effects", "tests"),
        spec('"key": "[item.key]"', '"key": "[item.body.shipment]"'),
        grave=True,
        rule=("ends_badly", "test_failed"),
    ),
    defect(
        "answers_are_put_to_the_wrong_orders",
        "order",
        "examples",
        tool(BOOKING, BOOKING.replace("in zip(parcels,", "in zip(reversed(parcels),")),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "shipments_are_noted_before_they_are_booked",
        "order",
        "examples",
        before(BOOKING, '    ctx.perform_many("note", (note(each, Outcome("done")) for each in parcels))\n'),
        tool('        elif outcome.status != "skipped":\n', '        elif outcome.status not in ("skipped", "duplicate"):\n'),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "only_the_first_page_of_orders_is_booked",
        "order",
        ("examples", "effects", "tests"),
        tool(
            'rows = ctx.read_pages("orders", collection="orders", filter={"warehouse": args["warehouse"], "status": "packed"})',
            'rows = ctx.read("orders", collection="orders", filter={"warehouse": args["warehouse"], "status": "packed"})["items"]',
        ),
        grave=True,
        rule=("example_effect", "example_effect_missing", "test_failed"),
    ),
    defect(
        "services_are_kept_between_calls",
        "state",
        "imports",
        tool("import re\nfrom collections", "import re\nfrom functools import lru_cache\nfrom collections"),
        before("def load_service(", "@lru_cache(maxsize=None)\n"),
    ),
    defect(
        "what_was_booked_is_kept_in_the_module",
        "state",
        ("imports", "effects"),
        after('EXISTS = frozenset({"done", "skipped"})\n', "BOOKED: set[str] = set()\n"),
        tool("    for row in batch:\n", '    for row in (row for row in batch if row["key"] not in BOOKED):\n'),
        after("            exist.append((each, outcome))\n", "            BOOKED.add(each.order)\n"),
        grave=True,
        rule="module_state",
    ),
    defect(
        "the_value_is_a_sum_of_floats",
        "money",
        "examples",
        tool('    total = Decimal("0.00")\n', "    total = 0.0\n"),
        tool(
            "        total += Decimal(price) * quantity\n    return total\n",
            "        total += float(price) * quantity\n    return Decimal(str(total))\n",
        ),
    ),
    defect("the_value_forgets_how_many", "money", "examples", tool("total += Decimal(price) * quantity", "total += Decimal(price)")),
    defect(
        "what_was_not_booked_adds_to_the_value",
        "money",
        "examples",
        tool('        if outcome.status == "done":\n            tally.value += each.value\n', "        tally.value += each.value\n"),
    ),
    defect(
        "the_machine_s_date_says_when_to_collect",
        "time",
        "imports",
        after("from dataclasses import dataclass, field\n", "from datetime import date\n"),
        after(JSON, ' "collect_on": date.today().isoformat(),'),
    ),
    defect(
        "bookings_are_paced_with_a_sleep",
        "time",
        "imports",
        tool("import re\nfrom collections", "import re\nimport time\nfrom collections"),
        before(COUNTED, "        time.sleep(0.05)\n"),
    ),
    defect(
        "a_booking_in_doubt_is_sent_again",
        "retries",
        "examples",
        spec('"on_unknown": "hold"', '"on_unknown": "retry"'),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "a_booking_in_doubt_is_made_anew_under_another_reference",
        "retries",
        ("examples", "effects"),
        after(BOOKING, '        if outcome.status == "unknown":\n            outcome = ctx.perform("book", again(each.item))\n'),
        tool(
            "def text_of(address:",
            "def again(item: BookItem) -> BookItem:\n"
            '    body = item["json"]\n'
            '    return {**item, "json": {**body, "reference": f"{body[\'reference\']}-2"}}\n\n\n'
            "def text_of(address:",
        ),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "a_busy_carrier_is_asked_again_at_once",
        "retries",
        "examples",
        after(BOOKING, '        if outcome.status == "retrying":\n            outcome = ctx.perform("book", each.item)\n'),
    ),
    defect(
        "what_was_refused_once_is_never_asked_for_again",
        "retries",
        ("tests", "effects"),
        spec(
            '"retry_failed": true,\n      "limits": {"per_run": 50000, "per_second"',
            '"retry_failed": false,\n      "limits": {"per_run": 50000, "per_second"',
        ),
        grave=True,
        rule="test_failed",
    ),
    defect(
        "what_an_earlier_call_booked_is_never_noted",
        "transactions",
        "effects",
        tool('EXISTS = frozenset({"done", "skipped"})', 'EXISTS = frozenset({"done"})'),
        grave=True,
        rule="fails_on_repeat",
    ),
    defect(
        "a_shipment_of_an_earlier_call_is_noted_without_its_number",
        "transactions",
        "effects",
        after('fields = (booked.receipt or {}).get("fields", {})', ' if booked.status == "done" else {}'),
        suite('    assert again.items("note")[0]["body"]["shipment"] == "ceed61a096b2d1769afb"\n', ""),
        grave=True,
        rule="done_otherwise",
    ),
    defect(
        "a_refusal_ends_the_run_before_anything_is_noted",
        "transactions",
        "examples",
        tool(
            COUNTED,
            COUNTED
            + '        if outcome.status == "failed":\n'
            + '            raise ToolError("carrier_refused", "The carrier refused an order.")\n',
        ),
        grave=True,
        rule="example_effect_missing",
    ),
    defect(
        "what_was_asked_for_is_noted_as_if_it_existed",
        "transactions",
        "examples",
        tool(
            "        if outcome.status in EXISTS:\n            exist.append((each, outcome))\n", "        exist.append((each, outcome))\n"
        ),
        grave=True,
        rule=("example_effect", "example_effect_extra"),
    ),
    defect("notes_that_fail_are_passed_over", "swallowed_errors", "examples", without(UNNOTED)),
    defect(
        "orders_that_cannot_be_shipped_are_passed_over",
        "swallowed_errors",
        ("examples", "properties"),
        tool(UNSHIPPABLE, "        except Unshippable:\n            continue\n"),
    ),
    defect(
        "whatever_goes_wrong_with_an_order_is_unshippable",
        "swallowed_errors",
        "ruff",
        tool(UNSHIPPABLE, UNSHIPPABLE.replace("except Unshippable as", "except Exception as").replace("str(why)", '"order"')),
    ),
    defect(
        "what_the_host_refuses_is_passed_over",
        "swallowed_errors",
        "policy",
        tool(
            "        book_batch(ctx, service, batch, tally)\n",
            "        try:\n            book_batch(ctx, service, batch, tally)\n"
            '        except ToolError as error:\n            ctx.log("batch_refused", code=error.code)\n',
        ),
        grave=True,
        rule="refusal_passed_over",
    ),
    defect(
        "the_order_is_marked_as_shipped_undeclared",
        "undeclared_access",
        "policy",
        after(
            "            exist.append((each, outcome))\n",
            '            ctx.perform("mark", {"key": each.order, "body": {"status": "shipped"}})\n',
        ),
        grave=True,
        rule="undeclared_effect",
    ),
    defect(
        "one_country_goes_to_a_host_that_is_not_declared",
        "undeclared_access",
        "policy",
        after('CARRIER = "https://api.carrier.example.com/v1/shipments"\n', 'DUTCH = "https://api.post.example.nl/v2/parcels"\n'),
        tool('"url": CARRIER,', '"url": DUTCH if country == "NL" else CARRIER,'),
        grave=True,
        rule="undeclared_host",
    ),
    defect(
        "a_method_that_is_not_declared",
        "undeclared_access",
        "examples",
        tool('"method": "POST",', '"method": "PUT",'),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "every_recipient_is_logged",
        "leaks",
        "path",
        after(COUNTED, '        ctx.log("order_booked", order=each.order, to=each.item["json"]["to"]["name"])\n'),
        suite('    assert [entry["event"] for entry in t.logs] == ["booking_started", "booking_finished"]\n', ""),
        suite('    assert t.logs[1]["fields"] ==', '    assert t.logs[-1]["fields"] =='),
        suite('    assert "Ann" not in str(t.logs)\n', ""),
    ),
    defect(
        "the_address_of_what_cannot_be_shipped_is_logged",
        "leaks",
        "path",
        after(UNSHIPPABLE, '            ctx.log("order_unshippable", order=row["key"], address=str(row["body"].get("address")))\n'),
    ),
    defect("tests_that_only_run_it", "vacuous_tests", ("imports", "mutation"), suite(WHOLE, NOTHING_ASSERTED)),
    defect("tests_that_look_at_answers_alone", "vacuous_tests", "mutation", suite(WHOLE, ANSWERS_ALONE)),
    defect(
        "the_lookup_asks_for_no_shipment_in_particular",
        "wrong_schema",
        "spec",
        spec("/v1/shipments/by-key/{effect_id}", "/v1/shipments/latest"),
    ),
    defect(
        "a_bucket_is_not_declared",
        "wrong_schema",
        "spec",
        spec(
            '      "unknown": {"type": "integer", "minimum": 0, "description": '
            '"Orders that may or may not be booked; the carrier is asked or an operator decides."},\n',
            "",
        ),
    ),
    defect(
        "a_warehouse_without_a_bound",
        "wrong_schema",
        "spec",
        spec('"type": "string", "minLength": 1, "maxLength": 64, "pattern"', '"type": "string", "minLength": 1, "pattern"'),
    ),
    defect("more_samples_are_kept_than_the_result_holds", "wrong_schema", "properties", tool("SAMPLES = 5\n", "SAMPLES = 8\n")),
    defect(
        "doubt_is_counted_as_refused",
        "wrong_bucket",
        "examples",
        tool(BUCKETS, BUCKETS.replace('"unknown": "unknown"', '"unknown": "refused"')),
        grave=True,
        rule="example_result",
    ),
    defect(
        "what_waits_is_counted_as_booked",
        "wrong_bucket",
        "examples",
        tool(BUCKETS, BUCKETS.replace('"waiting"', '"booked"')),
        grave=True,
        rule="example_invariant",
    ),
    defect(
        "what_was_booked_before_is_counted_as_booked_now",
        "wrong_bucket",
        "effects",
        tool(BUCKETS, BUCKETS.replace('"booked_before"', '"booked"')),
        grave=True,
        rule="fails_on_repeat",
    ),
    defect(
        "what_was_noted_before_is_counted_as_noted_now",
        "wrong_bucket",
        "effects",
        tool(
            '        if outcome.status == "done":\n            tally.noted += 1\n        elif outcome.status != "skipped":\n',
            "        if outcome.status in EXISTS:\n            tally.noted += 1\n        else:\n",
        ),
        grave=True,
        rule="fails_on_repeat",
    ),
)
