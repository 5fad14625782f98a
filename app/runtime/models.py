"""Tables of the runtime: runs and their identity, the journal, effects and their events, payloads stored once by digest, flow control.

Times are integer milliseconds, UTC. State names are those of `state.py`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from app.core.indexes import partial
from app.core.models import Big

OPEN_RUNS = "state IN ('scheduled', 'available', 'executing')"
OPEN_REPLAYS = "state IN ('waiting', 'replaying')"
STORED = "kept <> 'nothing'"
PRUNABLE = "kept <> 'nothing' AND finished_at IS NOT NULL"
OPEN_EFFECTS = "state IN ('planned', 'claimed', 'performing', 'retry_wait', 'unknown', 'dead')"
QUEUED_EFFECTS = "state IN ('retry_wait', 'dead', 'unknown')"
UNKNOWN_EFFECTS = "state = 'unknown'"
DECIDED_EFFECTS = "decision IS NOT NULL"


class Run(SQLModel, table=True):
    """One execution of one version. `due_at` says when a waiting run may be taken; `fence` grows with each taking.

    `waits_for`: the connector whose pause it waits for, where that is why it is scheduled.

    `as_of`: the instant that the tool is told throughout, where it is not that of the run. `plan_summary`: what a dry run found in all.
    `kept`: what retention has left: `all`, `pruning` (the journal is going), `answers` (arguments, result, plan) or `nothing` but this row.
    """

    __tablename__ = "run"
    __table_args__ = (
        sa.Index("run_by_tenant", "tenant", "id"),
        sa.Index("run_by_state", "tenant", "state", "id"),
        sa.Index("run_by_tool", "tenant", "tool", "id"),
        partial("run_open", "state", "due_at", where=OPEN_RUNS),
        partial("run_prunable", "kept", "finished_at", where=PRUNABLE),
        partial("run_by_args", "args", where=STORED),
        partial("run_by_result", "result", where=f"{STORED} AND result IS NOT NULL"),
        partial("run_by_plan", "plan", where=f"{STORED} AND plan IS NOT NULL"),
    )
    id: str = Field(primary_key=True)
    tenant: str
    tool: str
    version: int
    digest: str
    channel: str | None = None
    reason: str = ""
    actor: str
    trace_id: str
    source: str
    dry_run: bool = False
    state: str
    args: str
    seed: str
    result: str | None = None
    error: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON(none_as_null=True))
    plan: str | None = None
    effects: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON(none_as_null=True))
    identity: str | None = None
    owner: str | None = Field(default=None, index=True)
    fence: int = 0
    crashes: int = 0
    due_at: int = Field(default=0, sa_type=sa.BigInteger)
    waits_for: str | None = None
    cancel_at: int | None = Field(default=None, sa_type=sa.BigInteger)
    done: int | None = Field(default=None, sa_type=sa.BigInteger)
    total: int | None = Field(default=None, sa_type=sa.BigInteger)
    steps: int = 0
    cpu_ms: int = 0
    rss_kb: int = 0
    bytes_in: int = Field(default=0, sa_type=sa.BigInteger)
    bytes_out: int = Field(default=0, sa_type=sa.BigInteger)
    created_at: int = Field(sa_type=sa.BigInteger)
    started_at: int | None = Field(default=None, sa_type=sa.BigInteger)
    finished_at: int | None = Field(default=None, sa_type=sa.BigInteger)
    as_of: int | None = Field(default=None, sa_type=sa.BigInteger)
    approval: str | None = None
    plan_summary: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON(none_as_null=True))
    kept: str = Field(default="all", sa_column_kwargs={"server_default": "all"})


class RunBound(SQLModel, table=True):
    """The only effects that an approved run may perform: the marks of its plan, 16 bytes each. It goes when the run is over."""

    __tablename__ = "run_bound"
    run_id: str = Field(primary_key=True)
    marks: bytes


class Requirement(SQLModel, table=True):
    """A permission that a version's spec asks of its callers; who lacks one does not see what the version did."""

    __tablename__ = "requirement"
    tenant: str = Field(primary_key=True)
    tool: str = Field(primary_key=True)
    version: int = Field(primary_key=True, sa_type=sa.Integer, sa_column_kwargs={"autoincrement": False})
    permission: str = Field(primary_key=True)


