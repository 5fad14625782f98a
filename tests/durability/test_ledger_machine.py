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
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from sqlmodel import Session

from app.core.clock import Clock, ScriptedClock
from app.core.db import Database
from app.runtime import queue
from app.runtime.repository import bulk
from app.runtime.repository.effects import Claim, FencedOut, Move, move
from app.runtime.repository.planning import Intent, Plan, plan_chunks
from app.runtime.repository.recovery import cancel_open, held_by, recover, recover_claims
from app.runtime.state import EFFECT_MOVES
from app.runtime.verdicts import VERDICTS, redriven, resolved
from tests.durability.ledger_model import Ledger
from tests.support.held import held

OWNERS, RUNS, KEYS = ("ann", "bob", "zoe"), ("r1", "r2"), range(3)
LATER_MS = 1000
EXAMPLES, STEPS = 56, 36
REACHED = {
    ("new", "planned"),
    ("planned", "claimed"),
    ("claimed", "performing"),
    ("claimed", "planned"),
    ("claimed", "cancelled"),
    ("performing", "done"),
    ("performing", "unknown"),
    ("unknown", "planned"),
    ("cancelled", "planned"),
}
"""What these lives reach at the very least; that every transition is reached is the matter of `test_transitions`."""
owners, runs, keys = st.sampled_from(OWNERS), st.sampled_from(RUNS), st.sampled_from(KEYS)
places = st.integers(0, 20)
mostly = st.sampled_from([True, True, False])
policies = st.sampled_from(["hold", "retry"])
verdicts = st.sampled_from(["unknown", "refused_now", "done", "refused"])
worlds = itertools.count()


@pytest.fixture
def clock() -> Clock:
    return ScriptedClock()


