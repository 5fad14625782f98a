"""The same sends as DBOS steps: same pool, same concurrency, each step durable before the next; its best configuration counts."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench.table import Row
from tests.support.postgres import start_postgres
from tests.support.processes import start_module
from tests.support.smtp import SmtpProcess

SENDS = 600
DURABLE = ("fsync=on", "synchronous_commit=on", "full_page_writes=on")


def compete(folder: Path, smtp: SmtpProcess, store: str, name: str) -> dict[str, float]:
    """One run of the peer in a process of its own."""
    child = start_module("tests.bench.dbos_peer", store, smtp.url, str(SENDS), output=folder / f"dbos-{name}.log")
    if child.process.wait(timeout=300) != 0:
        raise AssertionError(child.text()[-3000:])
    found: dict[str, float] = json.loads(child.text().strip().splitlines()[-1])
    return found


def measured(folder: Path, smtp: SmtpProcess, ours: float) -> list[Row]:
    """Our sends a second against the best of DBOS on SQLite as it comes, on SQLite with a write-ahead log, and on PostgreSQL."""
    found = {
        "SQLite as it comes": compete(folder, smtp, f"sqlite:///{folder}/dbos.db", "plain"),
        "SQLite with WAL": compete(folder, smtp, f"sqlite:///{folder}/dbos-wal.db?wal", "wal"),
    }
    server = start_postgres(DURABLE)
    try:
        store = server.url(server.create()).replace("postgresql://", "postgresql+psycopg://")
        found["PostgreSQL"] = compete(folder, smtp, store, "postgres")
    finally:
        server.stop()
    best = max(found, key=lambda name: found[name]["rate"])
    rows = [Row("sends/s, 10,000 at once and DBOS steps", ours, found[best]["rate"], "/s", "at least 15", f"DBOS on {best}", least=15)]
    rows += [Row(f"  DBOS on {name}: sends/s", found[name]["rate"], None, "/s", "") for name in found]
    return [*rows, Row("  DBOS: commits a send", found[best]["commits"] / found[best]["sends"], None, "", "")]