class RunIdentity(SQLModel, table=True):
    """Which run answers for a caller's or the spec's key. Version is no part of it."""

    __tablename__ = "run_identity"
    id: str = Field(primary_key=True)
    run_id: str = Field(index=True)
    fingerprint: str
    expires_at: int | None = Field(default=None, sa_type=sa.BigInteger, index=True)


class Payload(SQLModel, table=True):
    """Arguments, answers, results and plans: canonical JSON text, stored once by its SHA-256. `created_at`: last stored, roughly."""

    __tablename__ = "payload"
    digest: str = Field(primary_key=True)
    body: str
    created_at: int = Field(sa_type=sa.BigInteger)


class Step(SQLModel, table=True):
    """One journaled call of the guest to the host, or one chunk of a long one."""

    __tablename__ = "step"
    __table_args__ = (partial("step_by_payload", "payload", where="payload IS NOT NULL"),)
    run_id: str = Field(primary_key=True)
    step: int = Field(primary_key=True)
    chunk: int = Field(primary_key=True, default=0)
    kind: str
    name: str
    request: str
    answer: str | None = None
    payload: str | None = None
    items: int = 0
    at: int = Field(sa_type=sa.BigInteger)
    duration_ms: int = 0


class LogLine(SQLModel, table=True):
    """What a tool said with `ctx.log`, bounded; for the run's page."""

    __tablename__ = "log_line"
    id: int | None = Field(default=None, primary_key=True, sa_type=Big)
    run_id: str = Field(index=True)
    at: int = Field(sa_type=sa.BigInteger)
    event: str
    fields: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)


class Effect(SQLModel, table=True):
    """One effect by its identity. `run_id`, `step` and `position` say who planned it; `item` is canonical JSON.

    `next_at` says when it is tried again, or, while it is unknown, when its provider is asked; `lookups` counts the times that it was.
    `decision` names what sent it round again last: what a person wants done is not cancelled because its run once was.
    """

    __tablename__ = "effect"
    __table_args__ = (
        sa.Index("effect_by_run", "run_id", "state", "effect"),  # what a run has done is counted without reading its effects
        sa.Index("effect_by_ledger", "tenant", "ledger", "ledger_group", "seq", "state"),
        partial("effect_open", "state", "next_at", where=OPEN_EFFECTS),
        partial("effect_queued", "tenant", "state", "updated_at", "seq", where=QUEUED_EFFECTS),
        partial("effect_by_cause", "tenant", "state", "tool", "effect", "error_code", "updated_at", "seq", where=QUEUED_EFFECTS),
        partial("effect_unknown", "connector", "next_at", where=UNKNOWN_EFFECTS),
        partial("effect_decided", "decision", "state", where=DECIDED_EFFECTS),
    )
    seq: int | None = Field(default=None, primary_key=True, sa_type=Big)
    id: str = Field(unique=True)
    tenant: str
    tool: str
    version: int
    effect: str
    connector: str
    key: str
    run_id: str
    step: int
    position: int
    ledger: str | None = None
    ledger_group: str | None = None
    subject: str | None = None
    item: str
    fingerprint: str
    on_unknown: str
    state: str
    owner: str | None = Field(default=None)
    fence: int = 0
    attempts: int = 0
    crashes: int = 0
    next_at: int | None = Field(default=None, sa_type=sa.BigInteger)
    receipt: str | None = None
    error_code: str | None = None
    error: str | None = None
    message_id: str | None = None
    lookups: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    decision: str | None = None
    created_at: int = Field(sa_type=sa.BigInteger)
    updated_at: int = Field(sa_type=sa.BigInteger)


class BulkDecision(SQLModel, table=True):
    """One decision about many effects: a redrive of dead letters, or a verdict on unknowns; carried out in short transactions.

    `mark` is the newest event when it was asked for: what has moved since is left alone. `position_at` and `position` are the last
    `updated_at` and `seq` that were looked at, `moved` how many were moved up to there, of the `count` that matched at first.
    `policies` are `on_unknown` by effect of `version`.
    """

    __tablename__ = "bulk_decision"
    __table_args__ = (partial("bulk_decision_open", "id", where="state = 'running'"),)
    id: str = Field(primary_key=True)
    tenant: str = Field(index=True)
    kind: str
    verdict: str | None = None
    actor: str
    actor_name: str
    reason: str
    ids: int | None = None
    tool: str | None = None
    effect: str | None = None
    error_code: str | None = None
    mark: int = Field(sa_type=sa.BigInteger)
    version: int | None = None
    policies: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON(none_as_null=True))
    state: str
    count: int
    moved: int = 0
    position_at: int = Field(default=0, sa_type=sa.BigInteger)
    position: int = Field(default=0, sa_type=sa.BigInteger)
    created_at: int = Field(sa_type=sa.BigInteger)
    updated_at: int = Field(sa_type=sa.BigInteger)
    finished_at: int | None = Field(default=None, sa_type=sa.BigInteger)


