"""REST against a real server: the shapes that callers rely on, errors as problem details, idempotency keys, bad input of every kind."""

from __future__ import annotations

import csv
import io
import json
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import pytest

from app.candidates.verifying import claim_candidate, finish_candidate
from app.core import owners
from app.registry.reading import list_tools
from tests.protocol.site import Site
from tests.support.published import COUNTER_ARGS, OPERATOR, counter_spec, pass_candidate, passing, release
from tests.support.waiting import until
from tests.support.worlds import sender_spec

CALL = ("tools:call",)
FILES = [{"path": "tool.py", "content": "x = 1\n"}, {"path": "test_tool.py", "content": "y = 1\n"}]


def problem_of(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert set(body) == {"type", "title", "status", "detail", "code", "retryable", "fix", "errors", "trace_id"}
    assert body["status"] == status and body["trace_id"] == answer.headers["x-trace-id"]
    return body


def test_a_run_answers_200_when_it_is_over_and_202_when_it_goes_on(site: Site) -> None:
    over = site.post("/tools/count_notes/runs", {"args": COUNTER_ARGS}, *CALL)
    body = over.json()
    assert over.status_code == 200 and body["result"] == {"done": 1} and body["state"] == "completed" and body["replayed"] is False
    assert over.headers["location"] == f"/api/v1/runs/{body['id']}"
    assert {"id", "tool", "version", "channel", "state", "replayed", "result", "error", "plan", "effects", "trace_id"} <= set(body)
    later = site.post("/tools/count_notes/runs", {"args": COUNTER_ARGS, "wait_s": 0}, *CALL)
    assert later.status_code == 202 and later.json()["state"] == "available"
    assert site.get(f"/runs/{body['id']}").json()["channel_reason"] == "the only channel with weight"
    assert site.get(f"/runs/{body['id']}/args").json() == {"args": COUNTER_ARGS}
    assert site.get(f"/runs/{body['id']}/steps").json() == {"items": [], "next_cursor": None}


def test_a_repeated_run_with_its_key_is_replayed_byte_for_byte(site: Site) -> None:
    args = {"group": "rest", "to": ["a@example.com", "é@example.com"]}
    first = site.post("/tools/send_notes/runs", {"args": args}, *CALL, headers={"Idempotency-Key": "r1"}).json()
    again = site.post("/tools/send_notes/runs", {"args": args}, *CALL, headers={"Idempotency-Key": "r1"}).json()
    assert again["replayed"] and again["id"] == first["id"] and json.dumps(again["result"]) == json.dumps(first["result"])
    other = site.post("/tools/send_notes/runs", {"args": {**args, "group": "x"}}, *CALL, headers={"Idempotency-Key": "r1"})
    problem_of(other, 422, "idempotency_conflict")


def test_a_failed_run_answers_200_with_its_error(site: Site) -> None:
    source = 'from toolkit import ToolError\n\ndef run(args, ctx):\n    raise ToolError("group_not_found", "None.")\n'
    release(site.catalog, counter_spec("rest_fails"), source)
    until(lambda: site.get("/tools/rest_fails").status_code == 200)
    answer = site.post("/tools/rest_fails/runs", {"args": COUNTER_ARGS}, *CALL)
    body = answer.json()
    assert (answer.status_code, body["state"], body["error"]["code"]) == (200, "failed", "group_not_found") and body["result"] is None


def test_unknown_and_forbidden_tools_look_the_same(site: Site) -> None:
    release(site.catalog, counter_spec("rest_secret", _permissions=["notes:secret"]))
    until(lambda: site.get("/tools/rest_secret").status_code == 200)
    for method, path, body in (
        ("POST", "/tools/{}/runs", {"args": COUNTER_ARGS}),
        ("GET", "/tools/{}", None),
        ("GET", "/tools/{}/versions/1", None),
    ):
        said = []
        for name in ("rest_secret", "rest_nothing"):
            answer = site.ask(method, path.format(name), *CALL, json=body)
            found = problem_of(answer, 404, "tool_not_found")
            said.append({**found, "trace_id": "", "detail": found["detail"].replace(name, "NAME")})
        assert said[0] == said[1]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 422, "body_invalid"),
        (b"\xff\xfe{}", 422, "body_invalid"),
        (b'{"args": {"group": "g", "to": [NaN]}}', 422, "body_invalid"),
        (b"[" * 100_000, 422, "body_invalid"),
        (b"[]", 422, "body_invalid"),
        (b'{"args": {}, "more": 1}', 422, "body_invalid"),
        (b'{"args": []}', 422, "body_invalid"),
        (b'{"args": {"group": 1, "to": []}}', 422, "args_invalid"),
        (b'{"args": {"group": "g", "to": []}, "version": 77}', 404, "version_not_found"),
        (b'{"args": {"group": "g", "to": []}, "wait_s": 1e9}', 422, "body_invalid"),
        (json.dumps({"args": {"group": "g", "to": ["a" * 300] * 1000}}).encode(), 413, "input_too_large"),
        (b'{"args": {"group": "' + b"g" * 13_000_000 + b'"}}', 413, "body_too_large"),
        (b"", 422, "body_invalid"),
    ],
)
def test_a_bad_body_is_a_problem_and_starts_nothing(site: Site, content: bytes, status: int, code: str) -> None:
    before = site.get("/runs", tool="count_notes").json()["items"]
    found = problem_of(site.ask("POST", "/tools/count_notes/runs", *CALL, content=content), status, code)
    assert found["fix"] and "Traceback" not in json.dumps(found)
    assert site.get("/runs", tool="count_notes").json()["items"] == before


