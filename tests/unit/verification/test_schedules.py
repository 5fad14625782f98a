"""Schedules are a pure list: one for each slot first, the rest by the seed, and a cap that leaves out nothing that is needed."""

from __future__ import annotations

from typing import Any

from app.spec.model import ExecutionSpec
from app.verification.clean import Clean
from app.verification.schedules import MOST_NEEDED, MOST_SCHEDULES, Listed, list_schedules
from app.verification.stage import Done, Played
from app.verification.witness import Heard
from tests.support.refunds import REFUND_SPEC, refund_spec


def clean(spec: ExecutionSpec, number: int = 0, *, asked: list[str] | None = None) -> Clean:
    """A run of an example that does everything for each of its lines."""
    example = spec.examples[number]
    ids = asked if asked is not None else [name for _ in example.args["lines"] for name in ("refund", "book")] + ["tell"]
    done = tuple(Done(effect, {}, "done", None, f"k{number}-{place}") for place, effect in enumerate(ids))
    played = Played("run_1", "completed", {}, None, done, (Heard(asked=ids),))
    return Clean(example, played, {}, played, {}, {}, ("same", {}), {})


def listed(spec: ExecutionSpec, *cleans: Clean, seed: str = "s", admits: Any = lambda _args: True) -> Listed:
    return list_schedules(spec, cleans, admits, seed)


def test_each_effect_meets_each_fault_that_its_kind_knows_at_its_first_and_last_item() -> None:
    spec = refund_spec()
    rows = listed(spec, clean(spec)).all
    matrix = {(row.kind, row.target[0], row.place) for row in rows if row.target is not None}
    remote = {"refuse_for_good", "refuse_now", "lose_reply", "crash_before", "crash_after"}
    expected = {(kind, "refund", place) for kind in remote for place in ("first", "last")} | {(kind, "tell", "first") for kind in remote}
    expected |= {("refuse_all", "refund", "every"), ("refuse_all", "book", "every")}
    expected |= {(kind, "book", place) for kind in remote - {"refuse_now", "lose_reply"} for place in ("first", "last")}
    assert matrix == expected


def test_a_run_is_cut_after_its_first_request_before_its_last_and_wherever_another_effect_follows_for_the_first_time() -> None:
    spec = refund_spec()
    assert [row for row in listed(spec, clean(spec, asked=["refund"])).all if row.at is not None] == []
    rows = listed(spec, clean(spec, asked=["refund", "refund", "book", "book", "tell", "book", "tell"])).all
    assert {row.way: row.at for row in rows if row.kind == "cut"} == {
        ("refund", "refund"): 2,
        ("refund", "book"): 3,
        ("book", "tell"): 7,
        ("tell", "book"): 6,
    }


def test_the_list_comes_in_another_order_twice_over_and_item_by_item_where_the_inputs_admit_that() -> None:
    spec = refund_spec()
    a, b = spec.examples[0].args["lines"]
    calls = {row.kind: [call["lines"] for call in row.calls] for row in listed(spec, clean(spec)).all if row.calls}
    assert calls == {"permuted": [[b, a]], "duplicated": [[a, b, a, b]], "one_by_one": [[a], [b]]}
    short = listed(spec, clean(spec), admits=lambda args: len(args["lines"]) < 3).all
    assert {row.kind for row in short if row.calls} == {"permuted", "one_by_one"}
    assert {row.kind for row in listed(spec, clean(spec, asked=["refund"])).all if row.calls} == {"permuted"}


def test_of_several_lists_those_of_one_length_vary_together_and_none_comes_item_by_item() -> None:
    spec = refund_spec(examples=[{**REFUND_SPEC["examples"][0], "args": {"lines": [1, 2], "notes": ["a", "b"], "tags": ["x", "y", "z"]}}])
    rows = [row for row in listed(spec, clean(spec)).all if row.calls]
    assert {(row.kind, row.way): row.calls for row in rows} == {
        ("permuted", ("lines", "notes")): ({"lines": [2, 1], "notes": ["b", "a"], "tags": ["x", "y", "z"]},),
        ("duplicated", ("lines", "notes")): ({"lines": [1, 2] * 2, "notes": ["a", "b"] * 2, "tags": ["x", "y", "z"]},),
        ("permuted", ("tags",)): ({"lines": [1, 2], "notes": ["a", "b"], "tags": ["x", "z", "y"]},),
    }


def test_the_same_is_listed_each_time_and_another_seed_shuffles_what_is_not_needed() -> None:
    spec = refund_spec()
    runs = [clean(spec, 0), clean(spec, 1)]
    first, again, other = (listed(spec, *runs, seed=seed) for seed in ("s", "s", "t"))
    assert first == again
    assert set(map(str, first.all)) == set(map(str, other.all))
    assert first.all != other.all
    assert first.most == other.most >= MOST_SCHEDULES
    slots = {row.slot for row in first.all if row.place != "last"}
    assert {row.slot for row in first.played} >= slots


def test_what_is_needed_is_played_beyond_the_usual_number_up_to_a_cap() -> None:
    effects = [{**REFUND_SPEC["effects"][0], "id": f"refund{number}"} for number in range(20)]
    spec = refund_spec(effects=effects)
    many = listed(spec, clean(spec, asked=[effect["id"] for effect in effects]))
    assert len(many.played) == MOST_NEEDED < len(many.all)
    assert len(many.played) + len(many.left_out) == len(many.all)
    few = refund_spec(effects=effects[:5])
    assert MOST_SCHEDULES < len(listed(few, clean(few, asked=[effect["id"] for effect in effects[:5]])).played) < MOST_NEEDED
