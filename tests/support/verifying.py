"""A worker's verification of one candidate in a process of its own: `DATABASE_URL HOME CANDIDATE`, the sandbox's parts below HOME/home."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from app.connectors.scripted import scripted
from app.core import owners
from app.core.db import Database
from app.core.settings import Settings
from app.sandbox.sandbox import Sandbox
from app.verification.work import Verifier, verify_candidate


async def main(url: str, home: Path, candidate: str) -> None:
    database, sandbox = Database(url), Sandbox(home / "home", idle_per_tool=0)
    await sandbox.start()
    owner = owners.register(database, "worker", 60_000)
    await verify_candidate(Verifier(database, sandbox, Settings(home=home), scripted().catalog, lambda: owner), candidate)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