def test_a_body_that_streams_beyond_the_limit_is_refused_and_starts_nothing(site: Site) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield b"x" * 100_000

    before = site.get("/runs", tool="count_notes").json()["items"]
    answer = site.ask("POST", "/tools/count_notes/runs", *CALL, content=endless())
    problem_of(answer, 413, "body_too_large")
    assert site.get("/runs", tool="count_notes").json()["items"] == before


def test_head_is_get_without_the_content(site: Site) -> None:
    for path, status in {"/tools": 200, "/nothing/here": 404, "/runs?limit=0": 422}.items():
        asked, told = site.ask("GET", path), site.ask("HEAD", path)
        assert told.status_code == asked.status_code == status, path
        assert told.content == b"" and told.headers["content-type"] == asked.headers["content-type"]


def test_what_the_framework_refuses_is_a_problem_too(site: Site) -> None:
    problem_of(site.get("/nothing/here"), 404, "route_not_found")
    refused = site.ask("DELETE", "/tools")
    problem_of(refused, 405, "method_not_allowed")
    assert "GET" in refused.headers["allow"]
    problem_of(site.get("/tools", limit="many"), 422, "request_invalid")
    problem_of(site.get("/tools", limit=0), 422, "limit_invalid")
    problem_of(site.get("/runs", cursor="!!"), 422, "cursor_invalid")
    problem_of(site.get("/tools/count_notes/versions/x"), 422, "request_invalid")


def test_without_a_valid_key_everything_is_401_and_a_foreign_host_is_421(site: Site) -> None:
    for sent, code in ((None, "key_missing"), ("Bearer no", "key_invalid"), ("Basic x", "key_missing"), ("Bearer", "key_missing")):
        answer = site.client.get("/api/v1/tools", headers={} if sent is None else {"Authorization": sent})
        problem_of(answer, 401, code)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    for host in ("evil.example", "127.0.0.1.evil.example:80", "", "localhost:abc"):
        problem_of(site.client.get("/api/v1/tools", headers={"Host": host}), 421, "host_not_allowed")
    assert site.client.get("/docs", headers={"Host": "localhost:1"}).status_code == 200


