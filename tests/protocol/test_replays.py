"""Replays over REST and MCP. No worker runs beside these front doors, so the test does a worker's part where one is needed."""

from __future__ import annotations

from app.runtime.repository import replays
from tests.protocol.site import Site
from tests.protocol.test_rest import problem_of
from tests.support.published import COUNTER_ARGS


def test_a_replay_is_asked_for_read_and_listed(site: Site) -> None:
    run = site.post("/tools/count_notes/runs", {"args": COUNTER_ARGS}).json()
    asked = site.post(f"/runs/{run['id']}/replays", {"wait_s": 0})
    body = asked.json()
    assert asked.status_code == 202 and asked.headers["location"] == f"/api/v1/runs/{run['id']}/replays/{body['id']}"
    assert (body["state"], body["steps"], body["difference"], body["error"]) == ("waiting", None, None, None)
    report = {"reached": "end", "steps": {"recorded": 0, "asked": 0}, "keys": {"checked": 0, "unchecked": 0}, "difference": None}
    with site.database.writing() as session:
        assert replays.claim(session, body["id"], "own_test") is not None
        session.flush()
        assert replays.finish(session, body["id"], "own_test", "same", report)
    found = site.get(f"/runs/{run['id']}/replays/{body['id']}").json()
    assert found["state"] == "same" and found["steps"] == {"recorded": 0, "asked": 0}
    assert site.get(f"/runs/{run['id']}/replays").json()["items"] == [found]


def test_what_cannot_be_replayed_is_a_problem_with_its_fix(site: Site) -> None:
    problem_of(site.post("/runs/run_none/replays", {}), 404, "run_not_found")
    waiting = site.post("/tools/count_notes/runs", {"args": {**COUNTER_ARGS, "group": "waits"}, "wait_s": 0}).json()
    problem_of(site.post(f"/runs/{waiting['id']}/replays", {}), 409, "run_not_over")
    run = site.post("/tools/count_notes/runs", {"args": {**COUNTER_ARGS, "group": "over"}}).json()
    problem_of(site.post(f"/runs/{run['id']}/replays", {"wait": 1}), 422, "body_invalid")
    problem_of(site.get(f"/runs/{run['id']}/replays/rpl_none"), 404, "replay_not_found")
    problem_of(site.post(f"/runs/{run['id']}/replays", {}, "records:read"), 404, "run_not_found")
    with site.database.writing() as session:
        session.connection().exec_driver_sql(f"UPDATE run SET kept = 'answers' WHERE id = '{run['id']}'")
    problem = problem_of(site.post(f"/runs/{run['id']}/replays", {}), 409, "journal_pruned")
    assert "TOOLMINT_KEEP_JOURNALS_DAYS" in problem["fix"]
    assert site.get(f"/runs/{run['id']}").json()["kept"] == "answers"
