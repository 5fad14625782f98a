"""A small realistic world, written straight into the tables: what the dashboard's tests look at.

It refuses to be: a way to make states that the product cannot reach. Rows are as the rooms write them.
"""

from __future__ import annotations

import hashlib
import random
from typing import Any

from sqlmodel import Session, SQLModel

from app.access.models import ApiKey, Tenant
from app.candidates.files import candidate_digest, source_file
from app.candidates.models import Approval, Candidate, CandidateFile, GateResult
from app.connectors.models import Connection, OutboxEmail
from app.core import ids
from app.core.db import Database
from app.observability.audit import digest_of, text_digest
from app.observability.models import AuditEvent
from app.registry.artifact import make_artifact
from app.registry.models import ArtifactFile, Channel, ChannelMove, Tool, Version
from app.spec.catalog import ConnectorCatalog
from app.spec.model import ExecutionSpec
from app.spec.models import SpecRevision
from tests.dashboard import seed_texts as texts
from tests.dashboard.seed_runs import plant_runs

ADMIN_KEY = "admin-key-of-the-tests"
OPERATOR_KEY = "operator-key-of-the-tests"
AGENT_KEY = "agent-key-of-the-tests"
VIEWER_KEY = "viewer-key-of-the-tests"
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
_OPERATOR = ["candidates:approve", "tools:publish", "tools:rollback", "tools:call", "effects:resolve", "audit:read", "campaigns:send"]
KEYS: tuple[tuple[str, str, str, list[str]], ...] = (
    ("key_admin", "admin", ADMIN_KEY, ["*"]),
    ("key_operator", "operator", OPERATOR_KEY, _OPERATOR),
    ("key_agent", "campaign agent", AGENT_KEY, ["specs:write", "candidates:submit", "tools:call", "campaigns:send"]),
    ("key_viewer", "viewer", VIEWER_KEY, []),
)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def plant(database: Database, kinds: ConnectorCatalog) -> None:
    """Fill the database."""
    now = database.clock.now()
    with database.writing() as session:
        session.info["seeded"] = random.Random(20260301)
        _keys(session, now)
        revisions = [
            _revision(session, body, number, now) for body, number in ((texts.CAMPAIGN, 1), (texts.CAMPAIGN_2, 2), (texts.QUOTE, 1))
        ]
        _published(session, revisions, now, kinds)
        _candidates(session, revisions[1], now)
        plant_runs(session, now)
        _mail(session, now)
        _connection(session, now)
        _audit(session, now)


def _connection(session: Session, now: int) -> None:
    _add(
        session,
        Connection(
            tenant="default",
            name="orders_api",
            kind="http",
            config={"base_url": "https://api.example.com/v1", "test_path": "/health"},
            secret="env:TOOLMINT_SECRET_ORDERS",
            created_at=now - DAY,
            created_by="system",
            updated_at=now - DAY,
            updated_by="system",
            tested_at=now - DAY,
            tested_ok=True,
            tested_text="The server answered 200 OK.",
        ),
    )


def _add(session: Session, *rows: SQLModel) -> None:
    session.add_all(rows)
    session.flush()


def _keys(session: Session, now: int) -> None:
    _add(session, Tenant(id="default", created_at=now - 30 * DAY))
    for key_id, name, text, permissions in KEYS:
        row = ApiKey(
            id=key_id, tenant="default", name=name, digest=sha(text), permissions=permissions, created_at=now - 9 * DAY, created_by="system"
        )
        _add(session, row)
    old = ApiKey(
        id="key_former",
        tenant="default",
        name="former contractor",
        digest=sha("x"),
        permissions=["tools:call"],
        created_at=now - 20 * DAY,
        created_by="key_admin",
    )
    old.revoked_at, old.last_used_at = now - 2 * DAY, now - 3 * DAY
    _add(session, old)


