"""The line starts gates as their needs allow, stops at red, tells the same whichever is faster, and takes no broken gate for a pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from app.connectors.scripted import ScriptedCrash
from app.verification.findings import Finding, GateOutcome, GateResult
from app.verification.line import Gate, GateBroke, Watcher, by_urgency, depths, run_line
from app.verification.subject import Bench, Subject
from tests.support.bench import subject

SUBJECT = subject()
BENCH = Bench(cast("Any", None), cast("Any", None), Path(), Path())
RED = GateOutcome([Finding("wrong", "It is wrong.", "Mend it.")])
Before = Callable[[], Awaitable[object]]


def gate(
    name: str,
    *needs: str,
    outcome: GateOutcome | BaseException | None = None,
    seen: list[Any] | None = None,
    before: Before | None = None,
    **more: Any,
) -> Gate:
    async def check(_subject: Subject, _bench: Bench, evidence: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
        if before is not None:
            await before()
        if seen is not None:
            seen.append((name, dict(evidence)))
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome or GateOutcome(evidence={"by": name})

    return Gate(name, needs, check, **more)


def line(gates: Sequence[Gate], **options: Any) -> dict[str, str]:
    return {result.gate: result.status for result in asyncio.run(run_line(gates, SUBJECT, BENCH, **options))}


def test_depths_follow_from_needs() -> None:
    table = [gate("a"), gate("b", "a"), gate("c", "a"), gate("d", "b", "c"), gate("e")]
    assert depths(table) == {"a": 0, "b": 1, "c": 1, "d": 2, "e": 0}
    with pytest.raises(ValueError, match="do not stand before"):
        depths([gate("a", "b"), gate("b")])
    with pytest.raises(ValueError, match="do not stand before"):
        depths([gate("a"), gate("b", reads=("a",))])


def test_the_longest_way_is_begun_first() -> None:
    table = [gate("a", takes=1), gate("b", takes=3), gate("c", "a", takes=4), gate("d", "a", takes=1)]
    assert [each.name for each in by_urgency(table)] == ["a", "c", "b", "d"]
    began: list[str] = []

    async def started(name: str) -> None:
        began.append(name)

    line(table, at_once=1, watcher=Watcher(started, _heard([])))
    assert began == ["a", "c", "b", "d"]


def test_while_the_machine_is_to_be_spared_gates_follow_each_other_and_then_stand_beside_each_other() -> None:
    spared, both, widths, running = [True], asyncio.Event(), [], set[str]()

    async def sparing() -> bool:
        return spared[0]

    def one(name: str) -> Gate:
        async def check(*_: object) -> GateOutcome:
            running.add(name)
            widths.append(len(running))
            if name in ("c", "d"):
                if len(running) == 2:
                    both.set()
                await both.wait()
            spared[0] = name == "a"
            running.discard(name)
            return GateOutcome()

        return Gate(name, (), check)

    bench = replace(BENCH, sparing=sparing)
    results = asyncio.run(run_line([one(name) for name in "abcd"], SUBJECT, bench, at_once=2))
    assert [result.status for result in results] == ["passed"] * 4
    assert widths == [1, 1, 1, 2]


def test_a_gate_starts_as_soon_as_what_it_needs_has_passed() -> None:
    """`d` ends before `b`, which stands above it, does: nothing waits for its neighbours."""

    async def walk() -> dict[str, str]:
        done = asyncio.Event()

        async def tell() -> None:
            done.set()

        table = [gate("a"), gate("b", "a", before=done.wait), gate("c", "a"), gate("d", "c", before=tell)]
        return {result.gate: result.status for result in await run_line(table, SUBJECT, BENCH, at_once=2)}

    assert asyncio.run(walk()) == dict.fromkeys("abcd", "passed")


@pytest.mark.parametrize("at_once", [1, 2, 4])
@pytest.mark.parametrize("first", ["b", "d", "e"])
def test_a_report_does_not_depend_on_which_gate_was_faster(at_once: int, first: str) -> None:
    """`b` is red at depth 1; `d`, red as well, and `e` lie deeper: they count nothing, also where they ended before `b` did."""

    async def walk() -> dict[str, str]:
        over = asyncio.Event()

        async def last() -> None:
            if first != "b" and at_once > 1:
                await over.wait()

        async def tell(result: GateResult) -> None:
            if result.gate == first:
                over.set()

        table = [
            gate("a"),
            gate("b", "a", outcome=RED, before=last),
            gate("c", "a", takes=9),
            gate("d", "c", outcome=RED, takes=9 if first == "d" else 1),
            gate("e", "c", takes=9 if first == "e" else 1),
        ]
        watcher = Watcher(_heard([]), tell)
        return {result.gate: result.status for result in await run_line(table, SUBJECT, BENCH, at_once=at_once, watcher=watcher)}

    assert asyncio.run(walk()) == {"a": "passed", "b": "failed", "c": "passed", "d": "skipped", "e": "skipped"}


@pytest.mark.parametrize(("outcome", "expected"), [(None, ["passed", "passed"]), (RED, ["failed", "skipped"])])
def test_what_may_run_ahead_begins_beside_what_it_needs_and_counts_only_where_that_passes(
    outcome: GateOutcome | None, expected: list[str]
) -> None:
    async def walk() -> list[str]:
        begun = asyncio.Event()

        async def tell() -> None:
            begun.set()

        table = [gate("a", before=begun.wait, outcome=outcome), gate("b", "a", before=tell, ahead=True)]
        return [result.status for result in await run_line(table, SUBJECT, BENCH, at_once=2)]

    assert asyncio.run(walk()) == expected


def test_a_red_gate_ends_what_runs_deeper() -> None:
    ended: list[str] = []

    async def walk() -> dict[str, str]:
        begun = asyncio.Event()

        async def long() -> None:
            try:
                begun.set()
                await asyncio.Event().wait()
            finally:
                ended.append("d")

        table = [gate("a"), gate("b", "a", outcome=RED, before=begun.wait), gate("c", "a", takes=9), gate("d", "c", before=long)]
        return {result.gate: result.status for result in await run_line(table, SUBJECT, BENCH, at_once=2)}

    assert asyncio.run(walk()) == {"a": "passed", "b": "failed", "c": "passed", "d": "skipped"}
    assert ended == ["d"]


def test_a_full_report_goes_on_except_where_a_need_is_red() -> None:
    table = [gate("a"), gate("b", "a", outcome=RED), gate("c", "a"), gate("d", "c"), gate("e", "b")]
    assert line(table, full_report=True) == {"a": "passed", "b": "failed", "c": "passed", "d": "passed", "e": "skipped"}


def test_a_warning_alone_does_not_fail_a_gate() -> None:
    warned = GateOutcome([Finding("odd", "It is odd.", "Look at it.", severity="warning")])
    assert line([gate("a", outcome=warned)]) == {"a": "passed"}


@pytest.mark.parametrize("error", [KeyError("x"), ScriptedCrash(), asyncio.CancelledError()], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("full_report", [False, True])
def test_a_gate_that_breaks_in_any_way_is_an_error_and_no_result(full_report: bool, error: BaseException) -> None:
    with pytest.raises(GateBroke, match=f"gate a broke: {type(error).__name__}"):
        line([gate("a", outcome=error), gate("b", "a")], full_report=full_report)


@pytest.mark.parametrize(("need", "expected"), [(RED, {"b": "failed", "c": "skipped", "e": "passed"}), (None, None)])
def test_a_gate_that_broke_ahead_of_its_need_breaks_the_verification_only_where_that_passes(
    need: GateOutcome | None, expected: dict[str, str] | None
) -> None:
    """`c` breaks before `b` is over; `e` lies deeper and needs neither."""

    async def walk() -> dict[str, str]:
        broke = asyncio.Event()

        async def tell() -> None:
            broke.set()

        table = [
            gate("a"),
            gate("b", "a", outcome=need, before=broke.wait),
            gate("c", "b", outcome=KeyError("x"), before=tell, ahead=True, takes=9),
            gate("d", "a"),
            gate("e1", "d"),
            gate("e", "e1"),
        ]
        return {result.gate: result.status for result in await run_line(table, SUBJECT, BENCH, full_report=True, at_once=2)}

    if expected is None:
        with pytest.raises(GateBroke, match="gate c broke"):
            asyncio.run(walk())
    else:
        assert expected.items() <= asyncio.run(walk()).items()


def test_a_gate_that_breaks_below_a_red_one_counts_as_little_as_any_other() -> None:
    table = [gate("a", takes=1), gate("b", "a", outcome=KeyError("x"), takes=9), gate("c", outcome=RED)]
    assert line(table, at_once=1) == {"a": "passed", "b": "skipped", "c": "failed"}


def test_a_gate_over_its_time_is_red() -> None:
    (result,) = asyncio.run(run_line([gate("slow", before=lambda: asyncio.Event().wait(), limit_s=0.05)], SUBJECT, BENCH))
    assert result.status == "failed" and result.findings[0].rule == "time_limit"


def test_a_gate_is_handed_what_it_names_and_nothing_else() -> None:
    seen: list[Any] = []
    table = [gate("a", seen=seen), gate("b", "a", seen=seen, reads=("a",)), gate("c", "a", seen=seen)]
    line(table, at_once=1)
    assert seen == [("a", {}), ("b", {"a": {"by": "a"}}), ("c", {})]
    handed = SUBJECT.only(frozenset({"tool.py"}))
    assert set(handed.files) == {"tool.py"} and (handed.candidate_id, handed.author) == ("", "")
    other = replace(SUBJECT, candidate_id="cand_2", author="key_other", files={**SUBJECT.files, "test_tool.py": "# other\n"})
    assert other.only(frozenset({"tool.py"})) == handed


def test_watchers_hear_of_each_start_and_end_and_of_the_skipped() -> None:
    heard: list[str] = []

    async def started(name: str) -> None:
        heard.append(f"{name} started")

    line([gate("a", outcome=RED), gate("b", "a")], watcher=Watcher(started, _heard(heard)))
    assert heard == ["a started", "a failed", "b skipped"]


def test_cancelling_the_line_ends_the_gates_that_run() -> None:
    ended: list[str] = []

    async def cancelled() -> None:
        begun = asyncio.Event()

        async def long() -> None:
            try:
                begun.set()
                await asyncio.Event().wait()
            finally:
                ended.append("ended")

        task = asyncio.create_task(run_line([gate("long", before=long)], SUBJECT, BENCH))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert ended == ["ended"]


def _heard(heard: list[str]) -> Callable[[Any], Awaitable[None]]:
    async def note(about: GateResult | str) -> None:
        heard.append(about if isinstance(about, str) else f"{about.gate} {about.status}")

    return note
