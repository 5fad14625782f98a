"""The service's memory of what gates said, by the digest of all that a result depends on (`app.verification.keeping` makes it).

Only the host writes here, after its own run of a gate. It is bounded: results older than thirty days, and all but the newest five
thousand, are forgotten.

It refuses to be: a report. What is taken from here stands in the report of the candidate that it was taken for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from app.candidates import repository
from app.candidates.models import KeptResult
from app.core import clock
from app.core.db import Database, now

KEEP_MS = 30 * 86_400_000
MOST = 5000


def find_kept(database: Database, key: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The result that passed under `key`, as JSON, and `{"candidate_id", "at"}` of its run; None if there is none."""
    with database.reading() as session:
        row = repository.kept(session, key)
        if row is None or row.result is None or row.at < now(session) - KEEP_MS:
            return None
        return json.loads(row.result), {"candidate_id": row.candidate_id, "at": clock.iso(row.at)}


def keep_result(database: Database, key: str, tenant: str, candidate_id: str, result: Mapping[str, Any]) -> None:
    """Keep a result that passed, or that there was a red one: from then on nothing answers this key until it is forgotten."""
    passed = result["status"] == "passed"
    text = json.dumps(result, ensure_ascii=False) if passed else None
    with database.writing(durable=False) as session:
        row = KeptResult(key=key, tenant=tenant, gate=result["gate"], candidate_id=candidate_id, result=text, at=now(session))
        known = repository.keep(session, row)
        if not passed:
            known.result, known.at = None, row.at


def recall_facts(database: Database, key: str) -> dict[str, Any] | None:
    """The facts that were last remembered under `key`, JSON; None if there are none."""
    found = find_kept(database, key)
    return found[0] if found else None


def remember_facts(database: Database, key: str, tenant: str, gate: str, candidate_id: str, facts: Mapping[str, Any]) -> None:
    """Remember a gate's facts, in the place of those that are under `key`."""
    with database.writing(durable=False) as session:
        row = KeptResult(key=key, tenant=tenant, gate=gate, candidate_id=candidate_id, result=None, at=now(session))
        known = repository.keep(session, row)
        known.result, known.candidate_id, known.at = json.dumps(facts), candidate_id, row.at


def prune_kept(database: Database, most: int = MOST) -> int:
    """For a chore: forget what is too old or too much; returns how many."""
    with database.writing() as session:
        return repository.forget_kept(session, now(session) - KEEP_MS, most)