def _revision(session: Session, body: dict[str, Any], number: int, now: int) -> tuple[ExecutionSpec, int]:
    spec = texts.spec(body)
    row = SpecRevision(
        id=ids.new("spec"),
        tenant="default",
        name=spec.name,
        revision=number,
        digest=spec.digest,
        body=spec.canonical().decode(),
        created_at=now - (8 - number) * DAY,
        created_by="key_agent",
    )
    _add(session, row)
    return spec, number


def _published(session: Session, revisions: list[tuple[ExecutionSpec, int]], now: int, kinds: ConnectorCatalog) -> None:
    (first, _), (second, _), (quote, _) = revisions
    _version(session, first, 1, 1, texts.TOOL_1, now - 7 * DAY, kinds)
    _version(session, second, 2, 2, texts.TOOL_2, now - 3 * DAY, kinds)
    _version(session, second, 2, 3, texts.TOOL_2.replace("% 100", "% 500"), now - 5 * HOUR, kinds)
    _version(session, quote, 1, 1, texts.QUOTE_TOOL, now - 6 * DAY, kinds)
    for tool, version in (("campaign_send_bulk", 2), ("quote_price", 1)):
        _add(session, Tool(tenant="default", name=tool, created_at=now - 7 * DAY, updated_at=now - 4 * HOUR))
        _add(session, Channel(tenant="default", tool=tool, name="stable", version=version, weight=100, updated_at=now - 4 * HOUR))
    moves = [
        (None, 1, "publish", "first version", 7 * DAY),
        (1, 2, "publish", "honours the suppression list", 3 * DAY),
        (2, 3, "publish", "progress less often", 5 * HOUR),
        (3, 2, "roll_back", "progress bar stands still for small campaigns", 4 * HOUR),
    ]
    for before, after, verb, reason, age in moves:
        _add(
            session,
            ChannelMove(
                id=ids.new("move", now - age),
                tenant="default",
                tool="campaign_send_bulk",
                channel="stable",
                before=before,
                after=after,
                verb=verb,
                reason=reason,
                actor="key_operator",
                at=now - age,
            ),
        )
    _add(
        session,
        ChannelMove(
            id=ids.new("move", now - 6 * DAY),
            tenant="default",
            tool="quote_price",
            channel="stable",
            before=None,
            after=1,
            verb="publish",
            reason="first version",
            actor="key_operator",
            at=now - 6 * DAY,
        ),
    )


def _version(session: Session, spec: ExecutionSpec, revision: int, number: int, code: str, at: int, kinds: ConnectorCatalog) -> None:
    candidate = _candidate(
        session, spec, revision, at - HOUR, "published", "approved" if spec.effects else "none_needed", version=number, code=code
    )
    artifact = make_artifact(spec, {"tool.py": code, "test_tool.py": texts.TEST_TOOL}, kinds)
    _add(session, *(ArtifactFile(digest=artifact.digest, path=path, content=text) for path, text in artifact.files.items()))
    row = Version(
        tenant="default",
        tool=spec.name,
        version=number,
        digest=artifact.digest,
        candidate_id=candidate.id,
        spec_revision=revision,
        manifest=artifact.manifest,
        evidence_digest=candidate.report_digest or "",
        state="published",
        author="key_agent",
        published_by="key_operator",
        reason="first version" if number == 1 else "",
        created_at=at,
    )
    _add(session, row)


