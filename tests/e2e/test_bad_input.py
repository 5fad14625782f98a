"""Bad input to a whole service: each is refused by a stable code that says what to do, and nothing is lost or half done."""

from __future__ import annotations

import copy
import http.client
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent

from tests.e2e.conftest import CUSTOMERS, VERIFIED_S, Site, files, refused, small_spec
from tests.support.releases import ECHO_TESTS, ECHO_TOOL
from tests.support.smtp import start_smtp
from tests.support.specimens import SPEC
from tests.support.stalls import Stalls, watched
from tests.support.supervised import kill
from tests.support.waiting import until

pytestmark = pytest.mark.anyio
ECHO = "/tools/echo/runs"
CAMPAIGN = "/tools/campaign_send_bulk/runs"
ARGS = {"template_id": "news", "recipients": {"collection": "customers"}}
Change = Callable[[dict[str, Any]], object]


def told(answer: CallToolResult) -> str:
    """The text of an MCP answer."""
    return "".join(part.text for part in answer.content if isinstance(part, TextContent))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda spec: spec["inputs"].pop("additionalProperties"), "$.inputs"),
        (lambda spec: spec["inputs"]["properties"]["campaign"].pop("maxLength"), "$.inputs.properties.campaign"),
        (lambda spec: spec["inputs"]["properties"]["campaign"].pop("description"), "$.inputs.properties.campaign"),
        (lambda spec: spec["inputs"]["properties"]["recipients"].pop("maxItems"), "$.inputs.properties.recipients"),
        (lambda spec: spec["inputs"].update(type="strange"), "$.inputs.type"),
        (lambda spec: spec["inputs"]["properties"]["campaign"].update(pattern="("), "$.inputs.properties.campaign.pattern"),
        (lambda spec: spec["inputs"].pop("type"), "$.inputs.type"),
        (lambda spec: spec["inputs"].update(properties={"x": {"$ref": "http://127.0.0.1:1/schema.json"}}), "$.inputs.properties.x.$ref"),
        (lambda spec: spec["inputs"].update(properties={"x": {"$ref": "file:///etc/passwd"}}), "$.inputs.properties.x.$ref"),
        (lambda spec: spec["effects"][0].update(connector="email.sent"), "$.effects[0].connector"),
        (lambda spec: spec["reads"][0].update(connector="email.send"), "$.reads[0].connector"),
        (lambda spec: spec["effects"][0].update(config={"from_domain": "example.com", "password": "x"}), "$.effects[0].config"),
        (lambda spec: spec["effects"][0].update(key="[args.campaign]"), "$.effects[0].key"),
        (lambda spec: spec["effects"][0].update(key="[args.campaign, item.to.size()]"), "$.effects[0].key"),
        (lambda spec: spec["effects"][0].update(key="[args.campaign, item.nowhere]"), "$.effects[0].key"),
        (lambda spec: spec.update(surprise=1), "$.surprise"),
        (lambda spec: spec.pop("title"), "$.title"),
    ],
)
def test_a_spec_that_is_not_right_is_refused_with_the_place_and_nothing_is_saved(site: Site, change: Change, path: str) -> None:
    spec = copy.deepcopy(SPEC) | {"name": "never_saved"}
    change(spec)
    problem = refused(lambda: site.author.post("/specs", spec), 422, "spec_invalid")
    places = [error["path"] for error in problem["errors"]]
    assert any(place.startswith(path) for place in places), places
    assert all(error["message"] and error["fix"] for error in problem["errors"])
    refused(lambda: site.author.get("/specs/never_saved"), 404, "spec_not_found")


