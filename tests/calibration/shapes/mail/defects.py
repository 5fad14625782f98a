"""Defects of the mail shape: campaign_send_bulk, as it ships."""

from __future__ import annotations

from tests.calibration.defect import WHOLE, after, before, defect, spec, suite, tool
from tests.calibration.shapes.mail.suites import COUNTS_ALONE, HELPERS_ALONE, NOTHING_ASSERTED

DEFECTS = (
    defect(
        "a_later_version_forgets_the_template_in_the_key",
        "keys",
        "compatibility",
        spec('"key": "[args.campaign_id, args.template_id, item.to]"', '"key": "[args.campaign_id, item.to]"'),
        grave=True,
        rule="key_changed",
    ),
    defect(
        "a_key_with_the_subject_writes_twice_to_one_mailbox",
        "keys",
        "examples",
        spec("args.template_id, item.to]", "args.template_id, item.to, item.subject]"),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "a_fresh_tag_in_the_address_makes_each_call_a_new_mail",
        "keys",
        ("examples", "effects"),
        tool("message = compose(campaign, template,", "message = compose(ctx, campaign, template,"),
        tool("def compose(campaign: str,", "def compose(ctx: Context, campaign: str,"),
        tool('"to": address,', '"to": address.replace("@", f"+{ctx.new_id()[:8]}@"),'),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "suppressed_addresses_are_compared_as_they_were_typed",
        "keys",
        "examples",
        tool('{fold(row["key"]) for row in', '{row["key"] for row in'),
        grave=True,
        rule="example_effect",
    ),
    defect("outcomes_are_put_to_the_wrong_recipients", "order", "examples", tool("under_way.popleft()", "under_way.pop()")),
    defect(
        "only_the_first_page_of_an_audience_is_written_to",
        "order",
        "examples",
        tool('for row in ctx.read_pages("audience", **where):', 'for row in ctx.read("audience", **where)["items"]:'),
        suite("for n in range(1201)]", "for n in range(401)]"),
        suite('{"given": 601, "distinct": 601, "sent": 601}', '{"given": 201, "distinct": 201, "sent": 201}'),
        suite('[{"done": PROGRESS_EVERY, "total": None}, {"done": 601, "total": 601}]', '[{"done": 201, "total": 201}]'),
        suite("from tool import PROGRESS_EVERY, SAMPLES,", "from tool import SAMPLES,"),
        suite("for n in range(700)]", "for n in range(500)]"),
        suite('script("u600@example.com", "crash")', 'script("u400@example.com", "crash")'),
        suite('{"given": 700, "distinct": 700, "sent": 699, "unknown": 1}', '{"given": 500, "distinct": 500, "sent": 499, "unknown": 1}'),
        grave=True,
        rule="example_effect_missing",
    ),
    defect(
        "templates_are_cached_between_calls",
        "state",
        "imports",
        tool("class Recipient(NamedTuple):", "CACHE: dict[str, Any] = {}\n\n\nclass Recipient(NamedTuple):"),
        tool(
            'body = ctx.read("template", key=template_id)\n',
            "if template_id not in CACHE:\n"
            '        CACHE[template_id] = ctx.read("template", key=template_id)\n'
            "    body = CACHE[template_id]\n",
        ),
    ),
    defect(
        "who_was_written_to_is_remembered_in_a_default_argument",
        "state",
        ("imports", "ruff", "effects"),
        tool("recipient: Recipient, suppressed: set[str]) ->", "recipient: Recipient, suppressed: set[str], seen: set[str] = set()) ->"),
        tool(
            'if address in suppressed:\n        raise Unfit("suppressed")\n',
            'if address in suppressed or address in seen:\n        raise Unfit("suppressed")\n    seen.add(address)\n',
        ),
        grave=True,
        rule="ruff:B006",
    ),
    defect(
        "mails_are_paced_with_a_sleep",
        "time",
        "imports",
        tool("import re\nimport unicodedata", "import re\nimport time\nimport unicodedata"),
        before("            under_way.append(", "            time.sleep(0.05)\n"),
    ),
    defect(
        "the_subject_carries_the_machine_s_date",
        "time",
        "imports",
        after("from dataclasses import dataclass, field\n", "from datetime import date\n"),
        tool('"subject": subject,', '"subject": f"{subject} ({date.today()})",'),
    ),
    defect(
        "mails_whose_reply_was_lost_are_sent_again",
        "retries",
        "examples",
        spec('"on_unknown": "hold"', '"on_unknown": "retry"'),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "refused_mails_are_sent_again_at_the_end",
        "retries",
        "examples",
        before("            under_way.append(message", "            kept.append(message)\n"),
        tool("    under_way: deque[str] = deque()", "    under_way: deque[str] = deque()\n    kept: list[SendItem] = []"),
        tool(
            "    result = summary(tally, campaign)",
            '    if tally.buckets["failed"] or tally.buckets["retry_queue"]:\n'
            '        ctx.perform_many("send", kept)\n'
            "    result = summary(tally, campaign)",
        ),
    ),
    defect(
        "a_call_that_has_nobody_left_to_write_to_is_an_error",
        "retries",
        ("effects", "rollback"),
        tool(
            "    result = summary(tally, campaign)",
            '    if tally.distinct and tally.buckets["skipped"] == tally.distinct:\n'
            '        raise ToolError("already_sent", "Everyone has this mail.")\n'
            "    result = summary(tally, campaign)",
        ),
    ),
    defect(
        "mails_are_sent_by_threads",
        "concurrency",
        "imports",
        before("from dataclasses import", "from concurrent.futures import ThreadPoolExecutor\n"),
        tool(
            'enumerate(ctx.perform_each("send", messages()), start=1)',
            'enumerate(ThreadPoolExecutor(4).map(lambda message: ctx.perform("send", message), messages()), start=1)',
        ),
    ),
    defect(
        "the_first_refusal_ends_the_campaign",
        "transactions",
        "examples",
        tool(
            "        record(tally, under_way.popleft(), outcome)",
            '        if outcome.status == "failed":\n'
            '            raise ToolError("send_failed", "The mail server refused a mail.")\n'
            "        record(tally, under_way.popleft(), outcome)",
        ),
        grave=True,
        rule="example_failed",
    ),
    defect(
        "without_the_list_of_suppressions_everyone_is_written_to",
        "swallowed_errors",
        "policy",
        tool(
            '    suppressed = {fold(row["key"]) for row in ctx.read_pages("suppressions", collection="email_suppressions")}\n',
            "    try:\n"
            '        suppressed = {fold(row["key"]) for row in ctx.read_pages("suppressions", collection="email_suppressions")}\n'
            "    except ToolError:\n"
            "        suppressed = set()\n",
        ),
        grave=True,
        rule="refusal_passed_over",
    ),
    defect(
        "a_refused_call_of_the_host_ends_as_a_success",
        "swallowed_errors",
        "policy",
        tool(
            '    for ended, outcome in enumerate(ctx.perform_each("send", messages()), start=1):\n'
            "        record(tally, under_way.popleft(), outcome)\n"
            "        if ended % PROGRESS_EVERY == 0:\n"
            "            ctx.progress(ended)\n",
            "    try:\n"
            '        for ended, outcome in enumerate(ctx.perform_each("send", messages()), start=1):\n'
            "            record(tally, under_way.popleft(), outcome)\n"
            "            if ended % PROGRESS_EVERY == 0:\n"
            "                ctx.progress(ended)\n"
            "    except ToolError as error:\n"
            '        ctx.log("stopped", code=error.code)\n',
        ),
        grave=True,
        rule="refusal_passed_over",
    ),
    defect(
        "whatever_goes_wrong_with_a_recipient_is_passed_over",
        "swallowed_errors",
        "ruff",
        tool("except Unfit as unfit:\n                tally.add(str(unfit), recipient.label, str(unfit))\n", "except Exception:\n"),
        grave=True,
        rule=("ruff:BLE001", "ruff:S112"),
    ),
    defect(
        "the_sender_s_settings_are_read_without_being_declared",
        "undeclared_access",
        "policy",
        before('    body = ctx.read("template", key=template_id)\n', '    ctx.read("sender_settings", key="default")\n'),
        grave=True,
        rule="undeclared_read",
    ),
    defect(
        "the_team_is_notified_without_its_being_declared",
        "undeclared_access",
        "policy",
        tool(
            "    result = summary(tally, campaign)",
            '    if tally.buckets["failed"] > 100:\n'
            '        ctx.perform("notify_team", {"channel": "ops", "subject": "Campaign", "text": campaign})\n'
            "    result = summary(tally, campaign)",
        ),
        grave=True,
        rule="undeclared_effect",
    ),
    defect(
        "a_copy_of_each_address_is_kept_in_a_file",
        "undeclared_access",
        "imports",
        tool(
            "            under_way.append(message",
            '            with open("/tmp/sent.txt", "a") as kept:\n'
            '                kept.write(message["to"])\n'
            "            under_way.append(message",
        ),
        grave=True,
        rule="builtin",
    ),
    defect(
        "values_are_looked_into_again_for_variables",
        "leaks",
        "examples",
        tool(
            "    return VARIABLE.sub(lambda match: variables[match[1]], text)",
            "    while VARIABLE.search(text):\n"
            '        text = VARIABLE.sub(lambda match: variables.get(match[1], ""), text)\n'
            "    return text",
        ),
    ),
    defect(
        "values_stand_in_html_as_they_are",
        "leaks",
        "examples",
        tool("{name: html.escape(value) for name, value in", "{name: value for name, value in"),
    ),
    defect(
        "who_was_refused_is_logged_by_address",
        "leaks",
        "path",
        tool(
            "        record(tally, under_way.popleft(), outcome)",
            "        address = under_way.popleft()\n"
            "        record(tally, address, outcome)\n"
            "        if outcome.error:\n"
            '            ctx.log("refused", recipient=address)',
        ),
    ),
    defect(
        "who_was_left_out_is_logged_with_the_record",
        "leaks",
        "path",
        after(
            "                tally.add(str(unfit), recipient.label, str(unfit))\n",
            '                ctx.log("left_out", why=str(unfit), about=str(recipient))\n',
        ),
    ),
    defect(
        "everyone_is_logged_by_the_first_part_of_the_address",
        "leaks",
        "path",
        before("            under_way.append(message", '            ctx.log("written_to", who=message["to"].split("@")[0])\n'),
    ),
    defect("a_suite_that_asserts_nothing", "vacuous_tests", "mutation", suite(WHOLE, NOTHING_ASSERTED)),
    defect("a_suite_that_asserts_counts_alone", "vacuous_tests", "mutation", suite(WHOLE, COUNTS_ALONE)),
    defect("a_suite_of_the_helpers_alone", "vacuous_tests", "mutation", suite(WHOLE, HELPERS_ALONE)),
    defect("samples_are_longer_than_the_spec_says", "wrong_schema", "properties", tool("SAMPLES = 3", "SAMPLES = 5")),
    defect("samples_are_not_cut", "wrong_schema", "properties", tool('"recipient": recipient[:SAMPLE_LENGTH]', '"recipient": recipient')),
    defect(
        "the_result_may_hold_anything",
        "wrong_schema",
        "spec",
        spec('"additionalProperties": false,\n    "required": ["given", "distinct",', '"required": ["given", "distinct",'),
    ),
    defect(
        "an_optional_field_is_taken_for_granted",
        "wrong_schema",
        ("examples", "properties"),
        tool('"filter": source.get("filter", {})}', '"filter": source["filter"]}'),
    ),
    defect(
        "the_baseline_names_a_model_without_a_price",
        "wrong_schema",
        "cost",
        spec('"output_tokens_per_call": 160, "model": null', '"output_tokens_per_call": 160, "model": "our-own-model"'),
    ),
    defect(
        "an_unknown_outcome_counts_as_sent",
        "wrong_bucket",
        ("examples", "effects"),
        tool('"unknown": "unknown"}', '"unknown": "sent"}'),
        grave=True,
        rule="example_invariant",
    ),
    defect(
        "a_repeated_address_counts_as_a_distinct_one",
        "wrong_bucket",
        ("examples", "properties"),
        tool(
            "        tally.duplicates += 1\n        return\n    tally.distinct += 1\n",
            '        tally.duplicates += 1\n    tally.distinct += 1\n    if outcome.status == "duplicate":\n        return\n',
        ),
    ),
    defect(
        "what_was_sent_before_counts_as_sent_now",
        "wrong_bucket",
        "effects",
        tool('"skipped": "skipped", "failed"', '"skipped": "sent", "failed"'),
        grave=True,
        rule="fails_on_repeat",
    ),
)