def _candidate(
    session: Session,
    spec: ExecutionSpec,
    revision: int,
    at: int,
    state: str,
    approval: str,
    *,
    version: int | None = None,
    code: str = texts.TOOL_2,
    failing: str | None = None,
    gates: int = 0,
) -> Candidate:
    files = (source_file("tool.py", code), source_file("test_tool.py", texts.TEST_TOOL))
    row = Candidate(
        id=ids.new("cand", at),
        tenant="default",
        tool=spec.name,
        spec_revision=revision,
        spec_digest=spec.digest,
        digest=candidate_digest(spec.digest, files),
        state=state,
        approval=approval,
        author="key_agent",
        notes="Honours the suppression list." if code == texts.TOOL_2 else "",
        version=version,
        trace_id=sha(str(at))[:32],
        created_at=at,
        updated_at=at + MINUTE,
    )
    results = _results(row, failing, gates)
    _add(session, row, *(CandidateFile(candidate_id=row.id, path=file.path, content=file.content, digest=file.digest) for file in files))
    for position, result in enumerate(results):
        _add(session, GateResult(candidate_id=row.id, position=position, updated_at=at, **result))
    if approval == "approved":
        reason = "Read the diff; effects are as before."
        by: dict[str, Any] = {"actor": "key_operator", "decision": "approve", "reason": reason, "at": at + 2 * MINUTE}
        _add(session, Approval(id=ids.new("appr", at), candidate_id=row.id, **by))
    return row


def _results(row: Candidate, failing: str | None, gates: int) -> list[dict[str, Any]]:
    """Every gate of a finished verification, with the report; of one under way, those so far."""
    if row.state in ("passed", "published", "refused"):
        report = texts.report(row.id, row.digest, failing, replaces=row.state == "passed")
        row.report, row.report_digest = text_digest(report)
        return list(report["gates"])
    if not gates:
        return []
    return [texts.gate(name, "passed") for name in texts.GATES[:gates]] + [{**texts.gate(texts.GATES[gates], "running"), "duration_ms": 0}]


def _candidates(session: Session, revision: tuple[ExecutionSpec, int], now: int) -> None:
    spec, number = revision
    _candidate(session, spec, number, now - 90 * MINUTE, "refused", "waiting", failing="effects")
    error = _candidate(session, spec, number, now - 80 * MINUTE, "error", "waiting")
    error.error = {
        "code": "verification_crashed",
        "detail": "Verifying this candidate ended its worker 3 times.",
        "fix": "Use less memory, then submit again.",
    }
    _add(session, error)
    _candidate(session, spec, number, now - 20 * MINUTE, "passed", "waiting")
    _candidate(session, spec, number, now - MINUTE, "verifying", "waiting", gates=5)
    _candidate(session, spec, number, now - 5000, "queued", "waiting")


def _mail(session: Session, now: int) -> None:
    for number in range(70):
        mail = OutboxEmail(
            tenant="default",
            effect_id=f"eff_mail{number}",
            message_id=f"<m{number}@toolmint.example.com>",
            tool="campaign_send_bulk",
            sender="news@example.com",
            recipient=f"customer{number:03}@example.com",
            subject="Spring is here",
            text=f"Hello {number},\n\nten new things for spring.\n\nExample",
            at=now - (70 - number) * 2000,
        )
        _add(session, mail)


def _audit(session: Session, now: int) -> None:
    deeds: list[tuple[str, str, str, str, dict[str, Any]]] = [
        ("key_agent", "spec.saved", "campaign_send_bulk", "done", {"revision": 2}),
        ("key_agent", "candidate.submitted", "cand_1", "done", {"tool": "campaign_send_bulk"}),
        ("key_operator", "candidate.decided", "cand_1", "done", {"decision": "approve", "reason": "Read the diff; effects are as before."}),
        ("key_operator", "version.published", "campaign_send_bulk", "done", {"version": 2}),
        ("key_viewer", "permission.denied", "approve_candidate", "refused", {"permission": "candidates:approve"}),
        ("key_operator", "channel.moved", "campaign_send_bulk", "done", {"verb": "roll_back", "before": 3, "after": 2}),
        ("unknown", "key.refused", "unknown", "refused", {"code": "key_invalid"}),
    ]
    for number in range(119):
        actor, action, target, outcome, body = deeds[number % len(deeds)]
        event = AuditEvent(
            at=now - (120 - number) * 11 * MINUTE,
            tenant="default",
            actor=actor,
            action=action,
            target=target,
            outcome=outcome,
            trace_id=sha(str(number))[:32],
            body=body,
            body_digest=digest_of(body),
            link=1 if number < 117 else None,
        )
        _add(session, event)
