"""Defects of the best_effort_notification shape: an incident's record, and the channels that are told of it."""

from __future__ import annotations

from tests.calibration.defect import WHOLE, after, defect, spec, suite, tool
from tests.calibration.shapes.best_effort_notification.suites import NOBODY_LOOKS_AT_CHANNELS, NOTHING_ASSERTED

KEY = '"key": "[args.incident_id, item.channel]"'
BUCKETS = '{"done": "told", "skipped": "told_before", "retrying": "waiting", "failed": "failed", "unknown": "unknown"}'
TELL = "    if recorded.status in INCIDENT_OF:\n        rows = tell(args, ctx, channels)\n"

DEFECTS = (
    defect("one_key_for_all_channels", "keys", "spec", spec(KEY, '"key": "[args.incident_id]"'), grave=True, rule="spec_lint"),
    defect(
        "a_corrected_title_tells_everybody_again",
        "keys",
        "tests",
        spec(KEY, '"key": "[args.incident_id, args.title, item.channel]"'),
        grave=True,
        rule="test_failed",
    ),
    defect(
        "a_later_version_tells_each_severity_anew",
        "keys",
        "compatibility",
        spec(KEY, '"key": "[args.incident_id, args.severity, item.channel]"'),
        grave=True,
        rule="key_changed",
    ),
    defect(
        "the_time_is_part_of_the_key",
        "keys",
        "effects",
        spec('"key": "[args.incident_id]"', '"key": "[args.incident_id, item.body.opened_at]"'),
        suite('== [["inc-1"], ["inc-1", "chat"]', '[1:] == [["inc-1", "chat"]'),
        grave=True,
        rule="new_effects_on_repeat",
    ),
    defect(
        "a_channel_that_is_named_twice_is_asked_twice",
        "keys",
        "examples",
        tool("distinct = list(dict.fromkeys(channels))", "distinct = channels"),
    ),
    defect(
        "everybody_is_told_before_there_is_a_record",
        "order",
        "examples",
        tool(
            '    recorded = ctx.perform("record", incident(args, ctx))\n    rows: list[Channel] = []\n' + TELL,
            '    rows = tell(args, ctx, channels)\n    recorded = ctx.perform("record", incident(args, ctx))\n',
        ),
        grave=True,
        rule="example_effect",
    ),
    defect("channels_lose_the_order_of_the_rota", "order", "examples", tool("list(dict.fromkeys(channels))", "list(set(channels))")),
    defect(
        "outcomes_are_put_to_the_wrong_channels",
        "order",
        ("examples", "properties"),
        tool("dict(zip(known, ctx.perform_each", "dict(zip(channels, ctx.perform_each"),
        tool("for channel in known)), strict=True))", "for channel in known)), strict=False))"),
    ),
    defect(
        "who_was_told_is_kept_in_the_module",
        "state",
        ("imports", "effects"),
        after('SHORT = frozenset({"pager"})\n', "TOLD: set[tuple[str, str]] = set()\n"),
        tool(
            "    known = [channel for channel in channels if channel in CHANNELS]\n",
            '    known = [channel for channel in channels if channel in CHANNELS and (args["incident_id"], channel) not in TOLD]\n'
            '    TOLD.update((args["incident_id"], channel) for channel in known)\n',
        ),
        grave=True,
        rule="module_state",
    ),
    defect(
        "the_machine_s_clock_says_when_it_was_opened",
        "time",
        "imports",
        after("from collections import Counter\n", "from datetime import UTC, datetime\n"),
        tool("ctx.now().isoformat()", "datetime.now(UTC).isoformat()"),
    ),
    defect(
        "what_is_in_doubt_is_told_again",
        "retries",
        "examples",
        spec('"on_unknown": "hold"', '"on_unknown": "retry"'),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "a_channel_that_does_not_answer_is_asked_again_at_once",
        "retries",
        "examples",
        tool(
            "    return [row(channel, outcomes.get(channel)) for channel in channels]\n",
            "    for channel in known:\n"
            "        for _ in range(3):\n"
            '            if outcomes[channel].status in ("done", "skipped", "failed"):\n'
            "                break\n"
            '            outcomes[channel] = ctx.perform("notify", message(args, channel))\n'
            "    return [row(channel, outcomes.get(channel)) for channel in channels]\n",
        ),
    ),
    defect(
        "retries_go_on_for_weeks",
        "retries",
        "spec",
        spec(
            '{"max_attempts": 4, "initial_delay_s": 1, "factor": 2, "max_delay_s": 60}',
            '{"max_attempts": 20, "initial_delay_s": 3600, "factor": 2, "max_delay_s": 86400}',
        ),
    ),
    defect(
        "a_record_that_was_refused_once_is_never_written",
        "retries",
        "tests",
        spec('"retry_failed": true', '"retry_failed": false'),
        grave=True,
        rule="test_failed",
    ),
    defect(
        "an_incident_that_was_opened_by_hand_is_overwritten",
        "concurrency",
        "examples",
        tool('"body": body, "expected_version": 0}', '"body": body}'),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "who_was_not_told_at_first_is_never_told",
        "transactions",
        "effects",
        tool("if recorded.status in INCIDENT_OF:", 'if recorded.status == "done":'),
        grave=True,
        rule="fails_on_repeat",
    ),
    defect(
        "one_channel_that_fails_fails_the_run",
        "transactions",
        "examples",
        tool(
            "    ctx.progress(len(rows), len(channels))\n",
            '    if any(entry["status"] == "failed" for entry in rows):\n'
            '        raise ToolError("channel_failed", "A channel could not be told.")\n'
            "    ctx.progress(len(rows), len(channels))\n",
        ),
    ),
    defect(
        "it_stops_telling_at_the_first_that_fails",
        "transactions",
        "examples",
        tool(
            '    outcomes = dict(zip(known, ctx.perform_each("notify", (message(args, channel) for channel in known)), strict=True))\n',
            "    outcomes: dict[str, Outcome] = {}\n"
            "    for channel in known:\n"
            '        outcomes[channel] = ctx.perform("notify", message(args, channel))\n'
            '        if outcomes[channel].status != "done":\n'
            "            break\n",
        ),
        grave=True,
        rule="example_effect_missing",
    ),
    defect(
        "a_record_that_cannot_be_written_keeps_nobody_from_being_told",
        "swallowed_errors",
        "examples",
        tool("    rows: list[Channel] = []\n" + TELL, "    rows = tell(args, ctx, channels)\n"),
        grave=True,
        rule="example_effect_extra",
    ),
    defect(
        "a_refusal_by_the_host_is_passed_over",
        "swallowed_errors",
        "policy",
        tool("        rows = tell(args, ctx, channels)\n", "        rows = tell_all(args, ctx, channels)\n"),
        tool(
            "def message(args: Args,",
            "def tell_all(args: Args, ctx: Context, channels: list[str]) -> list[Channel]:\n"
            "    try:\n"
            "        return tell(args, ctx, channels)\n"
            "    except ToolError as error:\n"
            "        reason = error.code[:64]\n"
            '        return [{"channel": channel[:64], "status": "no_channel", "reason": reason} for channel in channels]\n\n\n'
            "def message(args: Args,",
        ),
        grave=True,
        rule="refusal_passed_over",
    ),
    defect(
        "a_missing_rota_means_everybody",
        "swallowed_errors",
        "examples",
        tool(
            '        raise ToolError("rota_not_found", f"There is no rota {severity!r} in on_call.")\n', "        return sorted(CHANNELS)\n"
        ),
        grave=True,
        rule="example_effect_extra",
    ),
    defect(
        "the_duty_manager_gets_a_mail_that_is_not_declared",
        "undeclared_access",
        ("policy", "mypy"),
        tool(
            "        rows = tell(args, ctx, channels)\n",
            "        rows = tell(args, ctx, channels)\n"
            '        if any(entry["status"] == "failed" for entry in rows):\n'
            '            ctx.perform("escalate", {"to": "duty@example.com", "subject": args["title"], "text": args["text"]})\n',
        ),
        grave=True,
        rule="undeclared_effect",
    ),
    defect(
        "the_effect_is_chosen_by_the_rota",
        "undeclared_access",
        "policy",
        tool('ctx.perform_each("notify", (message(args, channel)', "ctx.perform_each(effect, (message(args, channel)"),
        after(
            "    known = [channel for channel in channels if channel in CHANNELS]\n",
            '    effect = (ctx.read("rota", key=args["severity"]) or {}).get("effect", "notify")\n',
        ),
        grave=True,
        rule="id_not_literal",
    ),
    defect(
        "the_text_of_the_incident_is_logged",
        "leaks",
        "path",
        tool(
            'ctx.log("incident_started", severity=args["severity"], channels',
            'ctx.log("incident_started", severity=args["severity"], text=args["text"], channels',
        ),
        suite('{"severity": "major", "channels": 2}', '{"severity": "major", "text": ARGS["text"], "channels": 2}'),
    ),
    defect("tests_that_only_run_it", "vacuous_tests", ("imports", "mutation"), suite(WHOLE, NOTHING_ASSERTED)),
    defect("tests_that_do_not_look_at_channels", "vacuous_tests", "mutation", suite(WHOLE, NOBODY_LOOKS_AT_CHANNELS)),
    defect(
        "an_incident_that_is_known_has_no_place_in_the_result",
        "wrong_schema",
        ("mypy", "effects"),
        spec('{"enum": ["opened", "known", "refused"]', '{"enum": ["opened", "refused"]'),
    ),
    defect("a_text_without_a_bound", "wrong_schema", "spec", spec('"minLength": 1, "maxLength": 4000,', '"minLength": 1,')),
    defect(
        "more_channels_may_be_on_call_than_the_result_holds",
        "wrong_schema",
        "properties",
        spec('"type": "array", "maxItems": 20,', '"type": "array", "maxItems": 5,'),
    ),
    defect(
        "doubt_is_counted_as_told",
        "wrong_bucket",
        "examples",
        tool(BUCKETS, BUCKETS.replace('"unknown": "unknown"', '"unknown": "told"')),
        grave=True,
        rule="example_invariant",
    ),
    defect("who_waits_is_counted_as_failed", "wrong_bucket", "examples", tool(BUCKETS, BUCKETS.replace('"waiting"', '"failed"'))),
    defect(
        "who_was_told_before_is_counted_as_told_now",
        "wrong_bucket",
        "effects",
        tool(BUCKETS, BUCKETS.replace('"told_before"', '"told"')),
        grave=True,
        rule=("ends_badly", "fails_on_repeat"),
    ),
    defect(
        "names_that_are_no_channel_are_forgotten_in_everybody",
        "wrong_bucket",
        "properties",
        tool(
            'entry["status"] in ("told", "told_before") for entry in rows)',
            'entry["status"] not in ("waiting", "failed", "unknown") for entry in rows)',
        ),
    ),
)
