"""The ledger as a plain-Python model: what each row should be after whatever processes, queues and operators did.

Written from the words of the design (the table of second items, the paths of effects), not from the code that it is compared with.

It refuses to be: the database. One thing happens at a time here; that is what the database must make true.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FAILED = ("failed", "dead", "abandoned")


def most_attempts(key: str) -> int:
    """How often an effect is tried: some once, some twice."""
    return 1 + int(key[-1]) % 2


@dataclass(slots=True)
class Row:
    """One effect. `happened` counts how often the world did it, `happening` whether it may be doing it just now."""

    state: str
    owner: str | None
    fence: int
    run: str
    place: tuple[int, int]
    policy: str
    attempts: int = 0
    due: int | None = None
    decided: bool = False
    happened: int = 0
    repeats_allowed: int = 0
    path: list[str] = field(default_factory=list)

    def go(self, *states: str) -> None:
        """Move along these states."""
        for state in states:
            if (self.state, state) == ("unknown", "planned"):
                self.repeats_allowed += 1
            self.path.append(state)
            self.state = state


@dataclass(slots=True)
class Ledger:
    """All rows by id, where each run has met the effects of others, and which runs were cancelled."""

    rows: dict[str, Row] = field(default_factory=dict)
    sightings: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)

    def plan(self, key: str, owner: str, run: str, place: tuple[int, int], *, policy: str, retry_failed: bool, last: bool) -> str:
        """What a run is told that asks for `key`; a free one is claimed."""
        row = self.rows.get(key)
        if row is None:
            self.rows[key] = Row("new", owner, 1, run, place, policy)
            self.rows[key].go("planned", "claimed")
            return "claim"
        told = self._second(row, key, run, place, retry_failed=retry_failed)
        if told == "claim":
            if row.run != run:
                self.sightings.setdefault((row.run, key), row.place)
            if row.state != "planned":
                row.attempts, row.due = 0, None
                row.go("planned")
            row.go("claimed")
            row.owner, row.run, row.place, row.policy, row.decided = owner, run, place, policy, False
            row.fence += 1
        elif row.run != run and (told != "wait" or last):
            self.sightings.setdefault((run, key), place)
        return told

    def _second(self, row: Row, key: str, run: str, place: tuple[int, int], *, retry_failed: bool) -> str:
        mine = row.run == run
        if (mine and row.place != place) or self.sightings.get((run, key), place) != place:
            return "duplicate"
        table = {
            "planned": "claim",
            "cancelled": "claim",
            "claimed": "wait",
            "performing": "wait",
            "done": "done" if mine else "skipped",
            "retry_wait": "retrying",
            "unknown": "unknown",
        }
        return table.get(row.state) or ("claim" if retry_failed and not mine else "failed")

    def holds(self, key: str, owner: str, fence: int, state: str) -> bool:
        """Whether a process still has what it thinks it has."""
        row = self.rows[key]
        return (row.owner, row.fence, row.state) == (owner, fence, state)

    def begin(self, key: str) -> None:
        """The effect is about to leave the process."""
        row = self.rows[key]
        row.go("performing")
        row.attempts, row.due = row.attempts + 1, None

    def reply(self, key: str, verdict: str, later: int) -> str:
        """The world has answered; returns the state that follows, which the process is to record."""
        row = self.rows[key]
        row.due = None
        if verdict == "unknown":
            repeat = row.policy == "retry" and row.attempts < most_attempts(key)
            row.go("unknown", *(["planned"] if repeat else []))
            row.due = later if repeat else None
        elif verdict == "refused_now":
            row.go("retry_wait" if row.attempts < most_attempts(key) else "dead")
            row.due = later if row.state == "retry_wait" else None
        else:
            row.go("done" if verdict == "done" else "failed")
        return row.state

    def lose(self, keys: list[str], now: int) -> None:
        """Their holder is gone, or lets go of them."""
        for key in keys:
            row = self.rows[key]
            row.fence, row.owner = row.fence + 1, None
            if row.state == "claimed":
                row.go("planned")
            else:
                row.go("unknown", *(["planned"] if row.policy == "retry" else []))
                row.due = now if row.policy == "retry" else row.due

    def decide(self, key: str, after: str, now: int) -> None:
        """A person's verdict on an unknown, or a redrive of a dead letter."""
        row = self.rows[key]
        if row.state == "dead":
            row.attempts = 0
        row.go(after)
        row.fence, row.owner, row.decided = row.fence + 1, None, True
        row.due = now if after == "planned" else None

    def cancel(self, run: str) -> None:
        """Nothing of this run is to be performed any more."""
        self.over.add(run)
        for row in self.rows.values():
            if row.run == run and row.state in ("planned", "claimed", "retry_wait"):
                row.go("cancelled")
                row.fence, row.owner, row.due = row.fence + 1, None, None

    def due(self, now: int) -> list[str]:
        """What a queue that looks now takes."""
        return [key for key, row in self.rows.items() if row.state in ("planned", "retry_wait") and row.due is not None and row.due <= now]

    def take(self, key: str, owner: str) -> bool:
        """A queue has come to it and takes it, unless its run was cancelled meanwhile and nobody has sent it round again."""
        row = self.rows[key]
        row.fence += 1
        if row.run in self.over and row.state == "retry_wait" and not row.decided:
            row.go("cancelled")
            row.owner, row.due = None, None
            return False
        row.go(*(["planned"] if row.state == "retry_wait" else []), "claimed")
        row.owner = owner
        return True

    def forgotten(self) -> list[str]:
        """What is not over, and would be neither due, nor listed for a person, nor asked for again by its run if all holders died now."""
        kept = [key for key, row in self.rows.items() if row.state in ("planned", "claimed", "retry_wait") and row.due is None]
        return [key for key in kept if self.rows[key].state == "retry_wait" or self.rows[key].run in self.over]

    def held_by(self, owner: str) -> list[str]:
        """What this process holds."""
        return [key for key, row in self.rows.items() if row.owner == owner and row.state in ("claimed", "performing")]
