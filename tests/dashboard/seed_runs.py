"""Runs, steps, effects and ledgers of the seeded world."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlmodel import Session

from app.core import ids
from app.invocation.models import CallApproval
from app.runtime.models import BulkDecision, Effect, EffectEvent, Ledger, LogLine, Payload, Replay, Run, Step

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
_STATES = ("done",) * 30 + ("retry_wait", "retry_wait", "dead", "unknown", "failed")
_ERRORS = {
    "retry_wait": ("mailbox_busy", "450 4.2.1 mailbox busy"),
    "dead": ("greylisted", "451 4.7.1 try again later; 5 attempts"),
    "unknown": ("connection_lost", "The line broke after the message was sent and before it was confirmed."),
    "failed": ("mailbox_unknown", "550 5.1.1 no such user"),
}
_COUNTS = {"done": "done", "retry_wait": "retrying", "dead": "failed", "failed": "failed", "unknown": "unknown"}


def plant_runs(session: Session, now: int) -> None:
    """One large campaign with its ledger, and sixty small runs in every state."""
    large = _run(session, now - 3 * HOUR, "campaign_send_bulk", 2, "completed", {"campaign_id": "spring-2026", "template_id": "spring"})
    counts = _ledger(session, large, "spring-2026", 350, now)
    large.effects = {"send": counts}
    large.result = _payload(
        session,
        {
            "distinct": 350,
            "sent": counts["done"],
            "skipped": 0,
            "failed": counts["failed"],
            "retry_queue": counts["retrying"],
            "unknown": counts["unknown"],
        },
        now,
    )
    large.done, large.total = 350, 350
    _steps(session, large)
    for number in range(58):
        at = now - (60 - number) * 31 * MINUTE // 10
        state = ("completed",) * 8 + ("failed", "cancelled")
        run = _run(session, at, "quote_price", 1, state[number % 10], {"sku": f"A-{number}", "quantity": 10 + number})
        if run.state == "failed":
            run.error = {"code": "price_not_found", "message": "There is no price for this article.", "retryable": False}
        elif run.state == "completed":
            run.result = _payload(session, {"total": 12.5 * (10 + number)}, at)
    broken = _run(session, now - 40 * MINUTE, "campaign_send_bulk", 3, "quarantined", {"campaign_id": "huge", "template_id": "summer"})
    broken.crashes, broken.error = 3, {"code": "run_quarantined", "message": "The run killed its worker three times.", "retryable": False}
    _dry_run(session, now)
    _replay(session, large, now)
    live = _run(session, now - 50_000, "campaign_send_bulk", 2, "executing", {"campaign_id": "summer-2026", "template_id": "summer"})
    live.done, live.total = 420, 2000
    _steps(session, live, whole=False)
    live.effects = {"send": _ledger(session, live, "summer-2026", 60, now, only="done")}
    _decisions(session, now)
    session.flush()


def _decisions(session: Session, now: int) -> None:
    """A redrive that is under way, and a verdict that is not."""
    common: dict[str, Any] = {
        "tenant": "default",
        "actor": "key_operator",
        "actor_name": "operator",
        "mark": 0,
        "tool": "campaign_send_bulk",
    }
    times: dict[str, Any] = {"created_at": now - MINUTE, "updated_at": now - 2000}
    redrive: dict[str, Any] = {"kind": "redrive", "reason": "The mail server takes more.", "state": "running", "count": 1200, "moved": 500}
    verdict: dict[str, Any] = {"kind": "resolution", "reason": "All in its log.", "state": "completed", "count": 3, "moved": 2}
    session.add(BulkDecision(id="redrive_seeded", error_code="greylisted", **redrive, **common, **times))
    done = times | {"created_at": now - DAY, "finished_at": now - DAY}
    session.add(BulkDecision(id="resolution_seeded", verdict="confirm_done", **verdict, **common, **done))


def _replay(session: Session, large: Run, now: int) -> None:
    difference = {
        "what": "request",
        "step": 3,
        "chunk": 1,
        "position": 207,
        "recorded": {"kind": "perform", "name": "send", "item": '{"subject":"Spring","to":"p207@example.com"}'},
        "asked": {"kind": "perform", "name": "send", "item": '{"subject":"Summer","to":"p207@example.com"}'},
    }
    report = {
        "reached": "difference",
        "steps": {"recorded": 5, "asked": 4},
        "keys": {"checked": 200, "unchecked": 1},
        "difference": difference,
    }
    session.add(
        Replay(
            id=ids.new("rpl", now - HOUR),
            tenant="default",
            run_id=large.id,
            actor="key_agent",
            trace_id=large.trace_id,
            state="differs",
            report=report,
            created_at=now - HOUR,
            finished_at=now - HOUR + 900,
        )
    )


def _dry_run(session: Session, now: int) -> None:
    plan = [
        {
            "effect": "send",
            "key": ["summer-2026", "summer", f"p{n}@example.com"],
            "item": {"to": f"p{n}@example.com"},
            "would": "skip" if n % 3 == 0 else "perform",
            "may_differ": n > 0,
        }
        for n in range(6)
    ]
    dry = _run(session, now - 12 * MINUTE, "campaign_send_bulk", 2, "completed", {"campaign_id": "summer-2026", "template_id": "summer"})
    dry.dry_run, dry.plan = True, _payload(session, plan, now)
    counts = {"send": {"skip": 2, "perform": 4}}
    dry.plan_summary = {"digest": "e" * 64, "total": 6, "listed": 6, "counts": counts, "may_differ": 5}
    _approval(session, dry, now)


def _approval(session: Session, dry: Run, now: int) -> None:
    asked = CallApproval(
        id=ids.new("leave", now - 11 * MINUTE),
        tenant="default",
        state="waiting",
        actor="key_agent",
        tool=dry.tool,
        version=dry.version,
        digest=dry.digest,
        dry_run=dry.id,
        fingerprint=dry.args,
        plan_digest="e" * 64,
        policy=["campaigns:send"],
        seed=dry.seed,
        as_of=dry.created_at,
        note="summer, first part of the list",
        created_at=now - 11 * MINUTE,
        expires_at=now + 23 * HOUR,
    )
    session.add(asked)


def _run(session: Session, at: int, tool: str, version: int, state: str, args: dict[str, Any]) -> Run:
    over = state in ("completed", "failed", "cancelled", "quarantined")
    run = Run(
        id=ids.new("run", at),
        tenant="default",
        tool=tool,
        version=version,
        digest="d" * 64,
        channel="stable",
        reason="stable at 100",
        actor="key_agent",
        trace_id=hashlib.md5(str(at).encode()).hexdigest(),
        source="mcp",
        state=state,
        args=_payload(session, args, at),
        seed="0",
        steps=4,
        cpu_ms=310,
        rss_kb=41_000,
        bytes_in=20_000,
        bytes_out=9000,
        created_at=at,
        started_at=at + 8,
        finished_at=at + 4321 if over else None,
    )
    session.add(run)
    session.flush()
    return run


def _payload(session: Session, value: Any, at: int) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    if session.get(Payload, digest) is None:
        session.add(Payload(digest=digest, body=text, created_at=at))
        session.flush()
    return digest


def _steps(session: Session, run: Run, whole: bool = True) -> None:
    start = run.started_at or run.created_at
    rows = [
        (1, 0, "read", "template", 0, 12, 40),
        (2, 0, "log", "campaign_started", 0, 60, 1),
        (3, 0, "perform_each", "send", 200, 80, 2100),
    ]
    if whole:
        rows += [(3, 1, "perform_each", "send", 150, 2190, 1800), (4, 0, "progress", "", 0, 4000, 2)]
    for step, chunk, kind, name, items, offset, took in rows:
        answer = json.dumps({"key": "spring", "body": {"subject": "Spring is here"}}) if kind == "read" else None
        session.add(
            Step(
                run_id=run.id,
                step=step,
                chunk=chunk,
                kind=kind,
                name=name,
                request="r" * 64,
                answer=answer,
                items=items,
                at=start + offset,
                duration_ms=took,
            )
        )
    for number in range(3):
        session.add(
            LogLine(
                run_id=run.id, at=start + 60 + number, event="campaign_started" if number == 0 else "chunk_sent", fields={"chunk": number}
            )
        )


def _ledger(session: Session, run: Run, group: str, rows: int, now: int, only: str | None = None) -> dict[str, int]:
    session.add(Ledger(tenant="default", name="campaigns", group=group, tool=run.tool, created_at=run.created_at))
    counts = {"done": 0, "skipped": 0, "retrying": 0, "failed": 0, "unknown": 0, "distinct": rows}
    for number in range(rows):
        state = only or _STATES[number % len(_STATES)]
        counts[_COUNTS[state]] += 1
        effect = _effect(run, group, number, state, now)
        session.add(effect)
        session.flush()
        for before, after in (("new", "planned"), ("planned", "claimed"), ("claimed", "performing"), ("performing", state)):
            session.add(
                EffectEvent(
                    effect_seq=effect.seq or 0,
                    effect_id=effect.id,
                    before=before,
                    after=after,
                    at=run.created_at + 100,
                    fence=1,
                    actor="worker",
                )
            )
    session.flush()
    return counts


def _effect(run: Run, group: str, number: int, state: str, now: int) -> Effect:
    to = f"customer{number:03}@example.com"
    code, message = _ERRORS.get(state, (None, None))
    return Effect(
        id=f"eff_{group}_{number:04}",
        tenant="default",
        tool=run.tool,
        version=run.version,
        effect="send",
        connector="email.send",
        key=json.dumps([group, "spring", to]),
        run_id=run.id,
        step=3,
        position=number,
        ledger="campaigns",
        ledger_group=group,
        subject=to,
        item=json.dumps({"to": to, "subject": "Spring is here", "text": "Hello"}),
        fingerprint="f" * 64,
        on_unknown="hold",
        state=state,
        attempts=5 if state == "dead" else 2 if state == "retry_wait" else 1,
        next_at=now + 90_000 if state == "retry_wait" else None,
        receipt=json.dumps({"message_id": f"<{number}@example.com>"}) if state == "done" else None,
        error_code=code,
        error=json.dumps({"code": code, "message": message}) if code else None,
        message_id=f"<{number}@toolmint.example.com>",
        created_at=run.created_at,
        updated_at=run.created_at + 2000 + number,
    )
