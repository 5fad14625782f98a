"""Random lives of a ledger, compared step by step with the model: several processes, zombies among them, queues and operators.

The examples are the same each time (derandomised), on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from app.core.clock import Clock, ScriptedClock
from app.core.db import Database
from app.runtime import queue
from app.runtime.repository import bulk
from app.runtime.repository.effects import Claim, Intent, Move, Plan, move, plan_chunks
from app.runtime.repository.recovery import cancel_open, held_by, recover, recover_claims
from app.runtime.state import EFFECT_MOVES
from app.runtime.verdicts import VERDICTS, redriven, resolved
from tests.durability.ledger_model import Ledger

OWNERS, RUNS, KEYS = ("ann", "bob", "zoe"), ("r1", "r2", "r3"), range(5)
LATER_MS = 1000
owners, runs, keys = st.sampled_from(OWNERS), st.sampled_from(RUNS), st.sampled_from(KEYS)
worlds = itertools.count()


@pytest.fixture
def clock() -> Clock:
    return ScriptedClock()


class LedgerMachine(RuleBasedStateMachine):
    """`held` is what each process believes that it holds, whatever became of it: a zombie acts upon it."""

    database: Database
    clock: ScriptedClock

    @initialize()
    def begin(self) -> None:
        self.world = f"w{next(worlds)}"
        self._write(lambda session: [session.connection().execute(sa.text(f"DELETE FROM {table}")) for table in _TABLES])
        self.model = Ledger()
        self.held: list[tuple[str, str, int]] = []
        self.sent: list[tuple[str, str, int]] = []

    def _id(self, key: int) -> str:
        return f"{self.world}-{key}"

    def _own(self, name: str) -> str:
        return f"{self.world}-{name}"

    def _write(self, work: Callable[[Any], Any]) -> Any:
        with self.database.writing() as session:
            return work(session)

    @rule(
        owner=owners,
        run=runs,
        wanted=st.lists(keys, min_size=1, max_size=4, unique=True),
        step=st.integers(1, 2),
        again=st.booleans(),
        last=st.booleans(),
        policy=st.sampled_from(["hold", "retry"]),
    )
    def plan(self, owner: str, run: str, wanted: list[int], step: int, again: bool, last: bool, policy: str) -> None:
        """A run asks for some effects; what is free is claimed."""
        intents = [_intent(self._id(key), position) for position, key in enumerate(wanted)]
        asked = _plan(self._own(owner), self._own(run), step, intents)
        asked = replace(asked, retry_failed=again, last=last, on_unknown=policy)
        (answers,) = self._write(lambda session: plan_chunks(session, [asked]))
        for intent, answer in zip(intents, answers, strict=True):
            place = (step, intent.position)
            told = self.model.plan(intent.id, asked.owner, asked.run_id, place, policy=policy, retry_failed=again, last=last)
            assert answer.decision == told, intent.id
            if told == "claim":
                self.held.append((intent.id, asked.owner, answer.fence))
                assert answer.fence == self.model.rows[intent.id].fence

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 50))
    def perform(self, which: int) -> None:
        """A process, perhaps a zombie, begins what it believes to hold."""
        key, owner, fence = self.held.pop(which % len(self.held))
        ours = self.model.holds(key, owner, fence, "claimed")
        attempts = self.model.rows[key].attempts + 1
        assert self._move(Move(Claim(key, owner, fence), "claimed", "performing", attempts)) is ours
        if ours:
            self.model.begin(key)
            self.sent.append((key, owner, fence))

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 50), verdict=st.sampled_from(["done", "unknown", "refused_now", "refused"]), happened=st.booleans())
    def hear(self, which: int, verdict: str, happened: bool) -> None:
        """The world answers a process, which records it unless it was fenced out meanwhile."""
        key, owner, fence = self.sent.pop(which % len(self.sent))
        row = self.model.rows[key]
        row.happened += verdict == "done" or (verdict == "unknown" and happened)
        ours = self.model.holds(key, owner, fence, "performing")
        before = (row.attempts, row.policy)
        later = self.clock.now() + LATER_MS
        after = self.model.reply(key, verdict, later) if ours else "done"
        via = "unknown" if verdict == "unknown" and after == "planned" else None
        due = row.due if ours else None
        assert self._move(Move(Claim(key, owner, fence), "performing", after, before[0], next_at=due, via=via)) is ours

    @rule(owner=owners)
    def die(self, owner: str) -> None:
        """A lease ends: whatever the process holds is given up. It may not know."""
        self._write(lambda session: recover(session, held_by([self._own(owner)])))
        self.model.lose(self.model.held_by(self._own(owner)), self.clock.now())

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 50))
    def let_go(self, which: int) -> None:
        """A process gives a claim back by itself, as when its run leaves."""
        key, owner, fence = self.held.pop(which % len(self.held))
        ours = self.model.holds(key, owner, fence, "claimed")
        performing = self.model.holds(key, owner, fence, "performing")
        self._write(lambda session: recover_claims(session, [Claim(key, owner, fence)]))
        if ours or performing:
            self.model.lose([key], self.clock.now())

    @rule(owner=owners)
    def work_the_queue(self, owner: str) -> None:
        """A queue takes what is due."""
        taken = queue._claim_due(self.database, self._own(owner), 100)
        assert sorted(due.id for due in taken) == sorted(self.model.due(self.clock.now()))
        for due in taken:
            self.model.take(due.id, due.owner)
            assert due.fence == self.model.rows[due.id].fence
            self.held.append((due.id, due.owner, due.fence))

    @rule(key=keys, verdict=st.sampled_from(sorted(VERDICTS)))
    def give_a_verdict(self, key: int, verdict: str) -> None:
        """An operator decides on an unknown; done is confirmed only where it happened."""
        row = self.model.rows.get(self._id(key))
        if row is not None and verdict == "confirm_done" and not row.happened:
            verdict = "retry"
        decided = resolved(verdict, "boss", "d", "looked it up", self.clock.now())
        moved = self._write(lambda session: bulk.shift(session, [self._id(key)], decided))
        assert moved == (row is not None and row.state == "unknown")
        if moved and row is not None:
            self.model.decide(self._id(key), VERDICTS[verdict], self.clock.now())

    @rule(some=st.lists(keys, min_size=1, unique=True))
    def redrive(self, some: list[int]) -> None:
        """Dead letters are sent round again."""
        dead = [key for key in map(self._id, some) if key in self.model.rows and self.model.rows[key].state == "dead"]
        again = redriven("boss", "d", "mended", self.clock.now(), None, None)
        assert self._write(lambda session: bulk.shift(session, [self._id(key) for key in some], again)) == len(dead)
        for key in dead:
            self.model.decide(key, "planned", self.clock.now())

    @rule(run=runs)
    def cancel(self, run: str) -> None:
        """A run is cancelled: what has not begun will not begin."""
        self._write(lambda session: cancel_open(session, self._own(run)))
        self.model.cancel(self._own(run))

    @rule(ms=st.sampled_from([1, LATER_MS, 10 * LATER_MS]))
    def wait(self, ms: int) -> None:
        self.clock.advance(ms)

    @invariant()
    def the_ledger_is_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        with self.database.reading() as session:
            rows = list(session.connection().execute(_ROWS, {"world": f"{self.world}-%"}))
            lives = list(session.connection().execute(_LIVES, {"world": f"{self.world}-%"}))
        assert {
            row.id: (row.state, row.owner if row.state in ("claimed", "performing") else None, row.fence, row.attempts) for row in rows
        } == {
            key: (row.state, row.owner if row.state in ("claimed", "performing") else None, row.fence, row.attempts)
            for key, row in self.model.rows.items()
        }
        paths: dict[str, list[str]] = {}
        last: dict[str, tuple[str, int]] = {}
        for event in lives:
            state, fence = last.get(event.effect_id, ("new", 0))
            assert event.before == state and event.after in EFFECT_MOVES[state], "a life is a path of the diagram"
            assert event.fence >= fence, "fences grow"
            last[event.effect_id] = (event.after, event.fence)
            paths.setdefault(event.effect_id, []).append(event.after)
        assert paths == {key: row.path for key, row in self.model.rows.items()}

    @invariant()
    def nothing_is_done_twice_and_nothing_is_made_up(self) -> None:
        for key, row in getattr(self, "model", Ledger()).rows.items():
            assert row.happened <= 1 + row.repeats_allowed, f"{key} was repeated without a doubt and a decision"
            assert row.state != "done" or row.happened, f"{key} is done and never happened"

    def _move(self, wanted: Move) -> bool:
        (held,) = self._write(lambda session: move(session, [wanted]))
        return bool(held)


_TABLES = ("effect_event", "sighting", "effect")
_ROWS = sa.text("SELECT id, state, owner, fence, attempts FROM effect WHERE id LIKE :world")
_LIVES = sa.text("SELECT effect_id, before, after, fence FROM effect_event WHERE effect_id LIKE :world ORDER BY seq")


def _intent(identity: str, position: int) -> Intent:
    return Intent(
        id=identity,
        position=position,
        key=f'["{identity}"]',
        group="g",
        subject=identity,
        item='{"to":"ann@example.org"}',
        fingerprint="f",
        message_id=None,
        value={"to": "ann@example.org"},
    )


def _plan(owner: str, run: str, step: int, intents: list[Intent]) -> Plan:
    return Plan(
        tenant="default",
        tool="send_notes",
        version=1,
        effect="send",
        connector="email.send",
        ledger="notes",
        retry_failed=False,
        on_unknown="hold",
        run_id=run,
        step=step,
        owner=owner,
        intents=intents,
    )


def test_random_lives_of_a_ledger_are_those_of_the_model(database: Database, clock: ScriptedClock) -> None:
    class Machine(LedgerMachine):
        pass

    Machine.database, Machine.clock = database, clock
    quick = settings(
        max_examples=60, stateful_step_count=40, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Machine, settings=quick)