class EffectEvent(SQLModel, table=True):
    """One transition of an effect; append only, in the audit chain (`link`).

    They are found by `effect_seq`: effects are performed in about the order of their numbers, so that the index grows at its end.
    Their ids are digests, and an index over them cost as much for each event as all else.
    """

    __tablename__ = "effect_event"
    __table_args__ = (
        partial("effect_event_unlinked", "seq", where="link IS NULL"),
        partial("effect_event_linked", "link", where="link IS NOT NULL"),
    )
    seq: int | None = Field(default=None, primary_key=True, sa_type=Big)
    effect_seq: int = Field(sa_type=sa.BigInteger, index=True)
    effect_id: str
    before: str
    after: str
    at: int = Field(sa_type=sa.BigInteger)
    fence: int
    actor: str
    detail: str | None = None
    link: int | None = Field(default=None)


class Sighting(SQLModel, table=True):
    """A run met an effect that another run had planned: what makes `skipped` and a later `duplicate` in the same run.

    `state`: in which the run was last told of it, or left it to another run that took it over; none where it was done, as it stays.
    """

    __tablename__ = "sighting"
    __table_args__ = {"sqlite_with_rowid": False}
    run_id: str = Field(primary_key=True)
    effect_seq: int = Field(primary_key=True, sa_type=sa.BigInteger)
    step: int
    position: int
    state: str | None = None


class Ledger(SQLModel, table=True):
    """A ledger group that has rows: what the list of ledgers shows without counting effects."""

    __tablename__ = "ledger"
    tenant: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    group: str = Field(primary_key=True)
    tool: str
    created_at: int = Field(sa_type=sa.BigInteger)


class Replay(SQLModel, table=True):
    """A run played again from its journal. States: waiting, replaying, same, differs, unusable; `report` is what came of it."""

    __tablename__ = "replay"
    __table_args__ = (partial("replay_open", "state", "created_at", where=OPEN_REPLAYS),)
    id: str = Field(primary_key=True)
    tenant: str
    run_id: str = Field(index=True)
    actor: str
    trace_id: str
    state: str
    owner: str | None = None
    attempts: int = 0
    report: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON(none_as_null=True))
    created_at: int = Field(sa_type=sa.BigInteger)
    finished_at: int | None = Field(default=None, sa_type=sa.BigInteger)


class Pause(SQLModel, table=True):
    """Something is paused. `scope` is `tool`, `connector` or `everything`, whose `name` is empty."""

    __tablename__ = "pause"
    tenant: str = Field(primary_key=True)
    scope: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    reason: str
    actor: str
    at: int = Field(sa_type=sa.BigInteger)


class OpenCircuit(SQLModel, table=True):
    """What one tool does through one connector is not tried before `trial_at`; closed circuits have no row.

    `rest_ms` is how long it rests after a trial that fails, `trials` how many have, `error` why the last attempt failed.
    """

    __tablename__ = "open_circuit"
    tenant: str = Field(primary_key=True)
    connector: str = Field(primary_key=True)
    tool: str = Field(primary_key=True)
    error: str
    trials: int = 0
    rest_ms: int
    trial_at: int = Field(sa_type=sa.BigInteger)
    opened_at: int = Field(sa_type=sa.BigInteger)


class Pacing(SQLModel, table=True):
    """A limit a second: `next_us` is the next place in time that nobody has taken, in microseconds of the database's clock."""

    __tablename__ = "pacing"
    name: str = Field(primary_key=True)
    next_us: int = Field(sa_type=sa.BigInteger)


class Share(SQLModel, table=True):
    """How many of a limit at once a live process holds (`granted`), since when, and how many it would use (`wanted`)."""

    __tablename__ = "flow_share"
    name: str = Field(primary_key=True)
    owner: str = Field(primary_key=True)
    wanted: int
    granted: int
    since: int = Field(sa_type=sa.BigInteger)
