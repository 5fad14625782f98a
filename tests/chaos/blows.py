"""The blows: whom chance picks, when it strikes, and what was seen at that moment.

A blow falls while sends are under way; whether it interrupted an effect is judged afterwards, from the ledger (`judge`).

It refuses to be: merciful, or to count what it missed.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.chaos.scenarios import Scenario
from tests.chaos.site import Process, Site, now_ms
from tests.chaos.surroundings import REDIS, disturb_redis, lock_comes_free, lock_database
from tests.support.waiting import until

KILLS = frozenset({"kill", "everything"})
PROMISED_S = {"kill": 10.0, "everything": 30.0, "zombie": 20.0, "lock": 10.0} | dict.fromkeys(REDIS, 10.0)
"""Within how many seconds the next effect begins: after the blow, for a lock after its end."""
PATIENCE_S = 90.0
SQLITE_WAITS_S = 30.0
"""How long a write waits for SQLite's lock before it fails: `busy_timeout` of `app.core.db`."""
EARLIEST_S, LATEST_S = 0.1, 1.0


@dataclass(frozen=True, slots=True)
class Blow:
    """One stroke. `at` and `until` in ms UTC: when it fell and when it was over (a zombie was woken, a lock released).

    `victims`: the processes that may lose what they hold; `seen`: their effects in flight just before; `overtaken`: whether effects may
    begin though the ends of those before them, which were handed in first, could not be written.
    """

    kind: str
    at: int
    until: int
    victims: tuple[Process, ...]
    seen: int
    overtaken: bool = False

    @property
    def owners(self) -> frozenset[str]:
        return frozenset(owner for victim in self.victims for owner in victim.owners)

    @property
    def judged_from(self) -> int:
        """The instant from which the next effect is waited for."""
        return self.until if self.kind == "lock" else self.at


@dataclass(eq=False)
class Striker:
    """Strikes until the scenario has had its blows or the deadline has passed."""

    site: Site
    scenario: Scenario
    seed: str
    deadline: float
    say: Callable[[str], None]
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def strike_all(self) -> list[Blow]:
        """Every blow that fell, in order."""
        blows: list[Blow] = []
        for kind in self._order():
            hit = False
            while not hit and time.monotonic() < self.deadline:
                blow = self._strike(kind)
                if blow is not None:
                    blows.append(blow)
                    hit = blow.kind == kind and (blow.seen > 0 or not blow.victims)
                    self._recover(blow)
        return blows

    def _order(self) -> list[str]:
        scenario = self.scenario
        redis = self.rng.sample(REDIS, len(REDIS)) * scenario.redis
        kinds = ["kill"] * scenario.kills + ["zombie"] * scenario.zombies + ["lock"] * bool(scenario.lock_s) + redis[: scenario.redis]
        self.rng.shuffle(kinds)
        for number in range(scenario.everything):
            kinds.insert((number + 1) * (len(kinds) // (scenario.everything + 1) + 1), "everything")
        return kinds

    def _strike(self, kind: str) -> Blow | None:
        self._under_way()
        until(_after(self.rng.uniform(EARLIEST_S, LATEST_S)), LATEST_S + 5, "chance's moment")
        if kind in REDIS:
            at = now_ms()
            disturb_redis(self.site, kind)
            return Blow(kind, at, at, (), 0)
        if kind == "lock":
            return self._lock()
        if kind == "everything":
            return self._kill_everything()
        holding = [process for process in self.site.processes() if self.site.performing(process)]
        if not holding:
            return None
        victim = self.rng.choice(holding)
        return self._kill(victim) if kind == "kill" else self._stop_and_wake(victim)

    def _kill(self, victim: Process) -> Blow:
        os.kill(victim.pid, signal.SIGSTOP)  # what it has in flight now is what it has when it dies
        seen = self.site.performing(victim)
        at = now_ms()
        os.kill(victim.pid, signal.SIGKILL)
        return Blow("kill", at, at, (victim,), seen)

    def _lock(self) -> Blow:
        """Nobody can write, not even that he lives: a lease that ends meanwhile is lost, and what was held under it."""
        victims, seen = self._all()
        at, until_ = lock_database(self.site.home, self.site.database.url, self.scenario.lock_s)
        overtaken = not self.site.database.is_sqlite or self.scenario.lock_s >= SQLITE_WAITS_S
        return Blow("lock", at, until_, victims, seen, overtaken)

    def _all(self) -> tuple[tuple[Process, ...], int]:
        """Every process, and how many effects they have in flight."""
        victims = tuple(self.site.processes()) + tuple(self.site.processes("web"))
        return victims, sum(self.site.performing(victim) for victim in victims)

    def _kill_everything(self) -> Blow:
        victims, seen = self._all()
        at = now_ms()
        self.site.kill_everything()
        return Blow("everything", at, at, victims, seen)

    def _stop_and_wake(self, victim: Process) -> Blow | None:
        """Stop a worker for longer than its lease, until others have taken over what it held. One that fell asleep with SQLite's lock is
        woken at once: nobody could take anything over. Where none could though it had no such lock, that was a lock for everybody.
        """
        everyone, in_flight = self._all()
        at = now_ms()
        os.kill(victim.pid, signal.SIGSTOP)
        if not lock_comes_free(self.site.database):
            os.kill(victim.pid, signal.SIGCONT)
            return None
        try:
            seen = self.site.performing(victim)
            asleep = self.scenario.lease_s + self.rng.uniform(1.2, 2.0)
            until(_after(asleep), asleep + 5, "the zombie's sleep is over")
            taken_over = self.site.performing(victim) == 0
            woken = now_ms()
        finally:
            with suppress(ProcessLookupError):
                os.kill(victim.pid, signal.SIGCONT)
        if not taken_over:
            return Blow("lock", at, woken, everyone, in_flight, not self.site.database.is_sqlite)
        return Blow("zombie", at, woken, (victim,), seen)

    def _under_way(self) -> None:
        before = len(self.site.log.read())
        until(lambda: len(self.site.log.read()) > before + 20, PATIENCE_S, "sends are under way")

    def _recover(self, blow: Blow) -> None:
        before = len(self.site.log.read())
        until(lambda: len(self.site.log.read()) > before + 20, PATIENCE_S, f"sends go on after {blow.kind}")
        names = " ".join(victim.name for victim in blow.victims)
        whom = f"{blow.kind} of {names}: {blow.seen} begun" if names else blow.kind
        self.say(f"{whom}; sends went on after {(now_ms() - blow.judged_from) / 1000:.1f} s")


def _after(seconds: float) -> Callable[[], bool]:
    due = time.monotonic() + seconds
    return lambda: time.monotonic() >= due
