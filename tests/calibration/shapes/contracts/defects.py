"""Defects of the contracts shape: settle_contract."""

from __future__ import annotations

from tests.calibration.defect import WHOLE, after, before, defect, spec, suite, tool, without
from tests.calibration.shapes.contracts.suites import NOTHING_ASSERTED, OUTCOMES_ALONE

_TERMINATE = '"id": "terminate",\n      "connector": "records.put",\n      "config": {"collection": "contracts"},\n      "key": '
_SAME_REQUEST_TESTS = """@pytest.mark.parametrize("action", ["renew", "terminate"])
def test_the_same_request_again_changes_nothing(action: str) -> None:
    first = ask(action, now=RENEWING if action == "renew" else ACTIVE)
    t = ask(action, now="2026-06-20T08:00:00Z", after=first)
    assert t.result == {**first.result, "outcome": "already_done", "written": 0, "logged": 0, "mailed": 0, "mail": "sent_before"}
    assert [entry["status"] for entry in t.effects] == ["skipped"] * 3
    assert contracts(t) == contracts(first)


def test_the_same_reinstatement_again_changes_nothing() -> None:
    first = ask("reinstate", TERMINATED)
    t = ask("reinstate", after=first)
    assert (t.result["outcome"], t.result["mail"]) == ("already_done", "sent_before")
    assert contracts(t) == {"K-1": CONTRACT}


"""
_REUSED_TEST = """def test_a_request_id_stands_for_one_action() -> None:
    t = ask("reinstate", after=ask("terminate"))
    assert code(t) == "request_reused"
    assert t.effects == []


"""
_LOG_OF_A_REPEAT = """    again = ask("terminate", after=t)
    assert again.logs[0]["fields"] == {"action": "terminate", "repeated": True}
"""
_TAKEN_TEST = """    assert contracts(t) == {"K-1": CONTRACT, "K-1-2026-07-01": {"number": "x"}}
    assert t.result == {
        "outcome": "conflict",
        "state": "active",
        "ends_on": "2026-06-30",
        "price": "10.00",
        "successor": None,
        "written": 0,
        "logged": 1,
        "mailed": 0,
        "mail": "none",
        "reason": "version_conflict",
    }
"""
_WRITE = """    written = write(args, ctx, found, settled)
    if written.status not in ("done", "skipped"):
        return unsettled(found, written, int(logged.status == "done"))
"""
_LOG = """    logged = ctx.perform("log_request", log_item(args, event))
    if logged.status not in ("done", "skipped"):
        return unsettled(found, logged, 0)
"""

