"""Candidates: the list, one candidate with its verification live, its cancellation, code, changes, decision and publication."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from app.candidates.approval import approve_candidate
from app.candidates.cancelling import cancel_candidate, verify_again
from app.candidates.reading import APPROVALS, STATES, candidate_files, list_candidates, read_candidate, read_report
from app.core.errors import Conflict, Forbidden, Invalid, NotFound, ToolmintError
from app.registry.entries import STABLE
from app.registry.proof import proof_in
from app.registry.publishing import publish
from app.registry.reading import read_tool, read_version
from app.spec.revisions import read_spec
from app.web.desk import At, Desk
from app.web.highlight import laid_out, lines
from app.web.listing import PAGE, listing
from app.web.live import stream
from app.web.routes.versions import compared_files

router = APIRouter()
WORKING = frozenset({"queued", "verifying"})
FILES = {"code": "tool.py", "tests": "test_tool.py"}


@router.get("/candidates")
def index(desk: At) -> Response:
    view = listing(desk, "/candidates", "tool", "state", "approval")
    given = view.given
    found = list_candidates(
        desk.actor, desk.database, given("state"), given("tool"), given("approval"), cursor=view.cursor or None, limit=PAGE
    )
    return desk.show("candidates/index.html", part="candidates/_rows.html", view=view, found=found, states=STATES, approvals=APPROVALS)


@router.get("/candidates/{candidate_id}")
def show(desk: At, candidate_id: str) -> Response:
    return _page(desk, candidate_id)


@router.get("/candidates/{candidate_id}/events")
def events(desk: At, candidate_id: str) -> Response:
    read_candidate(desk.actor, desk.database, candidate_id)
    return stream(desk, lambda signal: signal.subject == candidate_id, partial(_snapshot, desk, candidate_id))


@router.get("/candidates/{candidate_id}/changes")
def changes(desk: At, candidate_id: str) -> Response:
    candidate = read_candidate(desk.actor, desk.database, candidate_id)
    stable = _stable(desk, candidate["tool"])
    compared = compared_files(stable["files"], _files(desk, candidate)) if stable else []
    against, refused = (stable["version"], stable["refused"]) if stable else (None, None)
    return desk.show("candidates/changes.html", tab="changes", candidate=candidate, against=against, refused=refused, compared=compared)


@router.get("/candidates/{candidate_id}/{tab}")
def file(desk: At, candidate_id: str, tab: str) -> Response:
    candidate = read_candidate(desk.actor, desk.database, candidate_id)
    if tab not in (*FILES, "spec"):
        raise NotFound("page_not_found", "A candidate has no such page.", fix="Start from the candidate's page.")
    path = FILES.get(tab, "spec.json")
    text = laid_out(path, _files(desk, candidate)[path])
    return desk.show("candidates/file.html", tab=tab, candidate=candidate, path=path, text=text, lines=lines(text, path))


@router.post("/candidates/{candidate_id}/approvals")
def decide(desk: At, candidate_id: str) -> Response:
    try:
        approve_candidate(desk.actor, desk.database, candidate_id, desk.form["decision"], desk.form["reason"])
    except (Invalid, Conflict, Forbidden) as error:
        return _page(desk, candidate_id, error)
    desk.services.feed.nudge()
    return desk.moved(f"/candidates/{candidate_id}", "Your decision is recorded.")


@router.post("/candidates/{candidate_id}/publications")
def release(desk: At, candidate_id: str) -> Response:
    try:
        made = publish(desk.actor, desk.services.catalog, candidate_id, reason=desk.form["reason"])
    except (Invalid, Conflict, Forbidden) as error:
        return _page(desk, candidate_id, error)
    desk.services.feed.nudge()
    return desk.moved(f"/tools/{made['tool']}", f"Published as version {made['version']}; {made['channel']} points to it.")


@router.post("/candidates/{candidate_id}/cancellations")
def cancel(desk: At, candidate_id: str) -> Response:
    try:
        cancel_candidate(desk.actor, desk.database, candidate_id)
    except (Conflict, Forbidden) as error:
        return _page(desk, candidate_id, refusal=error)
    desk.services.feed.nudge()
    return desk.moved(f"/candidates/{candidate_id}", "The verification is cancelled.")


@router.post("/candidates/{candidate_id}/verifications")
def again(desk: At, candidate_id: str) -> Response:
    try:
        verify_again(desk.actor, desk.database, candidate_id)
    except (Conflict, Forbidden) as error:
        return _page(desk, candidate_id, refusal=error)
    desk.services.feed.nudge()
    return desk.moved(f"/candidates/{candidate_id}", "It waits for its verification.")


def _page(desk: Desk, candidate_id: str, error: ToolmintError | None = None, refusal: ToolmintError | None = None) -> Response:
    """`error` stands beside the decision, `refusal` beside what ends or repeats the verification."""
    refused = error or refusal
    values = {**_whole(desk, candidate_id), "error": error, "refusal": refusal}
    return desk.show("candidates/page.html", status=refused.status if refused else 200, tab="report", sent=desk.form, **values)


def _whole(desk: Desk, candidate_id: str) -> dict[str, Any]:
    candidate = read_candidate(desk.actor, desk.database, candidate_id)
    report = read_report(desk.actor, desk.database, candidate_id)
    return {"candidate": candidate, "report": report, "proved": proof_in(report), "working": candidate["state"] in WORKING}


def _snapshot(desk: Desk, candidate_id: str) -> tuple[str, bool]:
    values = _whole(desk, candidate_id)
    return desk.render("candidates/_live.html", error=None, refusal=None, sent=desk.form, **values), not values["working"]


def _files(desk: Desk, candidate: dict[str, Any]) -> dict[str, str]:
    spec = read_spec(desk.actor, desk.database, candidate["tool"], candidate["spec_revision"])["spec"]
    return {**candidate_files(desk.actor, desk.database, candidate["id"]), "spec.json": json.dumps(spec, ensure_ascii=False)}


def _stable(desk: Desk, tool: str) -> dict[str, Any] | None:
    """The version that answers calls now; None where there is none, or none that this actor may see."""
    try:
        number: int = read_tool(desk.actor, desk.services.catalog, tool)["channels"][STABLE]["version"]
        version: dict[str, Any] = read_version(desk.actor, desk.services.catalog, tool, number)
    except NotFound:
        return None
    return version