@pytest.mark.parametrize(
    ("sent", "place"),
    [
        ([*files(), {"path": "conftest.py", "content": "x = 1\n"}], "$.files[2].path"),
        ([*files(), {"path": "sitecustomize.py", "content": "x = 1\n"}], "$.files[2].path"),
        ([*files(), {"path": "inside/run_tests.py", "content": "x = 1\n"}], "$.files[2].path"),
        ([{"path": "../tool.py", "content": "x = 1\n"}, files()[1]], "$.files[0].path"),
        ([{"path": "/work/tool.py", "content": "x = 1\n"}, files()[1]], "$.files[0].path"),
        ([{"path": "./tool.py", "content": "x = 1\n"}, files()[1]], "$.files[0].path"),
        ([{"path": "Tool.py", "content": "x = 1\n"}, files()[1]], "$.files[0].path"),
        ([{"path": "tool.py\n", "content": "x = 1\n"}, files()[1]], "$.files[0].path"),
        ([files()[0], files()[0]], "$.files[1].path"),
        ([files()[0]], "$.files"),
        (files(tool="x = 1\r\n"), "$.files[0].content"),
        (files(tool="x = '\u202e'\n"), "$.files[0].content"),
        (files(tool="# coding: utf-7\nx = 1\n"), "$.files[0].content"),
        (files(tool="#" * 70_000), "$.files[0].content"),
        (files(tool=" \n"), "$.files[0].content"),
    ],
)
def test_a_candidate_of_other_files_than_its_two_is_refused_and_none_is_kept(site: Site, sent: list[dict[str, str]], place: str) -> None:
    before = [row["id"] for row in site.admin.all("/candidates")]
    problem = refused(lambda: site.author.post("/tools/echo/candidates", {"files": sent}), 422, "candidate_files_invalid")
    assert place in [error["path"] for error in problem["errors"]]
    assert [row["id"] for row in site.admin.all("/candidates")] == before


@pytest.mark.parametrize(
    ("args", "status", "code", "place"),
    [
        ({}, 422, "args_invalid", "$"),
        ({"text": 1}, 422, "args_invalid", "$.text"),
        ({"text": "x", "more": 1}, 422, "args_invalid", "$"),
        ({"text": "x" * 300}, 413, "input_too_large", None),
    ],
)
async def test_arguments_that_break_the_contract_begin_no_run(
    site: Site, args: dict[str, Any], status: int, code: str, place: str | None
) -> None:
    before = site.admin.get("/runs", tool="echo", limit=1)
    problem = refused(lambda: site.caller.post(ECHO, {"args": args}), status, code)
    assert place is None or place in [error["path"] for error in problem["errors"]]
    async with site.mcp(site.caller) as client:
        answer = await client.call_tool("echo", args)
    assert answer.is_error and (answer.meta or {})["toolmint/code"] == code and problem["fix"] in told(answer)
    assert site.admin.get("/runs", tool="echo", limit=1) == before


async def test_a_result_over_its_limit_fails_the_run_and_says_so(site: Site) -> None:
    args = {"text": "x" * 100}
    answer = site.caller.post(ECHO, {"args": args}, headers={"Idempotency-Key": "too-long"})
    assert answer["state"] == "failed" and answer["result"] is None and answer["error"]["code"] == "result_too_large", answer
    assert "64" in answer["error"]["message"]
    again = site.caller.post(ECHO, {"args": {"text": "short"}}, headers={"Idempotency-Key": "too-long"})
    assert again["state"] == "completed" and again["result"] == {"text": "short"}, "a failed answer holds no key"
    async with site.mcp(site.caller) as client:
        failed = await client.call_tool("echo", args)
    assert failed.is_error and (failed.meta or {})["toolmint/code"] == "result_too_large"


def test_a_template_that_does_not_exist_ends_the_run_and_plans_nothing(site: Site) -> None:
    args = {**ARGS, "campaign_id": "no-template", "template_id": "none"}
    run = site.caller.post(CAMPAIGN, {"args": args})
    assert run["state"] == "failed" and run["error"]["code"] == "template_not_found" and "none" in run["error"]["message"]
    assert run["effects"] == {}
    refused(lambda: site.admin.get("/ledgers/campaigns/no-template"), 404, "ledger_not_found")