def test_a_trace_goes_from_the_header_through_run_and_audit_to_the_answer(site: Site) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    answer = site.post("/tools/count_notes/runs", {"args": COUNTER_ARGS}, headers=headers)
    assert answer.headers["x-trace-id"] == trace and answer.json()["trace_id"] == trace
    events = site.get("/audit", target=answer.json()["id"]).json()["items"]
    assert {event["action"] for event in events} == {"run.started", "run.completed"} and {event["trace_id"] for event in events} == {trace}
    sent = site.post("/tools/send_notes/runs", {"args": {"group": "traced", "to": ["traced@example.com"]}}, headers=headers).json()
    steps = site.get(f"/runs/{sent['id']}/steps").json()["items"]
    assert steps and {step["trace_id"] for step in steps} == {sent["trace_id"]} == {trace}
    release(site.catalog, counter_spec("say_notes"), "def run(args, ctx):\n    ctx.log('seen', to=args['to'])\n    return {'done': 0}\n")
    until(lambda: site.get("/tools/say_notes").status_code == 200, what="the tool is known")
    said = site.post("/tools/say_notes/runs", {"args": COUNTER_ARGS}, headers=headers).json()
    (line,) = site.get(f"/runs/{said['id']}/logs").json()["items"]
    assert (line["event"], line["fields"], line["trace_id"]) == ("seen", {"to": COUNTER_ARGS["to"]}, trace)


def test_a_spec_is_saved_read_and_refused_with_paths(site: Site) -> None:
    spec = counter_spec("rest_spec").body() | {"examples": [{"name": "one", "args": {"group": "g", "to": ["a"]}, "result": {"done": 1}}]}
    saved = site.post("/specs", spec, "specs:write")
    assert saved.status_code == 201 and saved.json()["revision"] == 1
    assert site.post("/specs", spec, "specs:write").json() == saved.json()
    read = site.get("/specs/rest_spec").json()
    assert (read["name"], read["revision"], read["digest"]) == ("rest_spec", 1, saved.json()["digest"]) and read["spec"]["title"]
    loose = {**spec, "inputs": {"type": "object"}}
    found = problem_of(site.post("/specs", loose, "specs:write"), 422, "spec_invalid")
    assert found["errors"][0]["path"].startswith("$.inputs") and found["errors"][0]["fix"]
    problem_of(site.post("/specs", spec, *CALL), 403, "permission_denied")
    problem_of(site.get("/specs/rest_nothing"), 404, "spec_not_found")


def test_a_candidate_goes_from_submission_to_a_published_version_and_back(own_site: Site) -> None:
    site, author = own_site, ("specs:write", "candidates:submit")
    pass_candidate(site.database, sender_spec(), approve=False)
    sent = site.post("/tools/send_notes/candidates", {"files": FILES, "notes": "first"}, *author)
    candidate = sent.json()
    assert sent.status_code == 202 and (candidate["state"], candidate["approval"], candidate["version"]) == ("queued", "waiting", None)
    problem_of(site.post("/tools/send_notes/candidates", {"files": FILES[:1]}, *author), 422, "candidate_files_invalid")
    problem_of(site.post("/tools/send_notes/candidates", {"files": FILES}, *CALL), 403, "permission_denied")
    events = followed(site, candidate["id"])
    owner = owners.register(site.database, "worker", 15_000)
    assert claim_candidate(site.database, candidate["id"], owner)
    finish_candidate(site.database, candidate["id"], owner, passing(candidate["id"], candidate["digest"]))
    assert until(lambda: events and events[-1]["state"] == "passed") and events[0]["state"] == "queued"
    assert site.get(f"/candidates/{candidate['id']}/report").json()["publishable"] is True
    assert [file["path"] for file in site.get(f"/candidates/{candidate['id']}/files").json()["items"]] == ["tool.py", "test_tool.py"]
    publish = {"candidate_id": candidate["id"], "channel": "stable"}
    problem_of(site.post("/tools/send_notes/versions", publish, "tools:publish"), 409, "approval_required")
    decide = {"decision": "approve", "reason": "read it"}
    assert site.post(f"/candidates/{candidate['id']}/approvals", decide, "candidates:approve").status_code == 201
    done = site.post("/tools/send_notes/versions", publish, "tools:publish")
    assert done.status_code == 201 and {"tool", "version", "digest", "channel"} <= set(done.json()) and done.json()["version"] == 1
    problem_of(site.post("/tools/send_notes/versions", publish, "tools:publish"), 409, "already_published")
    tool = site.get("/tools/send_notes").json()
    assert tool["channels"] == {"stable": {"version": 1, "weight": 100}} and tool["permissions"] == []
    assert site.get("/tools/send_notes/versions/1").json()["files"]["tool.py"] == "x = 1\n"
    problem_of(site.post("/tools/send_notes/rollbacks", {"reason": "no good"}, "tools:rollback"), 409, "nothing_to_roll_back")
    problem_of(site.post("/tools/send_notes/rollbacks", {"reason": "no good"}, *CALL), 403, "permission_denied")


