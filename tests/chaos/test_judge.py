"""The judge of the chaos sees each promise that is broken: books that are in order, then the same with one thing wrong in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.chaos.blows import Blow
from tests.chaos.books import Books, Event, Row
from tests.chaos.judge import Findings, judge_doubts, judge_end
from tests.chaos.mail import DOMAIN, LEAVE_A_TRACE, MAY_BE
from tests.chaos.site import CONNECTIONS, Process

ANN, BOB = "own_ann", "own_bob"
KILL_AT, RESUMED_AT, END_AT = 1_000, 3_000, 9_000


@dataclass
class Case:
    """Books in the making: rows and what the server wrote down, by address, and the blows that fell."""

    rows: dict[str, Row] = field(default_factory=dict)
    accepted: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    blows: list[Blow] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    recovered: dict[str, list[int]] = field(default_factory=dict)
    fence: int = 1

    def add(self, policy: str, name: str, domain: str = DOMAIN) -> Row:
        to = f"{policy}-000.{name}@{domain}"
        self.rows[to] = Row(f"eff_{name}", to, policy, "new", f"<{to}>")
        self.addresses.append(to)
        return self.rows[to]

    def go(self, row: Row, at: int, actor: str, *states: str) -> None:
        for after in states:
            row.events.append(Event(row.state, after, at, self.fence, actor))
            row.state = after

    def accept(self, row: Row, at: int) -> None:
        self.accepted.setdefault(row.to, []).append({"to": row.to, "at": at, "message_id": row.message_id})

    def send(self, row: Row, at: int, actor: str, *, accepted: bool = True, then: str = "done", recorded: int | None = None) -> None:
        """Perform it, from wherever it is, and record what came of it."""
        self.go(row, at, actor, *(("planned", "claimed", "performing") if row.state == "new" else ("claimed", "performing")))
        if accepted:
            self.accept(row, at + 1)
        self.go(row, at + 2 if recorded is None else recorded, "recovery" if recorded else actor, then)

    def findings(self) -> Findings:
        found = Findings()
        books = Books(self.rows, self.accepted, self.recovered)
        judge_doubts(books, self.blows, self.addresses, found)
        for row in self.rows.values():
            if row.state == "unknown":
                if row.to not in self.accepted:
                    self.go(row, END_AT, "key_boss", "planned")
                    self.send(row, END_AT, BOB)
                else:
                    self.go(row, END_AT, "key_boss", "done")
        judge_end(books, self.blows, self.addresses, found)
        return found


def in_order() -> Case:
    """One process killed with two mails in flight, another that goes on, and mails that broke in every way."""
    case = Case()
    case.send(case.add("hold", "fine"), 10, ANN)
    case.send(case.add("hold", "held"), 990, ANN, then="unknown", recorded=2_000)
    again = case.add("retry", "again")
    case.send(again, 990, ANN, then="unknown", recorded=2_000)
    case.go(again, 2_000, "recovery", "planned")
    case.send(again, RESUMED_AT, BOB)
    case.send(case.add("hold", "resumed"), RESUMED_AT, BOB)
    case.send(case.add("retry", "resumed"), RESUMED_AT, BOB)
    for way in sorted(LEAVE_A_TRACE):
        refused = "failed" in MAY_BE[way]
        row = case.add("hold", way, f"{way}.{DOMAIN}")
        case.send(row, 20, ANN, accepted=not refused, then="failed" if refused else "unknown")
    case.blows.append(Blow("kill", KILL_AT, KILL_AT, (Process("worker", 7, (ANN,)),), 2))
    return case


def named(case: Case, name: str) -> Row:
    """The row of this name under `hold`, or under `retry`."""
    return next(row for row in case.rows.values() if row.to.partition("@")[0].endswith(f".{name}"))


def lost(case: Case) -> None:
    row = named(case, "fine")
    row.state, row.events[-1] = "retry_wait", replace(row.events[-1], after="retry_wait")


def never_planned(case: Case) -> None:
    del case.rows[named(case, "fine").to]


def never_accepted(case: Case) -> None:
    del case.accepted[named(case, "fine").to]


def copied_under_hold(case: Case) -> None:
    case.accept(named(case, "fine"), 12)


def copied_without_a_doubt(case: Case) -> None:
    case.accept(named(case, "again"), RESUMED_AT + 2)


def copied_under_another_message_id(case: Case) -> None:
    case.accepted[named(case, "again").to][1]["message_id"] = "<other>"


def sent_by_a_zombie(case: Case) -> None:
    case.accepted[named(case, "held").to][0]["at"] = 2_500


def lost_without_a_blow(case: Case) -> None:
    case.blows[0] = replace(case.blows[0], victims=(Process("worker", 7, ("own_cat",)),))


def in_doubt_without_a_reason(case: Case) -> None:
    case.send(case.add("hold", "odd"), 20, BOB, then="unknown")


def held_and_repeated(case: Case) -> None:
    row = named(case, "held")
    case.go(row, 2_000, "recovery", "planned")
    case.send(row, RESUMED_AT, BOB, then="unknown")


def more_in_doubt_than_in_flight(case: Case) -> None:
    for number in range(CONNECTIONS):
        case.send(case.add("hold", f"many{number}"), 990, ANN, then="unknown", recorded=2_000)


def a_shortcut(case: Case) -> None:
    row = named(case, "fine")
    row.events[:] = [event for event in row.events if event.after != "claimed"]


def a_fence_that_falls(case: Case) -> None:
    row = named(case, "fine")
    row.events[0] = replace(row.events[0], fence=2)


def slow(case: Case) -> None:
    case.blows[0] = replace(case.blows[0], at=RESUMED_AT - 10_001)


def refused_and_accepted(case: Case) -> None:
    case.accept(named(case, "reject550"), 21)


def mail_that_never_broke(case: Case) -> None:
    row = named(case, "hang")
    row.events.clear()
    row.state = "new"
    case.accepted.pop(row.to)
    case.send(row, 20, ANN)


def sent_to_a_stranger(case: Case) -> None:
    case.accepted["eve@example.org"] = [{"to": "eve@example.org", "at": 5, "message_id": "<x>"}]


SPOILT: dict[Callable[[Case], None], str] = {
    lost: "nobody is lost",
    never_planned: "nobody is lost",
    never_accepted: "what is done was accepted by the server",
    copied_under_hold: "policy hold repeats nothing",
    copied_without_a_doubt: "a duplicate has the Message-ID of the first and was unknown",
    copied_under_another_message_id: "a duplicate has the Message-ID of the first and was unknown",
    sent_by_a_zombie: "nothing is sent after its process was fenced out",
    lost_without_a_blow: "every doubt has its cause",
    in_doubt_without_a_reason: "what no blow met is in doubt only where the mail server left it so",
    held_and_repeated: "an unknown is held, not repeated",
    more_in_doubt_than_in_flight: "unknowns are at most the sends in flight",
    a_shortcut: "every life is legal and fences grow",
    a_fence_that_falls: "every life is legal and fences grow",
    slow: "the next effect within 10 s of kill",
    refused_and_accepted: "what failed was not accepted",
    mail_that_never_broke: "mail breaks in every way that leaves a trace",
    sent_to_a_stranger: "the server was sent nothing else",
}


def test_books_in_order_break_no_promise_and_are_counted() -> None:
    found = in_order().findings()
    assert found.broken == []
    assert (found.kills, found.effective, found.most_in_flight, found.duplicates) == (1, 1, 2, {"retry": 1, "hold": 0})
    assert found.recoveries == {"kill": [(RESUMED_AT - KILL_AT) / 1000]}


def test_a_campaign_that_waits_since_everything_was_killed_is_not_held_against_the_kill_before() -> None:
    case = in_order()
    case.blows[0] = replace(case.blows[0], at=RESUMED_AT - 10_001)
    case.blows.append(Blow("everything", RESUMED_AT - 2_000, RESUMED_AT - 2_000, (), 0))
    assert case.findings().broken == []


def test_a_wait_is_held_against_the_blow_that_struck_whoever_had_taken_the_run_over() -> None:
    def judged(*recovered: int) -> Findings:
        case = in_order()
        case.blows[0] = replace(case.blows[0], at=RESUMED_AT - 12_000, until=RESUMED_AT - 12_000)
        case.blows.append(Blow("kill", RESUMED_AT - 9_000, RESUMED_AT - 9_000, (Process("worker-2", 8, ("own_cat",)),), 0))
        case.recovered = {f"{policy}-000": list(recovered) for policy in ("hold", "retry")}
        return case.findings()

    once, twice = judged(RESUMED_AT - 11_000), judged(RESUMED_AT - 11_000, RESUMED_AT - 4_000)
    assert once.broken == ["the next effect within 10 s of kill: 12.0 s"]
    assert (twice.broken, twice.recoveries) == ([], {"kill": [9.0]})


def test_after_a_lock_anybody_may_go_on_for_nobody_died_of_it() -> None:
    case = in_order()
    case.blows.append(replace(case.blows[0], kind="lock", until=KILL_AT + 500, overtaken=True))
    for policy in ("hold", "retry"):
        case.send(case.add(policy, "meanwhile"), KILL_AT + 700, ANN)
    assert case.findings().recoveries["lock"] == [0.2]


@pytest.mark.parametrize(("overtaken", "most"), [(False, CONNECTIONS), (True, 2 * CONNECTIONS)])
def test_at_a_lock_no_more_are_lost_than_have_a_place_and_twice_as_many_where_ends_may_fail_before_beginnings(
    overtaken: bool, most: int
) -> None:
    def broken(lost: int) -> list[str]:
        case = in_order()
        case.blows[0] = replace(case.blows[0], kind="lock", until=KILL_AT + 500, overtaken=overtaken)
        for number in range(lost - case.blows[0].seen):
            case.send(case.add("hold", f"many{number}"), 990, ANN, then="unknown", recorded=2_000)
        return case.findings().broken

    assert broken(most) == []
    assert broken(most + 1) == [f"unknowns are at most the sends in flight ({most}): {most + 1} at lock of worker"]


@pytest.mark.parametrize(("spoil", "promise"), SPOILT.items(), ids=[spoil.__name__ for spoil in SPOILT])
def test_one_thing_wrong_in_the_books_is_seen(spoil: Callable[[Case], None], promise: str) -> None:
    case = in_order()
    spoil(case)
    assert any(line.startswith(promise) for line in case.findings().broken), case.findings().broken
