"""Trials: the table of what a second item with the same key gets, faults, crashes, limits and the world."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from generated_tools.toolkit import Context, ToolError
from generated_tools.toolkit.testing import Trial, trial

SPEC: dict[str, Any] = {
    "reads": [
        {"id": "one", "connector": "records.get", "config": {"collection": "people"}},
        {"id": "many", "connector": "records.query", "config": {"collections": ["people"]}},
    ],
    "effects": [
        {"id": "send", "connector": "email.send", "config": {}, "key": "[args.id, item.to]", "limits": {"per_run": 1000}},
        {
            "id": "resend",
            "connector": "email.send",
            "config": {},
            "key": "[args.id, item.to]",
            "on_unknown": "retry",
            "retry_failed": True,
            "limits": {"per_run": 1000},
        },
        {
            "id": "save",
            "connector": "records.put",
            "config": {"collection": "people"},
            "key": "[args.id, item.key]",
            "limits": {"per_run": 3},
        },
        {"id": "pair", "connector": "records.put_many", "config": {"collection": "people"}, "key": "[args.id]"},
    ],
    "limits": {"result_bytes": 2000},
}


def mail(to: str, text: str = "x") -> dict[str, Any]:
    return {"to": to, "subject": "s", "text": text}


def each(args: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Performs one effect on each item and tells what became of them."""
    outcomes = ctx.perform_each(args["effect"], args["items"])
    return {"outcomes": [[o.status, (o.error or {}).get("code"), o.differs] for o in outcomes]}


def perform(effect: str, *items: Any, **more: Any) -> Trial:
    return trial(each, {"id": "1", "effect": effect, "items": list(items)}, spec=SPEC, **more)


def statuses(t: Trial) -> list[str]:
    return [outcome[0] for outcome in t.result["outcomes"]]


def script(answer: str, **more: Any) -> list[dict[str, Any]]:
    return [{"effect": effect, "answer": answer, **more} for effect in ("send", "resend", "save")]


def test_the_same_key_again_in_one_run_is_a_duplicate_and_tells_whether_it_differs() -> None:
    t = perform("send", mail("a@example.com"), mail("A@Example.com"), mail("a@example.com", "y"))
    assert t.result["outcomes"] == [["done", None, False], ["duplicate", None, False], ["duplicate", None, True]]
    assert t.counts["send"] == {"done": 1, "skipped": 0, "retrying": 0, "failed": 0, "unknown": 0, "distinct": 1}


def test_what_another_run_did_is_skipped() -> None:
    t = perform("send", mail("a@example.com", "y"), mail("b@example.com"), after=perform("send", mail("a@example.com")))
    assert t.result["outcomes"] == [["skipped", None, True], ["done", None, False]]
    assert t.counts["send"]["skipped"] == 1


@pytest.mark.parametrize(
    ("effect", "answer", "first", "second"),
    [
        ("send", "refuse_now", "retrying", "retrying"),
        ("send", "refuse_for_good", "failed", "failed"),
        ("send", "lose_reply", "unknown", "unknown"),
        ("send", "crash", "unknown", "unknown"),
        ("resend", "lose_reply", "retrying", "retrying"),
        ("resend", "crash", "done", "skipped"),
        ("resend", "refuse_for_good", "failed", "done"),
        ("save", "lose_reply", "done", "skipped"),
        ("save", "crash_before", "done", "skipped"),
        ("save", "refuse_for_good", "failed", "failed"),
    ],
)
def test_each_fault_ends_in_its_state_and_the_next_run_meets_it(effect: str, answer: str, first: str, second: str) -> None:
    item = {"key": "k", "body": {}} if effect == "save" else mail("a@example.com")
    t = perform(effect, item, script=script(answer))
    assert statuses(t) == [first]
    assert t.crashes == answer.startswith("crash")
    assert statuses(perform(effect, item, after=t)) == [second]


def test_a_trial_does_not_change_the_one_that_it_goes_on_from() -> None:
    first = perform("send", mail("a@example.com"))
    assert statuses(perform("send", mail("b@example.com"), after=first)) == ["done"]
    assert statuses(perform("send", mail("b@example.com"), after=first)) == ["done"]


def test_a_crash_starts_again_from_the_top_and_repeats_no_effect() -> None:
    seen: list[list[str]] = []

    def run(args: dict[str, Any], ctx: Context) -> dict[str, Any]:
        ctx.log("begun", id=ctx.new_id(), number=ctx.random.random())
        seen.append([ctx.read("one", key="a")["name"]])
        for outcome in ctx.perform_each("save", [{"key": key, "body": {"name": "new"}} for key in "ab"]):
            seen[-1].append(outcome.status)
        return {}

    world = {"records": {"people": [{"key": "a", "body": {"name": "old"}}]}}
    t = trial(run, {"id": "1"}, world=world, spec=SPEC, script=[{"effect": "save", "when": {"key": "b"}, "answer": "crash"}])
    assert seen == [["old"], ["old", "done", "done"]]
    assert [entry["status"] for entry in t.effects] == ["done", "done"]
    assert len(t.logs) == 1


def test_a_run_that_asks_for_something_else_after_a_crash_is_stopped() -> None:
    attempts: list[int] = []

    def run(args: dict[str, Any], ctx: Context) -> dict[str, Any]:
        attempts.append(1)
        ctx.read("one", key=str(len(attempts)))
        ctx.perform("save", {"key": "k", "body": {}})
        return {}

    t = trial(run, {"id": "1"}, spec=SPEC, script=script("crash"))
    assert t.error is not None
    assert t.error["code"] == "nondeterminism"