def test_a_verification_is_cancelled_and_begun_anew(own_site: Site) -> None:
    pass_candidate(own_site.database, sender_spec(), approve=False)
    at = f"/candidates/{own_site.post('/tools/send_notes/candidates', {'files': FILES}, 'candidates:submit').json()['id']}"
    problem_of(own_site.post(f"{at}/verifications", {}, "candidates:submit"), 409, "verification_settled")
    problem_of(own_site.post(f"{at}/cancellations", {}, *CALL), 403, "permission_denied")
    cancelled = own_site.post(f"{at}/cancellations", {}, "candidates:submit")
    assert cancelled.status_code == 202 and cancelled.json()["state"] == "cancelled"
    assert cancelled.json()["error"]["code"] == "verification_cancelled" and cancelled.json()["error"]["actor"].startswith("key_")
    problem_of(own_site.post(f"{at}/cancellations", {}, "candidates:submit"), 409, "verification_over")
    again = own_site.post(f"{at}/verifications", {}, "candidates:submit")
    assert again.status_code == 202 and (again.json()["state"], again.json()["error"]) == ("queued", None)


def test_an_author_cannot_approve_its_own_candidate(own_site: Site) -> None:
    both = ("candidates:submit", "candidates:approve")
    pass_candidate(own_site.database, sender_spec(), approve=False)
    mine = own_site.post("/tools/send_notes/candidates", {"files": FILES}, *both).json()
    answer = own_site.post(f"/candidates/{mine['id']}/approvals", {"decision": "approve", "reason": "mine"}, *both)
    problem_of(answer, 403, "self_approval")


def followed(site: Site, candidate_id: str) -> list[dict[str, Any]]:
    """The events of a candidate as they come, in a list that grows."""
    events: list[dict[str, Any]] = []
    opened = threading.Event()

    def listen() -> None:
        headers = {"Authorization": f"Bearer {site.key('*')}"}
        with httpx2.stream("GET", f"{site.url}/api/v1/candidates/{candidate_id}/events", headers=headers, timeout=30) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    events.append(json.loads(line[6:]))
                    opened.set()

    threading.Thread(target=listen, daemon=True).start()
    assert opened.wait(10)
    return events


def test_a_key_makes_every_post_happen_once(site: Site) -> None:
    pass_candidate(site.database, counter_spec("rest_once"))
    path, body, key = "/tools/rest_once/candidates", {"files": FILES}, {"Idempotency-Key": "once-1"}
    first = site.post(path, body, headers=key)
    again = site.post(path, body, headers=key)
    assert (again.status_code, again.json()) == (first.status_code, first.json()) and again.headers["idempotency-replayed"] == "true"
    problem_of(site.post(path, {**body, "notes": "other"}, headers=key), 422, "idempotency_conflict")
    other = site.post(path, body, "candidates:submit", headers=key)
    assert other.json()["id"] != first.json()["id"]
    bad = {"Idempotency-Key": "once-2"}
    problem_of(site.post(path, {"files": []}, headers=bad), 422, "candidate_files_invalid")
    assert site.post(path, body, headers=bad).status_code == 202


