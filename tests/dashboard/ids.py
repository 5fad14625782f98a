"""Ids of the seeded world, and the pages that show it."""

from __future__ import annotations

from sqlmodel import select

from app.candidates.models import Candidate
from app.invocation.models import CallApproval
from app.runtime.models import Replay, Run
from tests.dashboard.site import Site

UNKNOWN = "eff_spring-2026_0033"
DEAD = "eff_spring-2026_0032"
REDRIVE = "redrive_seeded"
TOOL = "campaign_send_bulk"


def candidate(site: Site, state: str) -> str:
    """The newest candidate in this state."""
    with site.database.reading() as session:
        return max(session.exec(select(Candidate.id).where(Candidate.state == state)).all())


def run(site: Site, state: str, tool: str = TOOL, dry_run: bool = False) -> str:
    """The newest run in this state."""
    with site.database.reading() as session:
        return max(session.exec(select(Run.id).where(Run.state == state, Run.tool == tool, Run.dry_run == dry_run)).all())


def replayed(site: Site) -> str:
    """A run that was replayed and differed."""
    with site.database.reading() as session:
        return session.exec(select(Replay.run_id).where(Replay.state == "differs")).one()


def approval(site: Site) -> str:
    """The approval that waits."""
    with site.database.reading() as session:
        return session.exec(select(CallApproval.id).where(CallApproval.state == "waiting")).one()


def pages(site: Site) -> dict[str, str]:
    """Every kind of page by a name."""
    candidates = {
        f"candidate {state}": f"/candidates/{candidate(site, state)}" for state in ("passed", "refused", "error", "verifying", "queued")
    }
    passed = candidates["candidate passed"]
    return {
        "overview": "/",
        "tools": "/tools",
        "tool": f"/tools/{TOOL}",
        "version": f"/tools/{TOOL}/versions/2",
        "version code": f"/tools/{TOOL}/versions/2/code",
        "version tests": f"/tools/{TOOL}/versions/2/tests",
        "version spec": f"/tools/{TOOL}/versions/2/spec",
        "version changes": f"/tools/{TOOL}/versions/2/changes",
        "first version changes": f"/tools/{TOOL}/versions/1/changes?against=3",
        "try": f"/tools/{TOOL}/try?example=0",
        "try as json": f"/tools/{TOOL}/try?as=json&example=0",
        "try a reader": "/tools/quote_price/try",
        "candidates": "/candidates",
        **candidates,
        "candidate code": f"{passed}/code",
        "candidate spec": f"{passed}/spec",
        "candidate changes": f"{passed}/changes",
        **_pages_of_runs(site),
    }


def _pages_of_runs(site: Site) -> dict[str, str]:
    return {
        "runs": "/runs",
        "runs that failed": "/runs?state=failed&tool=quote_price",
        "no runs": "/runs?tool=nothing",
        "run": f"/runs/{run(site, 'completed')}",
        "run under way": f"/runs/{run(site, 'executing')}",
        "replayed run": f"/runs/{replayed(site)}",
        "dry run": f"/runs/{run(site, 'completed', dry_run=True)}",
        "approvals": "/approvals",
        "no approvals": "/approvals?state=rejected",
        "approval": f"/approvals/{approval(site)}",
        "quarantined run": f"/runs/{run(site, 'quarantined')}",
        "ledgers": "/ledgers",
        "ledger": "/ledgers/campaigns/spring-2026",
        "ledger filtered": "/ledgers/campaigns/spring-2026?state=dead",
        "retry queue": "/queues/retry_wait",
        "dead letters": "/queues/dead",
        "unknowns": "/queues/unknown",
        "unknown effect": f"/effects/{UNKNOWN}",
        "dead letters of one cause": "/queues/dead?tool=campaign_send_bulk&effect=send&error_code=greylisted",
        "a redrive of all": "/queues/dead/decision?error_code=greylisted",
        "a verdict on all": "/queues/unknown/decision",
        "nothing to redrive": "/queues/dead/decision?tool=quote_price",
        "redrives": "/redrives",
        "redrives that are over": "/redrives?state=completed",
        "redrive under way": f"/redrives/{REDRIVE}",
        "verdict on many": "/redrives/resolution_seeded",
        "dead effect": f"/effects/{DEAD}",
        "done effect": "/effects/eff_spring-2026_0000",
        "pauses": "/pauses",
        "outbox": "/outbox",
        "connections": "/connections",
        "new mail server": "/connections/new/smtp",
        "new service": "/connections/new/http",
        "connection": "/connections/orders_api",
        "audit": "/audit",
        "keys": "/keys",
        "revoke": "/keys?revoke=key_agent",
    }
