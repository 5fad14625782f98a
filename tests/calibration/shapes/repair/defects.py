"""Defects of the repair shape: repair_customer_records, as it ships."""

from __future__ import annotations

from tests.calibration.defect import WHOLE, after, before, defect, spec, suite, tool
from tests.calibration.shapes.repair.suites import NOTHING_ASSERTED, RECORDS_ALONE, RULES_ALONE

DEFECTS = (
    defect(
        "a_later_version_repairs_each_record_once_and_never_again",
        "keys",
        "compatibility",
        spec("args.ruleset_id, item.key, item.expected_version]", "args.ruleset_id, item.key]"),
        grave=True,
        rule="key_changed",
    ),
    defect(
        "one_change_record_for_all_fields_of_a_record",
        "keys",
        "examples",
        spec("item.body.record, item.body.version, item.body.field]", "item.body.record, item.body.version]"),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "change_records_overwrite_each_other",
        "keys",
        "tests",
        tool('row["key"], row["version"], name]', 'row["key"], name]'),
        grave=True,
        rule="test_failed",
    ),
    defect(
        "records_are_rewritten_before_their_changes_are_written_down",
        "order",
        "examples",
        before(
            '    written = ctx.perform_each("record_change", (change for repair in dirty for change in repair.changes))\n',
            '    repaired = ctx.perform_many("repair", (repair.item for repair in dirty))\n',
        ),
        tool(
            '    repaired = ctx.perform_each("repair", (repair.item for repair in ready))\n'
            "    for repair, outcome in zip(ready, repaired, strict=True):\n",
            "    for repair, outcome in zip(ready, repaired, strict=False):\n",
        ),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "of_each_record_only_the_first_change_is_looked_at",
        "order",
        "examples",
        tool("        outcomes = list(islice(written, len(repair.changes)))\n", "        outcomes = list(islice(written, 1))\n"),
    ),
    defect(
        "only_the_first_page_of_a_dataset_is_repaired",
        "order",
        "examples",
        tool(
            'ctx.read_pages("records", collection="customers", filter={"dataset_id": args["dataset_id"]})',
            'ctx.read("records", collection="customers", filter={"dataset_id": args["dataset_id"]})["items"]',
        ),
        suite("for n in range(2 * BATCH + 1)))", "for n in range(BATCH)))"),
        suite('{"records": 1001, "repaired": 1001, "changes": 1001}', '{"records": 500, "repaired": 500, "changes": 500}'),
        suite("== [BATCH, 2 * BATCH, 2 * BATCH + 1]", "== [BATCH]"),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "rules_are_kept_between_calls",
        "state",
        "imports",
        tool("class Rule(NamedTuple):", "KNOWN: dict[str, list[Any]] = {}\n\n\nclass Rule(NamedTuple):"),
        tool(
            '    rules = load_rules(ctx, args["ruleset_id"])\n',
            '    rules = KNOWN.setdefault(args["ruleset_id"], []) or load_rules(ctx, args["ruleset_id"])\n'
            '    KNOWN[args["ruleset_id"]] = rules\n',
        ),
    ),
    defect(
        "a_ruleset_s_calling_code_stays_for_all_later_calls",
        "state",
        ("imports", "effects"),
        tool("CALLING_CODES = MappingProxyType(\n    {", "CALLING_CODES = dict(\n    {"),
        tool(
            '    country = body.get("default_country")\n',
            '    country = body.get("default_country")\n'
            "    codes = CALLING_CODES\n"
            '    if isinstance(country, str) and isinstance(body.get("calling_code"), str):\n'
            '        codes[country] = (body["calling_code"], "0")\n',
        ),
    ),
    defect(
        "change_records_carry_the_machine_s_time",
        "time",
        "imports",
        after("from dataclasses import dataclass, field\n", "from datetime import UTC, datetime\n"),
        after('            "after": after,\n', '            "recorded_at": datetime.now(UTC).isoformat(),\n'),
    ),
    defect(
        "a_record_that_failed_is_never_tried_by_a_later_call",
        "retries",
        "tests",
        spec(
            '"key": "[args.dataset_id, args.ruleset_id, item.key, item.expected_version]",\n'
            '      "criticality": "required",\n'
            '      "retry_failed": true,',
            '"key": "[args.dataset_id, args.ruleset_id, item.key, item.expected_version]",\n'
            '      "criticality": "required",\n'
            '      "retry_failed": false,',
        ),
        grave=True,
        rule="test_failed",
    ),
    defect(
        "a_refused_record_is_written_again_at_once",
        "retries",
        "examples",
        tool(
            '        tally.add_outcome(repair.item["key"], outcome)\n\n\ndef plan',
            "        again = 0\n"
            '        while outcome.status == "failed" and again < 3:\n'
            '            outcome = ctx.perform("repair", repair.item)\n'
            "            again += 1\n"
            '        tally.add_outcome(repair.item["key"], outcome)\n\n\ndef plan',
        ),
    ),
    defect(
        "a_dataset_without_dirt_is_an_error",
        "retries",
        ("effects", "rollback"),
        tool(
            '    result = summary(tally, args["dataset_id"])\n',
            "    if tally.records and tally.records == tally.clean:\n"
            '        raise ToolError("nothing_to_repair", "All records are clean.")\n'
            '    result = summary(tally, args["dataset_id"])\n',
        ),
    ),
    defect(
        "a_record_is_rewritten_whoever_has_written_it_since",
        "concurrency",
        "examples",
        tool('"body": body, "expected_version": row["version"]}', '"body": body}'),
        spec("args.ruleset_id, item.key, item.expected_version]", "args.ruleset_id, item.key, item.body.email]"),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "what_another_run_repaired_counts_as_repaired_by_this_one",
        "concurrency",
        "effects",
        tool('"skipped": "skipped", "failed": "failed"', '"skipped": "repaired", "failed": "failed"'),
        grave=True,
        rule="twins_differ",
    ),
    defect(
        "a_record_is_rewritten_though_its_change_is_not_written_down",
        "transactions",
        "effects",
        tool(
            "        if missing is None:\n"
            "            ready.append(repair)\n"
            "        else:\n"
            '            tally.add_outcome(repair.item["key"], missing)\n',
            "        if missing is not None:\n"
            '            ctx.log("change_not_written", status=missing.status)\n'
            "        ready.append(repair)\n",
        ),
        grave=True,
        rule="ends_badly",
    ),
    defect(
        "half_of_the_changes_of_a_record_will_do",
        "transactions",
        ("effects", "tests"),
        tool(
            'missing = next((outcome for outcome in outcomes if outcome.status not in ("done", "skipped")), None)\n',
            'missing = None if any(outcome.status in ("done", "skipped") for outcome in outcomes) else outcomes[0]\n',
        ),
        grave=True,
        rule="test_failed",
    ),
    defect(
        "a_ruleset_that_is_not_there_repairs_nothing_and_succeeds",
        "swallowed_errors",
        "examples",
        tool(
            '        raise ToolError("ruleset_not_found", f"There is no ruleset {ruleset_id!r} in repair_rulesets.")\n',
            "        return []\n",
        ),
    ),
    defect(
        "a_value_that_no_rule_reads_is_emptied",
        "swallowed_errors",
        "examples",
        after('            tally.add("unreadable", row["key"], rule.field)\n', "            body[rule.field] = None\n"),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "a_dataset_that_cannot_be_read_is_an_empty_one",
        "swallowed_errors",
        "policy",
        tool(
            '    rows = ctx.read_pages("records", collection="customers", filter={"dataset_id": args["dataset_id"]})\n'
            "    for batch in batches(rows, BATCH):\n"
            "        repair_batch(args, ctx, rules, batch, tally)\n"
            "        ctx.progress(tally.records)\n",
            "    try:\n"
            '        rows = ctx.read_pages("records", collection="customers", filter={"dataset_id": args["dataset_id"]})\n'
            "        for batch in batches(rows, BATCH):\n"
            "            repair_batch(args, ctx, rules, batch, tally)\n"
            "            ctx.progress(tally.records)\n"
            "    except ToolError as error:\n"
            '        ctx.log("reading_ended", code=error.code)\n',
        ),
        grave=True,
        rule="refusal_passed_over",
    ),
    defect(
        "orders_of_a_customer_are_read_without_being_declared",
        "undeclared_access",
        "policy",
        after("    tally = Tally()\n", '    ctx.read("orders", key=args["dataset_id"])\n'),
        grave=True,
        rule="undeclared_read",
    ),
    defect(
        "a_page_outside_is_asked_how_numbers_are_written",
        "undeclared_access",
        "imports",
        after("from urllib.parse import quote\n", "from urllib.request import urlopen\n"),
        after("    code, trunk = CALLING_CODES[country]\n", '    urlopen(f"https://example.com/prefixes/{country}").read()\n'),
        grave=True,
        rule="import",
    ),
    defect(
        "values_before_and_after_are_logged",
        "leaks",
        "path",
        tool(
            "    planned = [plan(args, rules, row, tally) for row in batch]\n",
            "    planned = [plan(args, rules, row, tally) for row in batch]\n"
            "    for each in planned:\n"
            '        ctx.log("planned", changes=[change["body"] for change in each.changes])\n',
        ),
    ),
    defect(
        "rewritten_records_are_logged",
        "leaks",
        "path",
        after(
            "    for repair, outcome in zip(ready, repaired, strict=True):\n",
            '        ctx.log("rewritten", record=repair.item["key"], phone=repair.item["body"].get("phone"))\n',
        ),
    ),
    defect("a_suite_that_asserts_nothing", "vacuous_tests", "mutation", suite(WHOLE, NOTHING_ASSERTED)),
    defect("a_suite_that_never_looks_at_change_records", "vacuous_tests", "mutation", suite(WHOLE, RECORDS_ALONE)),
    defect("a_suite_of_the_rules_alone", "vacuous_tests", "mutation", suite(WHOLE, RULES_ALONE)),
    defect("samples_are_longer_than_the_spec_says", "wrong_schema", ("properties", "tests"), tool("SAMPLES = 5", "SAMPLES = 10")),
    defect("counts_are_given_as_text", "wrong_schema", "mypy", tool('"changes": tally.changes,', '"changes": str(tally.changes),')),
    defect(
        "an_argument_without_a_bound",
        "wrong_schema",
        "spec",
        spec(
            '"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[^\\\\u0000-\\\\u001f\\\\u007f]+$",\n'
            '        "description": "Which records',
            '"type": "string",\n        "description": "Which records',
        ),
    ),
    defect(
        "records_that_failed_count_as_clean",
        "wrong_bucket",
        "examples",
        tool('"failed": "failed"}', '"failed": "clean"}'),
        tool('"clean": tally.clean,', '"clean": tally.clean + buckets["clean"],'),
        grave=True,
        rule="example_result",
    ),
    defect(
        "records_with_an_unreadable_value_count_as_failed_too",
        "wrong_bucket",
        ("examples", "properties"),
        tool('"failed": buckets["failed"],', '"failed": buckets["failed"] + buckets["unreadable"],'),
    ),
    defect(
        "the_zero_in_brackets_stays_in_a_number_from_abroad",
        "wrong_bucket",
        ("examples", "tests"),
        tool('written.replace("(0)", "", 1) if written.startswith(("+", "00")) else written', "written"),
    ),
    defect(
        "numbers_of_italy_lose_their_zero",
        "wrong_bucket",
        "tests",
        tool('"IT": ("39", ""),', '"IT": ("39", "0"),'),
        grave=True,
        rule="test_failed",
    ),
)