def test_a_key_is_shown_once_and_never_again_not_even_to_a_repeated_request(site: Site) -> None:
    body, key = {"name": "bot", "permissions": ["tools:call"]}, {"Idempotency-Key": "k-1"}
    made = site.post("/keys", body, headers=key)
    assert made.status_code == 201 and made.json()["key"].startswith("tm_")
    again = site.post("/keys", body, headers=key).json()
    assert again["id"] == made.json()["id"] and again["key"] is None
    bearer = {"Authorization": f"Bearer {made.json()['key']}"}
    assert site.client.get("/api/v1/tools", headers=bearer).status_code == 200
    listed = site.get("/keys").json()["items"]
    assert made.json()["id"] in {row["id"] for row in listed} and not any("key" in row for row in listed)
    assert site.ask("DELETE", f"/keys/{made.json()['id']}").json()["revoked_at"]
    problem_of(site.client.get("/api/v1/tools", headers=bearer), 401, "key_revoked")
    problem_of(site.post("/keys", body, *CALL), 403, "permission_denied")


def test_records_are_put_read_listed_and_imported(site: Site) -> None:
    put = site.ask("PUT", f"/records/rest_people/{quote('a/b c', safe='')}", json={"name": "Ann"})
    assert put.json()["version"] == 1 and put.json()["key"] == "a/b c"
    assert site.get(f"/records/rest_people/{quote('a/b c', safe='')}").json()["body"] == {"name": "Ann"}
    problem_of(site.ask("PUT", "/records/rest_people/x?expected_version=3", json={"name": "B"}), 409, "version_conflict")
    problem_of(site.get("/records/rest_people/none"), 404, "record_not_found")
    lines = b'{"key": "k1", "body": {"name": "K1"}}\nnonsense\n{"key": "k2", "body": {"name": "K2"}}\n'
    jsonl = site.ask("POST", "/records/rest_people/imports", content=lines, headers={"Content-Type": "application/jsonl"}).json()
    assert jsonl["imported"] == 2 and jsonl["errors"][0]["line"] == 2
    table = "id;name\n".replace(";", ",") + "c1,Cal\n"
    path = "/records/rest_people/imports?key=id"
    assert site.ask("POST", path, content=table.encode(), headers={"Content-Type": "text/csv"}).json()["imported"] == 1
    problem_of(site.ask("POST", path, content=b"x", headers={"Content-Type": "image/png"}), 422, "content_type_invalid")
    page = site.get("/records/rest_people", filter='{"name": ["K1", "Cal"]}').json()
    assert [row["key"] for row in page["items"]] == ["c1", "k1"]
    assert {"name": "rest_people", "count": 4} in site.get("/records").json()["items"]
    problem_of(site.get("/records/rest_people", "tools:call"), 403, "permission_denied")


