"""The peer: the same mails through the same pool as steps of DBOS workflows. `python -m tests.bench.dbos_peer STORE SMTP_URL SENDS`.

STORE is an SQLAlchemy URL, of SQLite with `?wal` where that is to be set, which DBOS itself leaves as it was. A workflow sends its
share of the mails one after the other, each as a step; there are as many workflows at once as we have lanes. It prints one line of JSON:
`{"rate", "commits", "sends"}`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig
from sqlalchemy import event

from tests.bench import mails

WAL = "?wal"


@dataclass
class Commits:
    """How many transactions an engine has committed."""

    count: int = 0


def engine_of(store: str, commits: Commits) -> sa.Engine:
    """The engine that DBOS would make itself, with full durability, counted."""
    sqlite = store.startswith("sqlite")
    engine = sa.create_engine(store.removesuffix(WAL), pool_size=2 * mails.CONNECTIONS)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        if sqlite:
            connection.isolation_level = "IMMEDIATE"
            settings = (
                "busy_timeout=30000",
                "foreign_keys=ON",
                "synchronous=FULL",
                *(["journal_mode=WAL"] if store.endswith(WAL) else []),
            )
            for setting in settings:
                connection.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "commit")
    def count(_connection: Any) -> None:
        commits.count += 1

    return engine


async def compete(store: str, smtp_url: str, sends: int) -> dict[str, float]:
    """Sends a second and commits."""
    commits = Commits()
    url = store.removesuffix(WAL)
    config = DBOSConfig(name="bench", system_database_url=url, system_database_engine=engine_of(store, commits), log_level="ERROR")
    DBOS(config=config)
    effect = mails.pool(smtp_url)
    await effect.start()
    prepared = [mails.request(effect, number) for number in range(sends)]

    @DBOS.step()
    async def send(number: int) -> str:
        await mails.send(effect, prepared[number])
        return "done"

    @DBOS.workflow()
    async def campaign(first: int, last: int) -> None:
        for number in range(first, last):
            await send(number)

    DBOS.launch()
    await (await DBOS.start_workflow_async(campaign, 0, 1)).get_result()
    share = sends // mails.CONNECTIONS
    before, began = commits.count, time.perf_counter()
    handles = [await DBOS.start_workflow_async(campaign, lane * share, (lane + 1) * share) for lane in range(mails.CONNECTIONS)]
    await asyncio.gather(*(handle.get_result() for handle in handles))
    took = time.perf_counter() - began
    written = commits.count - before
    await effect.stop()
    DBOS.destroy()
    return {"rate": share * mails.CONNECTIONS / took, "commits": written, "sends": share * mails.CONNECTIONS}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(compete(sys.argv[1], sys.argv[2], int(sys.argv[3])))), flush=True)
