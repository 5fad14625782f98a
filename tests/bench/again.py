"""What is done already: a stored answer replayed, and a finished campaign planned again by a new run."""

from __future__ import annotations

import sqlite3
import statistics
import time
from contextlib import closing
from pathlib import Path

from app.core.db import Database
from app.runtime.repository.planning import Intent, Plan, plan_chunks
from tests.bench.sends import RECIPIENTS, campaign
from tests.bench.table import Row
from tests.support.held import held
from tests.support.service import Service

TIMES = 50
CHUNK = 500


def measured(service: Service, folder: Path) -> list[Row]:
    """Both, and the whole of the second run."""
    name = "bench again"
    first = campaign(service, name, RECIPIENTS, key=name)
    replays = [_timed(service, name, str(first["id"])) for _ in range(TIMES)]
    planned = _planned_again(service.home / "toolmint.db", folder / "again.db", str(first["id"]))
    began = time.perf_counter()
    second = campaign(service, name, RECIPIENTS)
    took = (time.perf_counter() - began) * 1000
    result = second["result"]
    if not isinstance(result, dict) or result["skipped"] != RECIPIENTS:
        raise AssertionError(f"not everyone was skipped: {result}")
    return [
        Row("a stored answer replayed (a whole HTTP call)", statistics.median(replays), 10.0, "ms", "at most 1", "10 ms", most=1),
        Row(f"a finished campaign of {RECIPIENTS:,} planned again by the ledger", planned, 60.0, "ms", "at most 1", "60 ms", most=1),
        Row("  the whole run that finds everyone skipped", took, None, "ms", ""),
    ]


def _timed(service: Service, name: str, run_id: str) -> float:
    began = time.perf_counter()
    again = campaign(service, name, RECIPIENTS, key=name)
    took = (time.perf_counter() - began) * 1000
    if again["id"] != run_id or not again["replayed"]:
        raise AssertionError(f"it was not replayed: {again['id']} {again['replayed']}")
    return took


def _planned_again(source: Path, copy: Path, run_id: str) -> float:
    """The best time (ms) of planning all effects of a finished run by a new one, chunk by chunk, each durable, on a copy of the store."""
    with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(copy)) as target:
        live.backup(target)
        rows = target.execute(
            "SELECT id, position, key, ledger_group, subject, item, fingerprint, message_id FROM effect WHERE run_id = ? ORDER BY seq",
            [run_id],
        ).fetchall()
    intents = [Intent._make((*row, {})) for row in rows]
    database = Database(f"sqlite:///{copy}")
    took = min(_plan_all(database, intents, f"run_again_{number}") for number in range(3))
    database.close()
    return took * 1000


def _plan_all(database: Database, intents: list[Intent], run_id: str) -> float:
    with database.writing() as session:
        held(session, run_id, "own_bench")
    began = time.perf_counter()
    for start in range(0, len(intents), CHUNK):
        plan = Plan(
            tenant="default",
            tool="campaign_send_bulk",
            version=1,
            effect="send",
            connector="email.send",
            ledger="campaigns",
            retry_failed=False,
            on_unknown="hold",
            run_id=run_id,
            step=1,
            owner="own_bench",
            fence=1,
            intents=intents[start : start + CHUNK],
        )
        with database.writing() as session:
            (answers,) = plan_chunks(session, [plan])
        if any(answer.decision != "skipped" for answer in answers):
            raise AssertionError("an effect of a finished campaign was not skipped")
    return time.perf_counter() - began
