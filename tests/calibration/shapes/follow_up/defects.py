"""Defects of the follow_up shape: follow_up_quotes."""

from __future__ import annotations

from tests.calibration.defect import WHOLE, after, defect, spec, suite, tool, without
from tests.calibration.shapes.follow_up.suites import EFFECTS_BY_NUMBER, NOTHING_ASSERTED

_STAGES_TEST = """def test_the_stages_follow_one_another_until_the_quote_expires() -> None:
    t = follow_up(quote())
    seen = []
    for day in ("2026-03-11", "2026-03-12", "2026-03-31", "2026-04-01", "2026-04-02"):
        t = trial(run, ARGS, now=f"{day}T09:00:00Z", after=t)
        seen.append(counted(t))
    waiting = {"quotes": 1, "waiting": 1}
    assert seen == [waiting, {"quotes": 1, "sent": 1, "noted": 1}, waiting, {"quotes": 1, "expired": 1}, {}]


"""

_TOMORROW_TEST = """def test_a_reminder_that_is_not_settled_is_not_sent_again_tomorrow() -> None:
    first = follow_up(quote(), script=[{"effect": "remind", "answer": "lose_reply"}])
    t = trial(run, ARGS, now="2026-03-03T09:00:00Z", after=first)
    assert counted(t) == {"quotes": 1, "unknown": 1}
    assert t.items("remind") == []


"""
_NOTE_EFFECT = '"id": "note",\n      "connector": "records.put",\n      "config": {"collection": "quotes"},\n      "key": '