def test_redis_killed_during_a_run_costs_time_and_nothing_else(site: Site) -> None:
    addresses = [f"r{number}@example.net" for number in range(150)]
    args = {"campaign_id": "redis", "template_id": "news", "recipients": addresses, "variables": {"name": "you"}}
    smtp = start_smtp(site.service.home, "--delay-ms", "20", "--login", "sender:hidden-word", port=site.smtp_port)
    try:
        run = site.caller.post(CAMPAIGN, {"args": args, "wait_s": 0})
        until(lambda: any(line["to"] in addresses for line in smtp.accepted()), 30, "the first mail is accepted")
        killed = site.service.process.pid("redis")
        kill(killed)
        over = until(lambda: site.run_over(run["id"]), 60, "the run is over")
        until(lambda: site.service.process.pid("redis") not in (0, killed), 30, "another Redis is there")
        accepted = [line["to"] for line in smtp.accepted() if line["to"] in addresses]
    finally:
        smtp.stop()
    assert over["state"] == "completed" and over["result"]["sent"] == len(addresses), over
    assert sorted(accepted) == sorted(addresses)
    later = site.caller.post(ECHO, {"args": {"text": "after"}, "wait_s": 0})
    assert until(lambda: site.run_over(later["id"]), 30, "workers hear of work again")["state"] == "completed"


def test_an_unreachable_mail_server_puts_every_recipient_into_the_retry_queue(site: Site) -> None:
    run = site.caller.post(CAMPAIGN, {"args": {**ARGS, "campaign_id": "unreachable"}, "wait_s": 60})
    assert run["state"] == "completed", run
    counts = run["result"]
    assert counts["distinct"] == CUSTOMERS == counts["retry_queue"] and counts["sent"] == counts["unknown"] == counts["failed"] == 0
    rows = list(site.admin.all("/ledgers/campaigns/unreachable"))
    assert len({row["subject"] for row in rows}) == CUSTOMERS
    assert {row["state"] for row in rows} <= {"retry_wait", "planned", "claimed", "performing"}, "the queue may be at one right now"
    assert all(row["error"]["code"] and "hidden-word" not in json.dumps(row) for row in rows if row["state"] == "retry_wait")
    queue = {row["subject"] for row in site.admin.all("/effects", state="retry_wait", tool="campaign_send_bulk")}
    assert {row["subject"] for row in rows if row["state"] == "retry_wait"} & queue


def _refusals(site: Site, tool: str) -> list[dict[str, Any]]:
    """What a key that may call other tools hears of this one, without the name."""
    stranger = site.stranger
    heard = [
        refused(lambda: stranger.post(f"/tools/{tool}/runs", {"args": {}}), 404, "tool_not_found"),
        refused(lambda: stranger.get(f"/tools/{tool}"), 404, "tool_not_found"),
        refused(lambda: stranger.get(f"/tools/{tool}/versions/1"), 404, "tool_not_found"),
        refused(lambda: stranger.get(f"/specs/{tool}"), 404, "spec_not_found"),
    ]
    return [{**problem, "trace_id": "", "detail": problem["detail"].replace(tool, "TOOL")} for problem in heard]


async def test_a_key_without_permission_is_answered_as_for_an_unknown_tool(site: Site) -> None:
    assert _refusals(site, "campaign_send_bulk") == _refusals(site, "no_such_tool")
    async with site.mcp(site.stranger) as client:
        assert "campaign_send_bulk" not in {tool.name for tool in (await client.list_tools()).tools}
        heard, managed = [], []
        for tool in ("campaign_send_bulk", "no_such_tool"):
            with pytest.raises(MCPError) as caught:
                await client.call_tool(tool, {})
            heard.append(str(caught.value).replace(tool, "TOOL"))
            answer = await client.call_tool("toolmint_call", {"tool": tool, "args": {}})
            managed.append(told(answer).replace(tool, "TOOL"))
    assert heard[0] == heard[1] and managed[0] == managed[1] and "tool_not_found" in managed[0]
    assert site.audited(action="tool.called", outcome="refused")[0]["target"] == "campaign_send_bulk"


