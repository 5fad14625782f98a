"""The caller: campaigns called until they are completed, as an agent would, whatever becomes of the service meanwhile.

It refuses to be: careful. It repeats a call whenever it has no answer, or the answer is no success.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.chaos.mail import addresses
from tests.chaos.site import TOOLS
from tests.support.service import Refused, Rest

EVERY_S = 0.1
CONVERSATION = httpx2.Timeout(20, connect=2)


@dataclass(eq=False)
class Campaign:
    """One campaign to its own addresses. `calls` counts how often the tool was called for it."""

    name: str
    policy: str
    to: list[str]
    run: str = ""
    calls: int = 0
    done: bool = False


def campaigns(policy: str, size: int, seed: str) -> Iterator[Campaign]:
    """Campaigns without end; no address is in two of them."""
    number = 0
    while True:
        name = f"{policy}-{number:03}"
        yield Campaign(name, policy, addresses(name, size, seed))
        number += 1


@dataclass(eq=False)
class Caller:
    """A thread that keeps `at_once` campaigns of one policy going until `enough` says that no further one is needed."""

    url: str
    key: str
    policy: str
    size: int
    seed: str
    at_once: int
    least: int
    finished: threading.Event = field(default_factory=threading.Event)
    all: list[Campaign] = field(default_factory=list)
    _enough: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    failed: BaseException | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"caller {self.policy}", daemon=True)
        self._thread.start()

    def enough(self, *, at_once: bool) -> None:
        """Begin no campaign beyond those that were asked for; `at_once`: none at all."""
        if at_once:
            self.least = 0
        self._enough.set()

    def _run(self) -> None:
        try:
            with httpx2.Client(base_url=self.url, timeout=CONVERSATION) as client:
                self._call_all(Rest(client, self.key))
        except BaseException as error:  # noqa: BLE001  # of any kind: the main thread says it
            self.failed = error
        finally:
            self.finished.set()

    def _call_all(self, rest: Rest) -> None:
        fresh = campaigns(self.policy, self.size, self.seed)
        going: list[Campaign] = []
        while True:
            while len(going) < self.at_once and (len(self.all) < self.least or not self._enough.is_set()):
                going.append(next(fresh))
                self.all.append(going[-1])
            if not going:
                return
            for campaign in going:
                _go_on(rest, campaign)
            going = [campaign for campaign in going if not campaign.done]
            self._enough.wait(EVERY_S) if not self._enough.is_set() else threading.Event().wait(EVERY_S)


def _go_on(rest: Rest, campaign: Campaign) -> None:
    """One step with one campaign: call it, look at its run, or call it again."""
    try:
        if not campaign.run:
            campaign.run = _call(rest, campaign)
            return
        state = rest.get(f"/runs/{campaign.run}")["state"]
    except httpx2.HTTPError:
        return
    except Refused as refused:
        if refused.status < 500:
            raise
        return
    if state == "completed":
        campaign.done = True
    elif state in ("failed", "cancelled", "quarantined"):
        campaign.run = ""


def _call(rest: Rest, campaign: Campaign) -> str:
    args = {"campaign_id": campaign.name, "template_id": "news", "recipients": campaign.to}
    campaign.calls += 1
    answer: dict[str, Any] = rest.post(
        f"/tools/{TOOLS[campaign.policy]}/runs", {"args": args, "wait_s": 0}, headers={"Idempotency-Key": campaign.name}
    )
    return str(answer["id"])
