"""THE table of scenarios: how many workers, on which database, and what is done to them.

It refuses to be: random. What chance decides (whom, when, in which order) is drawn from the seed by `blows`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scenario:
    """`kills` and `everything` count SIGKILLs that interrupted an effect; `zombies` are stopped past their lease and woken. `redis`
    counts how often Redis is killed, flushed or restarted; another process locks the database for `lock_s` seconds, unless that is 0.

    Campaigns of `size` recipients are called until there were `campaigns` of each policy and every blow has fallen. `verified`: the
    tools come by the whole way; else, for a short form, they are put into the registry as if they had passed.
    """

    name: str
    workers: int
    database: str
    campaigns: int
    size: int
    kills: int
    everything: int = 0
    zombies: int = 0
    redis: int = 0
    lock_s: float = 0.0
    lease_s: float = 15.0
    verified: bool = True

    @property
    def owed(self) -> Counter[str]:
        """How often something else than a SIGKILL is to happen, by the first word of its kind."""
        return Counter(zombie=self.zombies, redis=self.redis, lock=int(self.lock_s > 0))

    @property
    def settings(self) -> dict[str, str]:
        """The operator's settings: what is not named here is as it comes."""
        beat = min(2.0, self.lease_s / 6)
        return {"TOOLMINT_WORKERS": str(self.workers), "TOOLMINT_LEASE_S": str(self.lease_s), "TOOLMINT_HEARTBEAT_S": f"{beat:.2f}"}


LONG = (
    Scenario("locked database", 1, "sqlite", campaigns=1, size=3000, kills=1, lock_s=60, verified=False),
    Scenario("one worker", 1, "sqlite", campaigns=6, size=3000, kills=18, everything=3, redis=3),
    Scenario("two workers", 2, "sqlite", campaigns=5, size=3000, kills=12, everything=1, zombies=3, redis=3, lock_s=6, lease_s=4),
    Scenario("four workers", 4, "postgresql", campaigns=5, size=3000, kills=12, everything=1, zombies=3, redis=3, lock_s=6, lease_s=4),
)
SHORT = (Scenario("short form", 2, "sqlite", campaigns=1, size=1000, kills=3, zombies=1, redis=1, lease_s=4, verified=False),)
POLICIES = ("hold", "retry")
