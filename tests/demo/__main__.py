"""`python -m tests.demo`: the demo. DEMO_EXIT=1 stops when done; status 0 only if every promise was kept."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time

from tests.demo.agent import agent
from tests.demo.promises import Promises, note, say
from tests.demo.stage import Stage, stage
from tests.demo.story import play

PORT = int(os.environ.get("TOOLMINT_PORT", "8765"))


async def perform(set_: Stage, promises: Promises) -> None:
    async with agent(set_.service.url, set_.agent_key) as client:
        await play(set_, client, promises)


def stay(set_: Stage) -> None:
    """Leave the dashboard up until Ctrl-C."""
    say("The dashboard stays up with this data in it, until Ctrl-C")
    note(f"{set_.service.url}/  sign in with the key in {set_.service.home / 'admin.key'}")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()


def main() -> int:
    promises = Promises()
    began = time.monotonic()
    say("Toolmint starts on a database of its own, beside a real SMTP server on loopback")
    with stage(PORT) as set_:
        note(f"service {set_.service.url}, SMTP server on port {set_.smtp.port}")
        asyncio.run(perform(set_, promises))
        say(f"Promised and found, in {time.monotonic() - began:.0f} s")
        print(promises.table(), flush=True)
        print(f"\nEvery promise was kept: {promises.kept}", flush=True)
        if not os.environ.get("DEMO_EXIT"):
            stay(set_)
    return 0 if promises.kept else 1


if __name__ == "__main__":
    sys.exit(main())