async def test_an_edited_artifact_refuses_to_load_until_it_is_as_it_was(site: Site) -> None:
    args = {"args": {"text": "hello"}}
    tool = site.service.home / "published" / "echo" / "1" / "tool.py"
    text = tool.read_bytes()
    tool.chmod(0o644)
    tool.write_bytes(text.replace(b'args["text"]', b'args["text"] + "!"'))
    until(lambda: _code(site, args) == "artifact_altered", 30, "the change is seen")
    problem = refused(lambda: site.caller.post(ECHO, args), 409, "artifact_altered")
    assert "tool.py was edited" in problem["detail"]
    async with site.mcp(site.caller) as client:
        answer = await client.call_tool("echo", args["args"])
        assert answer.is_error and (answer.meta or {})["toolmint/code"] == "artifact_altered"
    events = site.audited(action="artifact.loaded", target="echo/1")
    assert events and {event["outcome"] for event in events} == {"refused"}
    tool.write_bytes(text)
    until(lambda: _code(site, args) is None, 30, "it loads again")
    assert site.caller.post(ECHO, args)["result"] == {"text": "hello"}


def _code(site: Site, body: dict[str, Any]) -> str | None:
    headers = {"Authorization": f"Bearer {site.caller.key}"}
    answer = site.service.client.post(f"/api/v1{ECHO}", json=body, headers=headers)
    return None if answer.status_code == 200 else str(answer.json()["code"])


@pytest.mark.parametrize("path", ["/", "/api/v1/tools", "/mcp", "/healthz", "/docs"])
def test_a_host_name_that_is_not_allowed_is_misdirected(site: Site, path: str) -> None:
    line = http.client.HTTPConnection("127.0.0.1", site.service.process.port, timeout=10)
    line.request("GET", path, headers={"Host": "rebound.example", "Authorization": f"Bearer {site.caller.key}"})
    answer = line.getresponse()
    body = json.loads(answer.read())
    line.close()
    assert answer.status == 421 and body["code"] == "host_not_allowed" and "TOOLMINT_ALLOWED_HOSTS" in body["fix"]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 422, "body_invalid"),
        (b"\xff\xfe{}", 422, "body_invalid"),
        (b'{"args": {"text": NaN}}', 422, "body_invalid"),
        (b'{"args": {"text": 1e999}}', 422, "args_invalid"),
        (b'{"args": {"text": "\\ud800"}}', 422, "body_invalid"),
        (b'{"args": ' + b"[" * 100_000, 422, "body_invalid"),
        (b'{"args": {"text": ' + b"9" * 5000 + b"}}", 422, "body_invalid"),
        (b'{"args": [1]}', 422, "body_invalid"),
        (b'{"args": {"text": "x"}, "argz": {}}', 422, "body_invalid"),
        (b'{"args": {"text": "' + b"x" * 13_000_000 + b'"}}', 413, "body_too_large"),
    ],
)
def test_a_body_that_is_no_request_is_refused_and_begins_nothing(site: Site, content: bytes, status: int, code: str) -> None:
    before = site.admin.get("/runs", tool="echo", limit=1)
    refused(lambda: site.caller.post(ECHO, content=content), status, code)
    assert site.admin.get("/runs", tool="echo", limit=1) == before


def test_a_body_that_hides_its_length_is_cut_off_at_the_limit(site: Site) -> None:
    pieces = (b" " * 1_000_000 for _ in range(14))
    assert refused(lambda: site.caller.post(ECHO, content=pieces), 413, "body_too_large")["retryable"] is False


def test_an_idempotency_key_belongs_to_one_actor_and_one_request(site: Site) -> None:
    key = {"Idempotency-Key": "abuse"}
    first = site.caller.post(ECHO, {"args": {"text": "one"}}, headers=key)
    refused(lambda: site.caller.post(ECHO, {"args": {"text": "two"}}, headers=key), 422, "idempotency_conflict")
    other = site.admin.post(ECHO, {"args": {"text": "two"}}, headers=key)
    assert other["id"] != first["id"] and other["result"] == {"text": "two"}, "another actor's key is another key"
    refused(
        lambda: site.caller.post(ECHO, {"args": {"text": "one"}}, headers={"Idempotency-Key": "k" * 201}), 422, "idempotency_key_invalid"
    )
    again = site.caller.post(ECHO, {"args": {"text": "one"}}, headers=key)
    assert again["replayed"] and again["id"] == first["id"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "route_not_found"),
        ("PATCH", "/tools", 405, "method_not_allowed"),
        ("GET", "/tools/..%2f..%2fetc", 404, "route_not_found"),
        ("GET", "/tools/echo/versions/" + "9" * 40, 404, "version_not_found"),
        ("GET", "/runs?cursor=%F0%9F%98%80", 422, "cursor_invalid"),
        ("GET", "/runs?limit=1000000", 422, "limit_invalid"),
        ("GET", "/candidates/" + "x" * 3000, 404, "candidate_not_found"),
        ("GET", "/records/..%2f..%2fetc/passwd", 422, "collection_invalid"),
        ("GET", "/runs?tool=%00", 422, "request_invalid"),
    ],
)
def test_an_address_that_leads_nowhere_says_so(site: Site, method: str, path: str, status: int, code: str) -> None:
    assert refused(lambda: site.admin.call(method, path), status, code)["type"] == f"urn:toolmint:error:{code}"


