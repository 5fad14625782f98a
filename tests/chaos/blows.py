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
from dataclasses import dataclass

from tests.chaos.scenarios import Scenario
from tests.chaos.site import Process, Site, now_ms
from tests.support.waiting import until

PROMISED_S = {"kill": 10.0, "everything": 30.0, "zombie": 20.0}
PATIENCE_S = 90.0
EARLIEST_S, LATEST_S = 0.1, 1.0


@dataclass(frozen=True, slots=True)
class Blow:
    """One stroke. `at` and `until` in ms UTC: when it fell and, for a zombie, when it was woken; `seen`: effects in flight just before."""

    kind: str
    at: int
    until: int
    victims: tuple[Process, ...]
    seen: int

    @property
    def owners(self) -> frozenset[str]:
        return frozenset(owner for victim in self.victims for owner in victim.owners)


@dataclass(eq=False)
class Striker:
    """Strikes until the scenario has had its blows or the deadline has passed."""

    site: Site
    scenario: Scenario
    rng: random.Random
    deadline: float
    say: Callable[[str], None]

    def strike_all(self) -> list[Blow]:
        """Every blow that fell, in order."""
        blows: list[Blow] = []
        for kind in self._order():
            hit = False
            while not hit and time.monotonic() < self.deadline:
                blow = self._strike(kind)
                if blow is not None:
                    blows.append(blow)
                    hit = blow.seen > 0
                    self._recover(blow)
        return blows

    def _order(self) -> list[str]:
        scenario = self.scenario
        kinds = ["kill"] * scenario.kills + ["zombie"] * scenario.zombies
        self.rng.shuffle(kinds)
        for number in range(scenario.everything):
            kinds.insert((number + 1) * (len(kinds) // (scenario.everything + 1) + 1), "everything")
        return kinds

    def _strike(self, kind: str) -> Blow | None:
        self._under_way()
        until(_after(self.rng.uniform(EARLIEST_S, LATEST_S)), LATEST_S + 5, "chance's moment")
        if kind == "everything":
            return self._kill_everything()
        holding = [process for process in self.site.processes() if self.site.performing(process)]
        if not holding:
            return None
        victim = self.rng.choice(holding)
        return self._kill(victim) if kind == "kill" else self._stop_and_wake(victim)

    def _kill(self, victim: Process) -> Blow:
        seen = self.site.performing(victim)
        at = now_ms()
        os.kill(victim.pid, signal.SIGKILL)
        return Blow("kill", at, at, (victim,), seen)

    def _kill_everything(self) -> Blow:
        victims = tuple(self.site.processes()) + tuple(self.site.processes("web"))
        seen = sum(self.site.performing(victim) for victim in victims)
        at = now_ms()
        self.site.kill_everything()
        return Blow("everything", at, at, victims, seen)

    def _stop_and_wake(self, victim: Process) -> Blow:
        """Stop a worker for longer than its lease, until others have taken over what it held, or longer if it holds the database."""
        seen = self.site.performing(victim)
        at = now_ms()
        os.kill(victim.pid, signal.SIGSTOP)
        try:
            asleep = self.scenario.lease_s + self.rng.uniform(1.2, 2.0)
            until(_after(asleep), asleep + 5, "the zombie's sleep is over")
            woken = now_ms()
        finally:
            with suppress(ProcessLookupError):
                os.kill(victim.pid, signal.SIGCONT)
        return Blow("zombie", at, woken, (victim,), seen)

    def _under_way(self) -> None:
        before = len(self.site.log.read())
        until(lambda: len(self.site.log.read()) > before + 20, PATIENCE_S, "sends are under way")

    def _recover(self, blow: Blow) -> None:
        before = len(self.site.log.read())
        until(lambda: len(self.site.log.read()) > before + 20, PATIENCE_S, f"sends go on after {blow.kind}")
        names = " ".join(victim.name for victim in blow.victims)
        self.say(f"{blow.kind} of {names}: {blow.seen} in flight; sends went on after {(now_ms() - blow.at) / 1000:.1f} s")


def _after(seconds: float) -> Callable[[], bool]:
    due = time.monotonic() + seconds
    return lambda: time.monotonic() >= due