DEFECTS = (
    defect(
        "a_later_version_terminates_each_contract_once",
        "keys",
        "compatibility",
        spec(_TERMINATE + '"[args.contract, args.request_id]"', _TERMINATE + '"[args.contract]"'),
        grave=True,
        rule="key_changed",
    ),
    defect(
        "a_successor_has_a_number_that_nobody_can_make_again",
        "keys",
        ("examples", "tests"),
        tool('settled = settle(found, args["action"],', 'settled = settle(ctx, found, args["action"],'),
        tool("def settle(found: Contract,", "def settle(ctx: Context, found: Contract,"),
        tool('found.number)}-{starts_on}"', 'found.number)}-{ctx.new_id()[:8]}"'),
        grave=True,
        rule=("example_effect", "test_failed"),
    ),
    defect(
        "a_request_that_is_made_again_is_judged_anew",
        "retries",
        "effects",
        tool(
            """    event = ctx.read("event", key=event_key(args))
    repeated = event is not None
    if event is None:
        event = request_of(args, ctx)
    elif event.get("action") != args["action"]:
        raise ToolError("request_reused", f"The request {args['request_id']!r} asked for {event.get('action')!r} before.")
""",
            "    event = request_of(args, ctx)\n",
        ),
        tool('action=args["action"], repeated=repeated)', 'action=args["action"])'),
        spec(',\n    {"id": "event", "connector": "records.get", "config": {"collection": "contract_events"}}', ""),
        suite(_SAME_REQUEST_TESTS, ""),
        suite(_REUSED_TEST, ""),
        suite(_LOG_OF_A_REPEAT, ""),
        suite('{"action": "terminate", "repeated": False}', '{"action": "terminate"}'),
    ),
    defect(
        "the_contract_is_written_before_the_request",
        "order",
        ("examples", "tests"),
        tool(_LOG + _WRITE, _WRITE.replace('int(logged.status == "done")', "0") + _LOG),
        grave=True,
        rule=("example_effect", "test_failed"),
    ),
    defect(
        "the_customer_is_told_before_the_contract_is_written",
        "transactions",
        ("examples", "tests"),
        without('    mailed = ctx.perform("confirm", confirmation(found, settled))\n'),
        before("    written = write(args, ctx, found, settled)\n", '    mailed = ctx.perform("confirm", confirmation(found, settled))\n'),
        grave=True,
        rule=("example_effect", "test_failed"),
    ),
    defect(
        "the_customer_is_told_of_what_was_not_written",
        "transactions",
        ("examples", "tests"),
        tool(_WRITE, "    written = write(args, ctx, found, settled)\n"),
        grave=True,
        rule=("example_effect_extra", "test_failed"),
    ),
    defect(
        "a_contract_is_renewed_without_its_successor",
        "transactions",
        "examples",
        without('        "atomic": True,\n'),
        spec('{"id": "renew", "item": {"atomic": true, "records": [', '{"id": "renew", "item": {"records": ['),
        suite('            "atomic": True,\n', ""),
        suite(_TAKEN_TEST, '    assert contracts(t)["K-1-2026-07-01"] == {"number": "x"}\n'),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "a_successor_overwrites_whatever_has_its_number",
        "concurrency",
        "examples",
        tool('"key": str(settled.successor), "expected_version": 0, "body"', '"key": str(settled.successor), "body"'),
        spec('{"key": "K-7-2026-03-01", "expected_version": 0, "body": {', '{"key": "K-7-2026-03-01", "body": {'),
        suite('{"key": "K-1-2026-07-01", "expected_version": 0, "body": new}', '{"key": "K-1-2026-07-01", "body": new}'),
        suite(_TAKEN_TEST, '    assert t.result["outcome"] == "done"\n'),
        grave=True,
        rule="example_effect",
    ),
    defect(
        "a_contract_that_somebody_else_writes_meanwhile_is_overwritten",
        "concurrency",
        "effects",
        tool('{"key": found.number, "expected_version": found.version, "body": body}', '{"key": found.number, "body": body}'),
        spec(
            '{"id": "terminate", "item": {"key": "K-8", "expected_version": 1, "body": {',
            '{"id": "terminate", "item": {"key": "K-8", "body": {',
        ),
        suite('{"key": "K-1", "expected_version": 1, "body": TERMINATED}', '{"key": "K-1", "body": TERMINATED}'),
        grave=True,
        rule="overwrites_what_it_read",
    ),
    defect(
        "requests_are_kept_in_the_module",
        "state",
        "imports",
        after('CENT = Decimal("0.01")\n', "EVENTS: dict[str, dict[str, Any]] = {}\n"),
        tool(
            '    event = ctx.read("event", key=event_key(args))\n',
            '    event = EVENTS.get(event_key(args)) or ctx.read("event", key=event_key(args))\n',
        ),
        after("        event = request_of(args, ctx)\n", "        EVENTS[event_key(args)] = event\n"),
        grave=True,
        rule="module_state",
    ),
    defect(
        "a_terminated_contract_may_be_terminated_and_renewed",
        "state",
        "tests",
        tool('    if found.body.get("state") != wanted:\n', '    if action == "reinstate" and found.body.get("state") != wanted:\n'),
    ),
    defect(
        "taking_a_termination_back_puts_the_termination_back",
        "state",
        "rollback",
        spec('"body": "item.body.before"', '"body": "item.body"'),
        grave=True,
        rule="undo_differs",
    ),
    defect(
        "the_increase_is_added_to_the_price_as_an_amount",
        "money",
        "examples",
        tool("cents(found.price * (100 + found.increase) / 100)", "cents(found.price + found.increase)"),
        suite('        "price": "10.30",\n        "successor"', '        "price": "13.00",\n        "successor"'),
        suite(
            '        "ends_on": "2027-06-30",\n        "price": "10.30",\n    }\n',
            '        "ends_on": "2027-06-30",\n        "price": "13.00",\n    }\n',
        ),
        suite("at 10.30 a month", "at 13.00 a month"),
    ),
    defect(
        "prices_are_floats",
        "money",
        "tests",
        tool(
            "    price = cents(found.price * (100 + found.increase) / 100)\n",
            "    price = Decimal(str(round(float(found.price) * (1 + float(found.increase) / 100), 2)))\n",
        ),
    ),
    defect(
        "a_month_has_thirty_days",
        "time",
        ("examples", "tests"),
        tool("add_months(starts_on, found.term_months) - timedelta(days=1)", "starts_on + timedelta(days=30 * found.term_months - 1)"),
    ),
    defect(
        "notice_may_be_given_a_day_late",
        "time",
        "examples",
        tool("        if on >= found.notice_from:\n", "        if on > found.notice_from:\n"),
        suite('("terminate", CONTRACT, "2026-06-01", "notice_too_late")', '("terminate", CONTRACT, "2026-06-02", "notice_too_late")'),
    ),
    defect(
        "a_request_that_is_made_again_counts_from_its_second_day",
        "time",
        "tests",
        tool('date.fromisoformat(event["on"]))', "ctx.now().date())"),
        grave=True,
        rule="test_failed",
    ),
    defect("the_day_is_taken_from_the_machine", "time", "imports", tool("ctx.now().date().isoformat()", "date.today().isoformat()")),
    defect(
        "a_confirmation_whose_answer_was_lost_is_sent_again",
        "retries",
        ("examples", "tests"),
        spec('"on_unknown": "hold"', '"on_unknown": "retry"'),
        grave=True,
        rule=("example_effect", "test_failed"),
    ),
    defect(
        "an_event_that_cannot_be_read_is_taken_for_none",
        "swallowed_errors",
        "policy",
        tool(
            '    event = ctx.read("event", key=event_key(args))\n',
            """    try:
        event = ctx.read("event", key=event_key(args))
    except ToolError:
        event = None
""",
        ),
        grave=True,
        rule="refusal_passed_over",
    ),
    defect(
        "a_contract_that_cannot_be_read_ends_without_a_word",
        "swallowed_errors",
        "ruff",
        tool(
            "    settled = settle(found,",
            """    try:
        cents(found.price)
    except:
        ctx.log("price_unreadable")
    settled = settle(found,""",
        ),
    ),
    defect(
        "a_day_that_does_not_exist_is_never",
        "swallowed_errors",
        "tests",
        tool("        raise invalid(number, name) from None\n", "        return date.max\n"),
    ),
    defect(
        "ended_contracts_are_archived_by_an_undeclared_effect",
        "undeclared_access",
        "policy",
        tool(
            "    mailed = ctx.perform(",
            """    if found.body.get("archive"):
        ctx.perform("archive", {"key": found.number, "body": found.body})
    mailed = ctx.perform(""",
        ),
        grave=True,
        rule="undeclared_effect",
    ),
    defect(
        "the_host_is_asked_past_the_context",
        "undeclared_access",
        "imports",
        before(
            '    event = ctx.read("event", key=event_key(args))\n', '    ctx._exchange.send({"t": "log", "event": "asked", "fields": {}})\n'
        ),
        grave=True,
        rule="escape",
    ),
    defect(
        "the_contract_is_logged_whole",
        "leaks",
        "path",
        tool('action=args["action"], repeated=repeated)', 'action=args["action"], repeated=repeated, contract=found.body)'),
        suite('{"action": "terminate", "repeated": False}', '{"action": "terminate", "repeated": False, "contract": CONTRACT}'),
        suite('{"action": "terminate", "repeated": True}', '{"action": "terminate", "repeated": True, "contract": CONTRACT}'),
    ),
    defect(
        "customers_whose_request_is_refused_are_logged",
        "leaks",
        "path",
        after('    if written.status not in ("done", "skipped"):\n', '        ctx.log("request_refused", write_to=found.email)\n'),
    ),
    defect("a_suite_that_asserts_nothing", "vacuous_tests", ("tests", "mutation"), suite(WHOLE, NOTHING_ASSERTED)),
    defect("a_suite_that_asserts_outcomes_alone", "vacuous_tests", ("tests", "mutation"), suite(WHOLE, OUTCOMES_ALONE)),
    defect(
        "a_state_that_is_not_promised",
        "wrong_schema",
        "mypy",
        tool(
            '        "state": "terminated" if before == "terminated" else "active",\n',
            '        "state": before,\n        "state_before": before,\n',
        ),
    ),
    defect(
        "arguments_that_nobody_declared_are_taken",
        "wrong_schema",
        "spec",
        spec(
            '"additionalProperties": false,\n    "required": ["contract", "request_id", "action"]',
            '"required": ["contract", "request_id", "action"]',
        ),
    ),
    defect(
        "an_earlier_mail_counts_as_this_run_s",
        "wrong_bucket",
        "effects",
        tool('int(mailed.status == "done")', 'int(mailed.status in ("done", "skipped"))'),
        suite('"logged": 0, "mailed": 0, "mail": "sent_before"', '"logged": 0, "mailed": 1, "mail": "sent_before"'),
    ),
    defect(
        "what_an_earlier_call_did_is_told_as_done",
        "wrong_bucket",
        "effects",
        tool('"outcome": "done" if written.status == "done" else "already_done"', '"outcome": "done"'),
        suite('{**first.result, "outcome": "already_done", "written": 0,', '{**first.result, "written": 0,'),
        suite('("already_done", "sent_before")', '("done", "sent_before")'),
        suite('        assert (t.result["outcome"] == "done") == (t.result["written"] == 1)\n', ""),
    ),
)