DEFECTS = (
    defect(
        "a_reminder_has_the_key_of_its_quote_whatever_its_stage",
        "keys",
        ("examples", "tests"),
        tool("{found.sent_on}, reminder {found.reminders + 1}", "{found.sent_on}"),
        grave=True,
        rule=("example_effect", "test_failed"),
    ),
    defect(
        "the_day_of_the_run_is_part_of_the_key_of_a_reminder",
        "keys",
        "tests",
        tool("(reminder(found, policy) for found in due)", "(reminder(found, policy, today) for found in due)"),
        tool("def reminder(found: Quote, policy: Policy)", "def reminder(found: Quote, policy: Policy, today: date)"),
        tool('reminder {found.reminders + 1}"', 'reminder {found.reminders + 1} ({today})"'),
        spec("Quote q1 of 2026-02-23, reminder 1", "Quote q1 of 2026-02-23, reminder 1 (2026-03-02)"),
        spec("Quote q2 of 2026-02-01, reminder 2", "Quote q2 of 2026-02-01, reminder 2 (2026-03-02)"),
        spec("Quote q2 of 2026-03-03, reminder 1", "Quote q2 of 2026-03-03, reminder 1 (2026-03-06)"),
        suite('"subject": "Quote q0001 of 2026-02-01, reminder 1"', '"subject": "Quote q0001 of 2026-02-01, reminder 1 (2026-03-02)"'),
        suite(
            '["c@example.com", "Quote q0001 of 2026-02-01, reminder 1"]',
            '["c@example.com", "Quote q0001 of 2026-02-01, reminder 1 (2026-03-02)"]',
        ),
        suite("Quote q0002 of 2026-01-01, reminder 2", "Quote q0002 of 2026-01-01, reminder 2 (2026-03-02)"),
        grave=True,
        rule="test_failed",
    ),
    defect(
        "a_random_number_tells_mails_apart",
        "keys",
        "effects",
        tool("(reminder(found, policy) for found in due)", "(reminder(ctx, found, policy) for found in due)"),
        tool("def reminder(found: Quote,", "def reminder(ctx: Context, found: Quote,"),
        tool(
            'f"Quote {found.key} of {found.sent_on}, reminder {found.reminders + 1}"',
            'f"Your quote {found.key} [{ctx.random.randrange(10**6):06}]"',
        ),
        spec('"subject": "Quote q1 of 2026-02-23, reminder 1", ', ""),
        spec('"subject": "Quote q2 of 2026-02-01, reminder 2", ', ""),
        spec(', "subject": "Quote q2 of 2026-03-03, reminder 1"', ""),
        suite('"subject": "Quote q0001 of 2026-02-01, reminder 1"', '"subject": t.items("remind")[0]["subject"]'),
        suite('["c@example.com", "Quote q0001 of 2026-02-01, reminder 1"]', '["c@example.com", t.items("remind")[0]["subject"]]'),
        suite('["c@example.com", "Quote q0002 of 2026-01-01, reminder 2"]', '["c@example.com", t.items("remind")[1]["subject"]]'),
        suite(
            '{"quotes": 1, "skipped": 1, "noted": 1}\n    assert [entry["status"] for entry in t.effects] == ["skipped", "done"]',
            '{"quotes": 1, "sent": 1, "noted": 1}',
        ),
        suite("_and_not_sent_again", ""),
        suite(_TOMORROW_TEST, ""),
        grave=True,
        rule="new_effects_on_repeat",
    ),
    defect(
        "quotes_beyond_the_limit_are_noted_without_a_mail",
        "order",
        ("examples", "tests"),
        tool('if step == "remind" and (most is None or tally.due < most):\n            tally.due += 1\n', 'if step == "remind":\n'),
        tool("remind(ctx, plan.reminders, policy, today, tally)", 'remind(ctx, plan.reminders, policy, today, tally, args.get("most"))'),
        tool(
            "policy: Policy, today: date, tally: Tally) -> None:", "policy: Policy, today: date, tally: Tally, most: int | None) -> None:"
        ),
        tool(
            "    accepted = [found for found, outcome in zip(due, sent, strict=True) if is_accepted(found, outcome, tally)]\n",
            "    asked = zip(due, islice(sent, most), strict=False)\n"
            "    accepted = [found for found, outcome in asked if is_accepted(found, outcome, tally)]\n",
        ),
        grave=True,
        rule=("example_effect", "test_failed"),
    ),
    defect(
        "a_reminder_is_noted_before_it_is_sent",
        "transactions",
        ("examples", "tests"),
        tool(
            """    sent = ctx.perform_each("remind", (reminder(found, policy) for found in due))
    accepted = [found for found, outcome in zip(due, sent, strict=True) if is_accepted(found, outcome, tally)]
    noted = ctx.perform_each("note", (note(found, today) for found in accepted))
    for found, outcome in zip(accepted, noted, strict=True):
        if outcome.status == "done":
            tally.noted += 1
        elif outcome.status != "skipped":
            tally.show("unnoted", found.key, code_of(outcome))
""",
            """    noted = ctx.perform_each("note", (note(found, today) for found in due))
    ready = []
    for found, outcome in zip(due, noted, strict=True):
        if outcome.status in ("done", "skipped"):
            tally.noted += outcome.status == "done"
            ready.append(found)
        else:
            tally.add("failed", found.key, code_of(outcome))
    sent = ctx.perform_each("remind", (reminder(found, policy) for found in ready))
    for found, outcome in zip(ready, sent, strict=True):
        is_accepted(found, outcome, tally)
""",
        ),
        grave=True,
        rule=("example_effect", "test_failed"),
    ),
    defect(
        "a_reminder_in_the_retry_queue_is_noted",
        "transactions",
        ("examples", "tests"),
        tool(
            '(outcome.status, "failed"), found.key, code_of(outcome))\n    return outcome.status in ("done", "skipped")',
            '(outcome.status, "failed"), found.key, code_of(outcome))\n    return outcome.status != "failed"',
        ),
        grave=True,
        rule=("example_effect", "test_failed"),
    ),
    defect(
        "replies_are_kept_in_the_module",
        "state",
        "imports",
        after("SATURDAY = 5\n", "ANSWERED: set[str] = set()\n"),
        tool("    answered = set(replied(ctx))\n", "    ANSWERED.update(replied(ctx))\n    answered = ANSWERED\n"),
        grave=True,
        rule="module_state",
    ),
    defect(
        "days_are_counted_from_the_quote_itself",
        "time",
        ("effects", "rollback"),
        tool("waited = (today - found.last_word).days", "waited = (today - found.sent_on).days"),
        suite('("2026-01-01", 1, "2026-02-21", "waiting"),', '("2026-02-21", 1, "2026-02-22", "waiting"),'),
        suite('("2026-01-01", 2, "2026-02-11", "waiting"),', '("2026-02-11", 2, "2026-02-28", "waiting"),'),
        suite(
            'after=follow_up(quote()))\n    assert counted(t) == {"quotes": 1, "waiting": 1}',
            'after=follow_up(quote(1, "2026-02-23")))\n    assert counted(t) == {"quotes": 1, "waiting": 1}',
        ),
        suite(_STAGES_TEST, ""),
        grave=True,
        rule="new_effects_on_repeat",
    ),
    defect("the_day_is_taken_from_the_machine", "time", "imports", tool("    today = ctx.now().date()\n", "    today = date.today()\n")),
    defect(
        "a_reminder_is_due_a_day_late",
        "time",
        ("examples", "tests"),
        tool("is_due = waited >= policy", "is_due = waited > policy"),
        suite(
            '("2026-02-23", 0, None, "sent"),\n        ("2026-02-24", 0, None, "waiting"),',
            '("2026-02-22", 0, None, "sent"),\n        ("2026-02-23", 0, None, "waiting"),',
        ),
    ),
    defect(
        "a_day_begins_two_hours_early",
        "time",
        "examples",
        tool("from datetime import date\n", "from datetime import date, timedelta\n"),
        tool("    today = ctx.now().date()\n", "    today = (ctx.now() + timedelta(hours=2)).date()\n"),
    ),
    defect("a_weekend_is_sunday", "time", "tests", tool("SATURDAY = 5\n", "SATURDAY = 6\n")),
    defect(
        "a_reminder_whose_answer_was_lost_is_sent_again",
        "retries",
        ("examples", "tests"),
        spec('"on_unknown": "hold"', '"on_unknown": "retry"'),
        grave=True,
        rule=("example_effect", "test_failed"),
    ),
    defect(
        "a_reminder_that_is_not_settled_is_sent_once_more",
        "retries",
        "examples",
        tool(
            "    noted = ctx.perform_each(",
            """    for found in due:
        if found not in accepted:
            ctx.perform("remind", {**reminder(found, policy), "subject": f"Once more: quote {found.key}"})
    noted = ctx.perform_each(""",
        ),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "a_quote_that_somebody_else_writes_meanwhile_is_overwritten",
        "concurrency",
        "effects",
        spec(_NOTE_EFFECT + '"[item.key, item.expected_version]"', _NOTE_EFFECT + '"[item.key, item.body.reminders]"'),
        spec('{"id": "note", "item": {"key": "q1", "expected_version": 1, "body"', '{"id": "note", "item": {"key": "q1", "body"'),
        spec('{"id": "note", "item": {"key": "q2", "expected_version": 1, "body"', '{"id": "note", "item": {"key": "q2", "body"'),
        without('        "expected_version": found.row["version"],\n'),
        suite('            "key": "q0001",\n            "expected_version": 1,\n', '            "key": "q0001",\n'),
        suite('["q0002", 1],', '["q0002", 2],'),
        grave=True,
        rule="overwrites_what_it_read",
    ),
    defect(
        "a_quote_that_another_run_has_closed_is_a_failure",
        "concurrency",
        "effects",
        tool(
            'closing.state if outcome.status in ("done", "skipped") else "failed"',
            'closing.state if outcome.status == "done" else "failed"',
        ),
    ),
    defect(
        "without_the_replies_everyone_is_reminded",
        "swallowed_errors",
        "policy",
        tool(
            """    for row in ctx.read_pages("replies", collection="replies"):
        named = row["body"].get("quote")
        if isinstance(named, str):
            yield named
""",
            """    try:
        for row in ctx.read_pages("replies", collection="replies"):
            named = row["body"].get("quote")
            if isinstance(named, str):
                yield named
    except ToolError:
        ctx.log("replies_unreadable")
""",
        ),
        grave=True,
        rule="refusal_passed_over",
    ),
    defect(
        "a_quote_that_cannot_be_read_is_passed_over",
        "swallowed_errors",
        ("examples", "tests"),
        tool(
            '        except Unreadable as error:\n            tally.add("invalid", row["key"], str(error))\n            continue\n',
            "        except Unreadable:\n            continue\n",
        ),
    ),
    defect(
        "a_cancelled_run_goes_on",
        "swallowed_errors",
        ("imports", "ruff"),
        tool(
            "        remind(ctx, plan.reminders, policy, today, tally)\n",
            """        try:
            remind(ctx, plan.reminders, policy, today, tally)
        except BaseException as error:
            ctx.log("reminders_broke_off", error=str(error))
""",
        ),
        grave=True,
        rule=("swallows_cancellation", "ruff:BLE001"),
    ),
    defect(
        "customers_with_a_phone_get_an_undeclared_text_message",
        "undeclared_access",
        "policy",
        tool(
            "    noted = ctx.perform_each(",
            """    for found in accepted:
        if "phone" in found.row["body"]:
            ctx.perform("text", {"to": found.row["body"]["phone"], "text": f"We wrote to you about quote {found.key}."})
    noted = ctx.perform_each(""",
        ),
        grave=True,
        rule="undeclared_effect",
    ),
    defect(
        "which_read_is_asked_for_is_computed",
        "undeclared_access",
        "policy",
        tool('    body = ctx.read("policy", key=policy_id)\n', '    body = ctx.read("_".join(["policy"]), key=policy_id)\n'),
    ),
    defect(
        "customers_whose_reminder_is_refused_are_logged",
        "leaks",
        "path",
        tool("if is_accepted(found, outcome, tally)]\n", "if is_accepted(ctx, found, outcome, tally)]\n"),
        tool(
            "def is_accepted(found: Quote, outcome: Outcome, tally: Tally) -> bool:\n"
            '    """Whether the mail server has taken the reminder, now or earlier."""\n',
            "def is_accepted(ctx: Context, found: Quote, outcome: Outcome, tally: Tally) -> bool:\n"
            '    """Whether the mail server has taken the reminder, now or earlier."""\n'
            '    if outcome.status == "failed":\n'
            '        ctx.log("reminder_refused", quote=found.key, to=found.email)\n',
        ),
    ),
    defect(
        "customers_are_logged_by_name",
        "leaks",
        "path",
        after("            tally.noted += 1\n", '            ctx.log("reminded", quote=found.key, customer=found.name)\n'),
        suite('["follow_up_started", "follow_up_finished"]', '["follow_up_started", "reminded", "follow_up_finished"]'),
        suite('t.logs[1]["fields"] ==', 't.logs[-1]["fields"] =='),
    ),
    defect("a_suite_that_asserts_nothing", "vacuous_tests", ("tests", "mutation"), suite(WHOLE, NOTHING_ASSERTED)),
    defect("a_suite_that_counts_effects", "vacuous_tests", ("tests", "mutation"), suite(WHOLE, EFFECTS_BY_NUMBER)),
    defect("the_number_of_noted_reminders_is_left_out", "wrong_schema", "mypy", without('        "noted": tally.noted,\n')),
    defect("more_samples_are_taken_than_the_result_may_hold", "wrong_schema", "properties", tool("SAMPLES = 4\n", "SAMPLES = 5\n")),
    defect(
        "a_reminder_that_may_be_lost_counts_as_sent",
        "wrong_bucket",
        "examples",
        tool('"retrying": "retry_queue", "unknown": "unknown"}', '"retrying": "retry_queue", "unknown": "sent"}'),
        suite('("lose_reply", "unknown"), ', ""),
        grave=True,
        rule="example_invariant",
    ),
    defect(
        "quotes_beyond_the_limit_are_not_counted",
        "wrong_bucket",
        ("examples", "tests"),
        tool(
            '        else:\n            tally.add("waiting", found.key, step)',
            '        elif step == "waiting":\n            tally.add("waiting", found.key, step)',
        ),
        suite('{"quotes": 4, "sent": 2, "noted": 2, "waiting": 1, "expired": 1}', '{"quotes": 4, "sent": 2, "noted": 2, "expired": 1}'),
    ),
)
