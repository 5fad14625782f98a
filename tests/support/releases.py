"""Getting tools published in a whole service as everyone does: spec, candidate, verification, approval, publication, over REST."""

from __future__ import annotations

import json
from typing import Any

from tests.support.processes import ROOT
from tests.support.service import Service
from tests.support.waiting import until

CAMPAIGN = ROOT / "generated_tools" / "messaging" / "campaign_send_bulk"
ECHO_SPEC: dict[str, Any] = {
    "spec_version": "1",
    "name": "echo",
    "title": "Echo",
    "description": "Gives the text back.",
    "inputs": {
        "type": "object",
        "additionalProperties": False,
        "required": ["text"],
        "properties": {"text": {"type": "string", "maxLength": 200, "description": "Any text."}},
    },
    "outputs": {
        "type": "object",
        "additionalProperties": False,
        "required": ["text"],
        "properties": {"text": {"type": "string", "maxLength": 200, "description": "The same text."}},
    },
    "examples": [{"name": "a word", "args": {"text": "hello"}, "result": {"text": "hello"}}],
    "volume": {"runs_per_month": 100_000, "items_per_run": 1},
}
ECHO_TOOL = '''"""Gives the text back."""

from contract import Args, Result
from toolkit import Context


def run(args: Args, ctx: Context) -> Result:
    return {"text": args["text"]}
'''
ECHO_TESTS = """from toolkit.testing import trial

from tool import run


def test_it_gives_the_text_back() -> None:
    assert trial(run, {"text": "hello"}).result == {"text": "hello"}


def test_it_gives_an_empty_text_back() -> None:
    assert trial(run, {"text": ""}).result == {"text": ""}
"""


def publish_echo(service: Service) -> None:
    """Publish the trivial tool."""
    publish(service, ECHO_SPEC, ECHO_TOOL, ECHO_TESTS)


def publish_campaign(service: Service) -> None:
    """Publish the bundled campaign tool."""
    spec = json.loads((CAMPAIGN / "spec.json").read_text())
    publish(service, spec, (CAMPAIGN / "tool.py").read_text(), (CAMPAIGN / "test_tool.py").read_text())


def publish(service: Service, spec: dict[str, Any], tool: str, tests: str) -> None:
    """Bring one tool all the way to publication."""
    author = service.new_key("author", "specs:write", "candidates:submit")
    admin, name = service.admin, spec["name"]
    author.post("/specs", spec)
    files = [{"path": "tool.py", "content": tool}, {"path": "test_tool.py", "content": tests}]
    candidate = author.post(f"/tools/{name}/candidates", {"files": files})["id"]
    state = until(lambda: _settled(service, candidate), 180, f"{name} is verified")
    if state != "passed":
        raise AssertionError(f"{name} was {state}: {json.dumps(admin.get(f'/candidates/{candidate}/report'))[:3000]}")
    if admin.get(f"/candidates/{candidate}")["approval"] == "waiting":
        admin.post(f"/candidates/{candidate}/approvals", {"decision": "approve", "reason": "read the code and the report"})
    admin.post(f"/tools/{name}/versions", {"candidate_id": candidate})


def _settled(service: Service, candidate: str) -> str | None:
    state: str = service.admin.get(f"/candidates/{candidate}")["state"]
    return None if state in ("queued", "verifying") else state


def import_customers(service: Service, count: int) -> None:
    """`count` records in `customers`, and a template."""
    lines = "".join(
        json.dumps({"key": f"c{n}", "body": {"email": f"c{n}@example.org", "name": f"Customer {n}"}}) + "\n" for n in range(count)
    )
    headers = {"Content-Type": "application/x-ndjson"}
    service.admin.post("/records/customers/imports", content=lines.encode(), headers=headers)
    body = {"subject": "News for {{name}}", "text": "Dear {{name}},\n\n" + "all the news.\n" * 20}
    service.admin.put("/records/email_templates/news", body)
