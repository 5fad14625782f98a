"""The two books that are compared: what the ledger holds and how it came to it, and what the SMTP server accepted."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from app.core.db import Database

RECOVERY = ("recovery", "departures")
"""Who takes what a process that is gone was performing: as nobody knows it, or as its notes say."""


@dataclass(frozen=True, slots=True)
class Event:
    """One transition of an effect; `actor` is an owner's id, a run's, `recovery`, `departures`, `queue` or a person's."""

    before: str
    after: str
    at: int
    fence: int
    actor: str

    @property
    def left_in_doubt(self) -> bool:
        """Whether its holder was gone, and nobody knows whether it left."""
        return (self.actor, self.after) == ("recovery", "unknown")


@dataclass(slots=True)
class Row:
    """An effect: its address, state, and its life so far."""

    id: str
    to: str
    policy: str
    state: str
    message_id: str
    events: list[Event] = field(default_factory=list)

    @property
    def campaign(self) -> str:
        return self.to.partition(".")[0]

    def lost_by(self, *, in_doubt: bool = False) -> list[str]:
        """The owners that were performing it when they were gone, in order. `in_doubt`: those that it may have left without an answer."""
        owners: list[str] = []
        performer = ""
        for event in self.events:
            if event.after == "performing":
                performer = event.actor
            elif event.before == "performing" and (event.left_in_doubt if in_doubt else event.actor in RECOVERY):
                owners.append(performer)
        return owners

    @property
    def doubts(self) -> int:
        """How often it was unknown."""
        return sum(event.after == "unknown" for event in self.events)


@dataclass(frozen=True, slots=True)
class Books:
    """`rows` by address; `accepted`: the server's lines by address, in order; `recovered`: when runs of a campaign were taken from a holder
    that was gone."""

    rows: Mapping[str, Row]
    accepted: Mapping[str, Sequence[dict[str, Any]]]
    recovered: Mapping[str, Sequence[int]] = field(default_factory=dict)


_ROWS = sa.text("SELECT id, subject, on_unknown, state, message_id FROM effect WHERE ledger = 'campaigns'")
_EVENTS = sa.text("SELECT effect_id, before, after, at, fence, actor FROM effect_event ORDER BY seq")
_RECOVERED = sa.text(
    "SELECT gone.at, payload.body FROM audit_event AS gone JOIN run ON run.id = gone.target JOIN payload ON payload.digest = run.args "
    "WHERE gone.action IN ('run.scheduled', 'run.quarantined') ORDER BY gone.id"
)


def read_books(database: Database, lines: Sequence[dict[str, Any]]) -> Books:
    """Everything, as it is now."""
    with database.reading() as session:
        connection = session.connection()
        rows = {row.id: Row(row.id, row.subject, row.on_unknown, row.state, row.message_id) for row in connection.execute(_ROWS)}
        for event in connection.execute(_EVENTS):
            if event.effect_id in rows:
                rows[event.effect_id].events.append(Event(event.before, event.after, event.at, event.fence, event.actor))
        recovered: dict[str, list[int]] = defaultdict(list)
        for gone in connection.execute(_RECOVERED):
            recovered[json.loads(gone.body)["campaign_id"]].append(gone.at)
    accepted: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        accepted[line["to"]].append(line)
    return Books({row.to: row for row in rows.values()}, accepted, recovered)