def test_after_all_that_nothing_broke_inside_and_no_secret_was_told(site: Site) -> None:
    log = site.service.process.log
    assert '"request failed' not in log and "Traceback" not in log, log[-3000:]
    shown = log.replace(site.admin.key, "", 1)  # the first start shows the admin's key, this once
    for secret in ("hidden-word", site.admin.key, site.author.key, site.caller.key):
        assert secret not in shown
    with site.service.client.stream("GET", "/metrics") as answer:
        assert "hidden-word" not in answer.read().decode()
    assert small_spec()["name"] in {tool["name"] for tool in site.admin.get("/tools")["items"]}


FILLS_MEMORY = "    held = [str(n) * 10**6 for n in range(10**6)]\n"
HOSTILE = {
    "a tool that fills memory": (
        files(tool=ECHO_TOOL.replace("    return", f"{FILLS_MEMORY}    held.sort()\n    return", 1)),
        "example_crash",
    ),
    "a suite that fills memory": (files(tests=f"{ECHO_TESTS}\n\ndef test_y() -> None:\n{FILLS_MEMORY}    assert held\n"), "memory_limit"),
    "a tool that is nested to break its readers": (files(tool=f"x = {'lambda: ' * 3000}1\n"), "syntax"),
}
"""What is submitted, and the rule that names it in the report. Those that fill memory get past every gate that only reads."""
LEAST_CALLS = 30
TURN_S = 0.05  # what waiting for a turn on a busy machine may add


def p99(calls: list[tuple[float, float]], stalls: Stalls) -> float:
    times = sorted(ended - began - stalls.within(began, ended) for began, ended in calls)
    return times[int(len(times) * 0.99)]


def test_published_tools_answer_as_usual_while_hostile_candidates_are_verified_and_the_next_one_passes(site: Site) -> None:
    def call() -> tuple[float, float]:
        began = time.time()
        site.caller.post(ECHO, {"args": {"text": "hello"}})
        return began, time.time()

    def state(candidate: str) -> str:
        found: str = site.admin.get(f"/candidates/{candidate}")["state"]
        return found

    with watched() as stalls:
        usual = [call() for _ in range(100)]
        hostile = {name: site.author.post("/tools/echo/candidates", {"files": sent})["id"] for name, (sent, _) in HOSTILE.items()}
        meanwhile: list[tuple[float, float]] = []
        end = time.monotonic() + VERIFIED_S
        while any(state(candidate) in ("queued", "verifying") for candidate in hostile.values()) and time.monotonic() < end:
            meanwhile.append(call())
        usual += [call() for _ in range(100)]
    for name, candidate in hostile.items():
        assert state(candidate) == "refused", name
        report = site.admin.get(f"/candidates/{candidate}/report")
        found = [finding for gate in report["gates"] for finding in gate["findings"]]
        assert HOSTILE[name][1] in {finding["rule"] for finding in found}, (name, found)
        assert all(finding["message"] and finding["fix"] for finding in found), name
    assert len(meanwhile) >= LEAST_CALLS
    assert p99(meanwhile, stalls) <= 2 * p99(usual, stalls) + TURN_S, (usual, meanwhile)

    next_one = site.author.post("/tools/echo/candidates", {"files": files(tests=ECHO_TESTS + "\n")})["id"]
    until(lambda: state(next_one) not in ("queued", "verifying"), VERIFIED_S, "the next candidate is verified")
    assert state(next_one) == "passed"