def test_a_ledger_is_read_in_pages_and_as_csv_without_formulas(site: Site) -> None:
    group = "spring/50% =1"
    args = {"group": group, "to": ["=cmd@example.com", "b@example.com"]}
    assert site.post("/tools/send_notes/runs", {"args": args}).json()["result"]["done"] == 2
    path = f"/ledgers/notes/{quote(group, safe='')}"
    page = site.get(path, limit=1).json()
    assert page["items"][0]["state"] == "done" and page["items"][0]["group"] == group and page["next_cursor"]
    assert {"ledger": "notes", "group": group, "tool": "send_notes"}.items() <= next(
        row for row in site.get("/ledgers", limit=500).json()["items"] if row["group"] == group
    ).items()
    answer = site.get(f"{path}.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["subject"] for row in rows} == {"'=cmd@example.com", "b@example.com"} and len(rows) == 2
    for of_one in (site.get(f"{path}.csv", subject="b@example.com"), site.get(path, format="csv", subject="b@example.com")):
        assert [row["subject"] for row in csv.DictReader(io.StringIO(of_one.text))] == ["b@example.com"]
    problem_of(site.get("/ledgers/notes/none"), 404, "ledger_not_found")
    problem_of(site.get("/ledgers/notes/none.csv"), 404, "ledger_not_found")
    assert site.get("/effects", state="unknown").json() == {"items": [], "next_cursor": None}
    problem_of(site.get("/effects", state="done"), 422, "state_unknown")
    effect = site.get(f"/effects/{page['items'][0]['effect_id']}").json()
    assert effect["history"] and effect["tool"] == "send_notes"
    refused = site.post(f"/effects/{effect['effect_id']}/resolutions", {"verdict": "retry", "reason": "looked"})
    problem_of(refused, 409, "effect_not_unknown")


def test_runs_are_cancelled_over_rest(site: Site) -> None:
    run = site.post("/tools/count_notes/runs", {"args": COUNTER_ARGS, "wait_s": 0}).json()
    assert site.post(f"/runs/{run['id']}/cancellations", None).status_code == 202
    assert site.get(f"/runs/{run['id']}").json()["state"] == "cancelled"
    problem_of(site.post(f"/runs/{run['id']}/cancellations", None), 409, "run_over")
    problem_of(site.get("/runs/run_none"), 404, "run_not_found")


def test_generation_says_that_no_model_is_configured(site: Site) -> None:
    pass_candidate(site.database, counter_spec("rest_written"))
    problem_of(site.post("/tools/rest_written/generations", {}), 503, "model_not_configured")
    problem_of(site.get("/generations/gen_none"), 404, "generation_not_found")


def test_the_description_lists_every_route_and_loads_nothing_from_elsewhere(site: Site) -> None:
    page = site.client.get("/docs").text
    assert "decision: &quot;approve&quot; | &quot;reject&quot;" in page and "verdict: &quot;confirm_done&quot; | &quot;retry&quot;" in page
    assert "/tools/{name}/runs" in page and "https://" not in page and "<script" not in page
    paths = site.client.get("/api/v1/openapi.json").json()["paths"]
    assert {"/specs", "/tools/{name}/versions", "/ledgers/{name}/{group}", "/audit", "/costs"} <= set(paths)
    assert site.get("/costs").status_code == 200


def test_a_client_that_hangs_up_loses_nothing(site: Site) -> None:
    count = 2000
    body = json.dumps({"args": {"group": "hangs-up", "to": [f"u{n}@example.com" for n in range(count)]}}).encode()
    address = urlsplit(site.url)
    with socket.create_connection((address.hostname, address.port)) as line:
        head = f"POST /api/v1/tools/send_notes/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {site.key('*')}\r\n"
        line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        rows = until(lambda: ledger_rows(site, "hangs-up"), what="the run has begun")
    run = f"/runs/{rows[0]['run_id']}"
    until(lambda: site.get(run).json()["state"] == "completed", 30, "the run is over")
    assert site.get(run).json()["result"]["done"] == count


def ledger_rows(site: Site, group: str) -> list[dict[str, Any]]:
    answer = site.get(f"/ledgers/notes/{group}", limit=500)
    rows: list[dict[str, Any]] = answer.json()["items"] if answer.status_code == 200 else []
    return rows


def test_an_edited_artifact_refuses_to_run(own_site: Site) -> None:
    release(own_site.catalog)
    until(lambda: list_tools(OPERATOR, own_site.parts.catalog)["items"])
    assert own_site.post("/tools/count_notes/runs", {"args": COUNTER_ARGS}).status_code == 200
    own_site.parts.catalog.load.look_again_ms = 0
    tool = own_site.parts.settings.tools_dir / "count_notes" / "1" / "tool.py"
    tool.chmod(0o644)
    tool.write_text(tool.read_text() + "\n# edited\n")
    found = problem_of(own_site.post("/tools/count_notes/runs", {"args": COUNTER_ARGS}), 409, "artifact_altered")
    assert "tool.py was edited" in found["detail"] and found["fix"]


def test_an_empty_cursor_means_none_in_every_list(site: Site) -> None:
    paths = site.client.get("/api/v1/openapi.json").json()["paths"]
    lists = [path for path, ways in paths.items() if any(each["name"] == "cursor" for each in ways.get("get", {}).get("parameters", ()))]
    assert len(lists) >= 15, lists
    for path in lists:
        at = path.removeprefix("/api/v1").format_map(defaultdict(lambda: "none"))
        none, empty = site.get(at), site.get(f"{at}?cursor=")
        assert (empty.status_code, empty.json().get("code")) == (none.status_code, none.json().get("code")), at
        assert empty.json().get("items") == none.json().get("items"), at