def test_a_run_that_kills_its_worker_three_times_is_quarantined() -> None:
    t = perform("resend", mail("a@example.com"), script=script("crash", times=9))
    assert t.error is not None
    assert (t.error["code"], t.crashes) == ("quarantined", 3)


def test_undeclared_calls_are_refused() -> None:
    for run, code in (
        (lambda args, ctx: ctx.perform("steal", {}), "effect_undeclared"),
        (lambda args, ctx: ctx.read("secrets"), "read_undeclared"),
        (lambda args, ctx: ctx.read("many", collection="other"), "collection_not_declared"),
    ):
        t = trial(run, {"id": "1"}, spec=SPEC)
        assert t.error is not None
        assert t.error["code"] == code
        assert t.effects == []


def test_a_limit_refuses_the_chunk_that_goes_over_it() -> None:
    t = perform("save", *({"key": str(n), "body": {}} for n in range(4)))
    assert t.error is not None
    assert t.error["code"] == "effect_limit_exceeded"
    assert t.world["records"] == {}


@pytest.mark.parametrize("item", [7, {}, mail("nobody"), {"subject": "s", "text": "t"}])
def test_an_item_that_the_connector_cannot_take_fails_alone(item: Any) -> None:
    t = perform("send", item, mail("a@example.com"))
    assert statuses(t) == ["failed", "done"]
    assert t.result["outcomes"][0][1] == "item_invalid"
    assert t.counts["send"]["distinct"] == 1


def test_an_expected_version_guards_a_record() -> None:
    t = perform("save", {"key": "k", "body": {"n": 1}, "expected_version": 0})
    assert statuses(t) == ["done"]
    late = trial(each, {"id": "2", "effect": "save", "items": [{"key": "k", "body": {"n": 2}, "expected_version": 0}]}, spec=SPEC, after=t)
    assert late.result["outcomes"] == [["failed", "version_conflict", False]]
    assert late.world["records"]["people"] == [{"key": "k", "body": {"n": 1}}]


def test_many_records_are_one_effect_with_a_receipt_for_each() -> None:
    def run(args: dict[str, Any], ctx: Context) -> Any:
        return ctx.perform("pair", {"records": [{"key": "a", "body": {}}, {"key": "b", "body": {}}]}).receipt

    t = trial(run, {"id": "1"}, spec=SPEC)
    assert t.result == {"records": [{"key": "a", "version": 1}, {"key": "b", "version": 1}]}


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [({}, ["a", "b", "c"]), ({"n": 1}, ["a"]), ({"n": [1, 2]}, ["a", "b"]), ({"n": None}, ["c"]), ({"n": True}, [])],
)
def test_pages_hold_what_the_filter_asks_for(wanted: dict[str, Any], keys: list[str]) -> None:
    people = [{"key": "b", "body": {"n": 2}}, {"key": "a", "body": {"n": 1}}, {"key": "c", "body": {}}]

    def run(args: dict[str, Any], ctx: Context) -> Any:
        return [row["key"] for row in ctx.read_pages("many", collection="people", filter=wanted, limit=2)]

    assert trial(run, {"id": "1"}, spec=SPEC, world={"records": {"people": people}}).result == keys


def test_the_clock_stands_still_and_is_the_trial_s() -> None:
    t = trial(lambda args, ctx: {"now": ctx.now().isoformat()}, {}, spec=SPEC, now="2026-07-01T12:00:00+02:00")
    assert datetime.fromisoformat(t.result["now"]) == datetime(2026, 7, 1, 10, tzinfo=UTC)


def test_ids_and_chance_repeat_with_the_same_history_and_differ_between_runs() -> None:
    def run(args: dict[str, Any], ctx: Context) -> Any:
        return [ctx.new_id(), ctx.random.random()]

    first = trial(run, {}, spec=SPEC)
    assert trial(run, {}, spec=SPEC).result == first.result
    assert trial(run, {}, spec=SPEC, after=first).result != first.result


def test_a_business_failure_is_an_error_and_any_other_is_raised() -> None:
    def fail(args: dict[str, Any], ctx: Context) -> Any:
        raise ToolError("out_of_stock", "None is left.")

    t = trial(fail, {}, spec=SPEC)
    assert t.error == {"code": "out_of_stock", "message": "None is left."}
    with pytest.raises(ZeroDivisionError):
        trial(lambda args, ctx: 1 / 0, {}, spec=SPEC)


def test_a_result_over_its_limit_and_one_that_is_no_json_are_not_accepted() -> None:
    t = trial(lambda args, ctx: {"x": "ü" * 1000}, {}, spec=SPEC)
    assert t.error is not None
    assert t.error["code"] == "result_too_large"
    with pytest.raises(ValueError, match="JSON"):
        trial(lambda args, ctx: float("nan"), {}, spec=SPEC)


def test_a_tool_cannot_change_its_arguments_or_the_world_but_by_effects() -> None:
    def run(args: dict[str, Any], ctx: Context) -> Any:
        args["list"].append(1)
        ctx.read("one", key="a")["name"] = "changed"
        return ctx.read("one", key="a")

    args: dict[str, Any] = {"list": []}
    t = trial(run, args, spec=SPEC, world={"records": {"people": [{"key": "a", "body": {"name": "Ann"}}]}})
    assert args == {"list": []}
    assert t.result == {"name": "Ann"}


def test_a_spec_that_is_nowhere_is_asked_for() -> None:
    with pytest.raises(FileNotFoundError, match=r"spec\.json"):
        trial(each, {})