class LedgerMachine(RuleBasedStateMachine):
    """`held` is what each process believes that it holds, whatever became of it: a zombie acts upon it."""

    database: Database
    reader: sa.Connection
    clock: ScriptedClock
    reached: set[tuple[str, str]]

    @initialize()
    def begin(self) -> None:
        self.world = f"w{next(worlds)}"
        self._write(lambda session: [session.connection().execute(sa.text(f"DELETE FROM {table}")) for table in _TABLES])
        self.model = Ledger()
        self.taken = 0
        self.lives = dict.fromkeys(RUNS, 0)
        self.held: list[tuple[str, str, int]] = []
        self.sent: list[tuple[str, str, int]] = []

    def _id(self, key: int) -> str:
        return f"{self.world}-{key}"

    def _own(self, name: str) -> str:
        return f"{self.world}-{name}"

    def _run(self, name: str) -> str:
        return f"{self.world}-{name}-{self.lives[name]}"

    def _write(self, work: Callable[[Any], Any]) -> Any:
        with self.database.writing() as session:
            return work(session)

    @rule(
        owner=owners,
        run=runs,
        wanted=st.lists(keys, min_size=1, max_size=4, unique=True),
        step=st.integers(1, 2),
        again=mostly,
        last=st.booleans(),
        policy=policies,
    )
    def plan(self, owner: str, run: str, wanted: list[int], step: int, again: bool, last: bool, policy: str) -> None:
        """A run asks for some effects; what is free is claimed."""
        intents = [_intent(self._id(key), position) for position, key in enumerate(wanted)]
        asked = _plan(self._own(owner), self._run(run), self.taken + 1, step, intents)
        asked = replace(asked, retry_failed=again, last=last, on_unknown=policy)

        def planned(session: Session) -> Any:
            self._take(session, owner, run)
            return plan_chunks(session, [asked])

        (answers,) = self._write(planned)
        for intent, answer in zip(intents, answers, strict=True):
            place = (step, intent.position)
            told = self.model.plan(intent.id, asked.owner, asked.run_id, place, policy=policy, retry_failed=again, last=last)
            assert answer.decision == told, intent.id
            if told == "claim":
                self.held.append((intent.id, asked.owner, answer.fence))
                assert answer.fence == self.model.rows[intent.id].fence

    @precondition(lambda self: self._waiting())
    @rule(owner=owners, run=runs, which=places)
    def take_up(self, owner: str, run: str, which: int) -> None:
        """A run asks for what waits for the queue, or was cancelled; it may lose it again."""
        waiting = self._waiting()
        self.plan(owner, run, [int(waiting[which % len(waiting)].rpartition("-")[2])], 1, True, True, "retry")

    def _waiting(self) -> list[str]:
        return [key for key, row in self.model.rows.items() if row.state == "cancelled" or (row.state == "planned" and row.due)]

    def _take(self, session: Session, owner: str, run: str) -> None:
        """This process holds the run from now on, under the next fence; whoever held it before is a zombie."""
        self.taken += 1
        held(session, self._run(run), self._own(owner), self.taken)

    @rule(zombie=owners, owner=owners, run=runs, key=keys)
    def plan_as_a_zombie(self, zombie: str, owner: str, run: str, key: int) -> None:
        """A process asks for an effect of a run that it held before, perhaps under the same name."""
        late = _plan(self._own(zombie), self._run(run), self.taken + 1, 1, [_intent(self._id(key), 0)])
        with self.database.writing() as session:
            self._take(session, zombie, run)
            self._take(session, owner, run)
        with pytest.raises(FencedOut):
            self._write(lambda session: plan_chunks(session, [late]))

    @rule(owner=owners, run=runs, key=keys, again=mostly, policy=policies, verdict=verdicts, happened=st.booleans())
    def carry_out(self, owner: str, run: str, key: int, again: bool, policy: str, verdict: str, happened: bool) -> None:
        """A run asks for one effect and, if it is free, performs it at once."""
        before = len(self.held)
        self.plan(owner, run, [key], 1, again, True, policy)
        if len(self.held) > before:
            claim = Claim(*self.held.pop())
            assert self._move(Move(claim, "claimed", "performing", self.model.rows[claim.id].attempts + 1))
            self.model.begin(claim.id)
            self._hear(claim, verdict, happened)

    @precondition(lambda self: self.held)
    @rule(which=places, forgets=st.booleans())
    def perform(self, which: int, forgets: bool) -> None:
        """A process, perhaps a zombie, begins what it believes to hold; one that forgets that it did so begins it again."""
        key, owner, fence = self.held[which % len(self.held)]
        if not forgets:
            self.held.remove((key, owner, fence))
        ours = self.model.holds(key, owner, fence, "claimed")
        attempts = self.model.rows[key].attempts + 1
        assert self._move(Move(Claim(key, owner, fence), "claimed", "performing", attempts)) is ours
        if ours:
            self.model.begin(key)
            self.sent.append((key, owner, fence))

    @precondition(lambda self: self.sent)
    @rule(which=places, verdict=verdicts, happened=st.booleans())
    def hear(self, which: int, verdict: str, happened: bool) -> None:
        """The world answers a process, which records it unless it was fenced out meanwhile."""
        self._hear(self.sent.pop(which % len(self.sent)), verdict, happened)

    def _hear(self, sent: tuple[str, str, int], verdict: str, happened: bool) -> None:
        key, owner, fence = sent
        row = self.model.rows[key]
        row.happened += verdict == "done" or (verdict == "unknown" and happened)
        ours = self.model.holds(key, owner, fence, "performing")
        attempts = row.attempts
        after = self.model.reply(key, verdict, self.clock.now() + LATER_MS) if ours else "done"
        via = "unknown" if verdict == "unknown" and after == "planned" else None
        due = row.due if ours else None
        assert self._move(Move(Claim(key, owner, fence), "performing", after, attempts, next_at=due, via=via)) is ours

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

    @rule(owner=owners, ms=st.sampled_from([1, LATER_MS]), verdict=st.none() | verdicts)
    def work_the_queue(self, owner: str, ms: int, verdict: str | None) -> None:
        """A while later a queue takes what is due and, unless it dawdles, performs it."""
        self.clock.advance(ms)
        taken: list[queue.Due] = []
        queue._claim_due(self.database, self._own(owner), 100, taken)
        found = {key for key in self.model.due(self.clock.now()) if self.model.take(key, self._own(owner))}
        assert {due.id for due in taken} == found
        for due in taken:
            row = self.model.rows[due.id]
            assert (due.fence, due.attempts) == (row.fence, row.attempts)
            if verdict is None:
                self.held.append((due.id, due.owner, due.fence))
                continue
            assert self._move(Move(due.claim, "claimed", "performing", row.attempts + 1))
            self.model.begin(due.id)
            self._hear((due.id, due.owner, due.fence), verdict, True)

    @rule(which=places)
    def give_up(self, which: int) -> None:
        """An operator abandons an unknown."""
        self._verdict(which, "abandon")

    @rule(which=places, verdict=st.sampled_from(["confirm_done", "retry"]))
    def give_a_verdict(self, which: int, verdict: str) -> None:
        """An operator decides on an unknown; done is confirmed only where it happened."""
        self._verdict(which, verdict)

    def _verdict(self, which: int, verdict: str) -> None:
        doubtful = [key for key, row in self.model.rows.items() if row.state == "unknown"] or [self._id(which % len(KEYS))]
        key = doubtful[which % len(doubtful)]
        row = self.model.rows.get(key)
        if row is not None and verdict == "confirm_done" and not row.happened:
            verdict = "retry"
        decided = resolved(verdict, "boss", "d", "looked it up", self.clock.now())
        moved = self._write(lambda session: bulk.shift(session, [key], decided))
        assert moved == (row is not None and row.state == "unknown")
        if moved:
            self.model.decide(key, VERDICTS[verdict], self.clock.now())

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
        """A run is cancelled, and another comes in its place: what has not begun will not begin."""
        self._write(lambda session: held(session, self._run(run), None, self.taken, "cancelled"))
        self._write(lambda session: cancel_open(session, self._run(run)))
        self.model.cancel(self._run(run))
        self.lives[run] += 1

    @invariant()
    def the_ledger_is_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        rows = list(self.reader.execute(_ROWS, {"world": f"{self.world}-%"}))
        lives = list(self.reader.execute(_LIVES, {"world": f"{self.world}-%"}))
        assert {
            row.id: (row.state, row.owner if row.state in ("claimed", "performing") else None, row.fence, row.attempts, row.next_at)
            for row in rows
        } == {
            key: (row.state, row.owner if row.state in ("claimed", "performing") else None, row.fence, row.attempts, row.due)
            for key, row in self.model.rows.items()
        }
        paths: dict[str, list[str]] = {}
        last: dict[str, tuple[str, int]] = {}
        for event in lives:
            state, fence = last.get(event.effect_id, ("new", 0))
            assert event.before == state and event.after in EFFECT_MOVES[state], "a life is a path of the diagram"
            assert event.fence >= fence, "fences grow"
            last[event.effect_id] = (event.after, event.fence)
            self.reached.add((event.before, event.after))
            paths.setdefault(event.effect_id, []).append(event.after)
        assert paths == {key: row.path for key, row in self.model.rows.items()}

    @invariant()
    def nothing_is_done_twice_and_nothing_is_made_up(self) -> None:
        for key, row in getattr(self, "model", Ledger()).rows.items():
            assert row.happened <= 1 + row.repeats_allowed, f"{key} was repeated without a doubt and a decision"
            assert row.state != "done" or row.happened, f"{key} is done and never happened"

    @invariant()
    def whatever_is_not_over_is_held_or_due_or_listed_or_will_be_asked_for_again(self) -> None:
        assert getattr(self, "model", Ledger()).forgotten() == []

    def _move(self, wanted: Move) -> bool:
        self.clock.advance(1)  # nobody does one thing twice within a millisecond
        (held,) = self._write(lambda session: move(session, [wanted]))
        return bool(held)


_TABLES = ("effect_event", "sighting", "effect", "run")
_ROWS = sa.text("SELECT id, state, owner, fence, attempts, next_at FROM effect WHERE id LIKE :world")
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


def _plan(owner: str, run: str, fence: int, step: int, intents: list[Intent]) -> Plan:
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
        fence=fence,
        intents=intents,
    )


def test_random_lives_of_a_ledger_are_those_of_the_model(database: Database, clock: ScriptedClock) -> None:
    class Machine(LedgerMachine):
        pass

    Machine.database, Machine.clock, Machine.reached = database, clock, set()
    engine = sa.create_engine(database.engine.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)  # for thousands of looks
    bounded = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # a failure is shown as it was found: to make it smaller takes minutes on a database
        suppress_health_check=list(HealthCheck),
    )
    with engine.connect() as Machine.reader:
        run_state_machine_as_test(Machine, settings=bounded)
    assert Machine.reached >= REACHED
