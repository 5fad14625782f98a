"""The story, scene by scene. Each scene is a function of the stage; what it promises, it checks."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

from tests.demo.agent import Agent, Answer
from tests.demo.promises import Promises, note, say
from tests.demo.stage import Stage, files, sources, spec
from tests.support.service import Refused
from tests.support.waiting import until_async

TOOL = "campaign_send_bulk"
RECIPIENTS = 2000
KILLED = {"campaign_id": "autumn", "template_id": "autumn", "recipients": {"collection": "customers"}}
SPRING = {"campaign_id": "spring", "template_id": "spring", "recipients": {"collection": "customers"}}
SUBJECTS = {"spring": "Spring news", "autumn": "Autumn news", "winter": "Winter news"}


async def make_tool(stage: Stage, agent: Agent, promises: Promises) -> None:
    """Spec, candidate, verification, approval by another actor, publication."""
    say("The agent saves the spec and submits the code; the platform verifies it in the sandbox")
    saved = (await agent.call("toolmint_save_spec", spec())).result
    note(f"spec revision {saved['revision']}, digest {saved['digest'][:16]}…")
    candidate = await submit(agent, files())
    report = await verified(stage, agent, candidate)
    promises.check("the candidate passes every gate", True, report["publishable"])
    note("rubric: " + ", ".join(f"{row['dimension']} {row['score']:.2f}" for row in report["rubric"]))
    try:
        await agent.call("toolmint_publish", {"name": TOOL, "candidate_id": candidate})
        refusal = "published"
    except AssertionError as error:
        refusal = "approval_required" if "approval_required" in str(error) else str(error)
    promises.check("without a second actor's approval nothing is published", "approval_required", refusal)
    stage.operator.post(f"/candidates/{candidate}/approvals", {"decision": "approve", "reason": "read the code and the report"})
    published = (await agent.call("toolmint_publish", {"name": TOOL, "candidate_id": candidate})).result
    note(f"published version {published['version']}, digest {published['digest'][:16]}…")
    promises.check("the agent sees it as an MCP tool", True, TOOL in await agent.tools())


async def submit(agent: Agent, code: list[dict[str, str]]) -> str:
    answer = await agent.call("toolmint_submit_candidate", {"name": TOOL, "files": code})
    candidate: str = answer.result["id"]
    note(f"candidate {candidate}")
    return candidate


async def verified(stage: Stage, agent: Agent, candidate: str) -> dict[str, Any]:
    """Follow the verification gate by gate; the report at its end."""
    seen: dict[str, str] = {}

    async def over() -> bool:
        state = stage.operator.get(f"/candidates/{candidate}")["state"]
        try:
            gates = (await agent.call("toolmint_candidate_report", {"id": candidate})).result["gates"]
        except AssertionError:
            gates = []
        for gate in gates:
            if gate["status"] not in ("running", "queued") and seen.get(gate["gate"]) != gate["status"]:
                seen[gate["gate"]] = gate["status"]
                note(f"{gate['gate']:<10} {gate['status']:<8} {gate['duration_ms'] / 1000:6.2f} s")
        return state not in ("queued", "verifying")

    await until_async(over, 120, "the verification ends")
    report: dict[str, Any] = (await agent.call("toolmint_candidate_report", {"id": candidate})).result
    return report


async def fill_records(stage: Stage, agent: Agent) -> None:
    """The world that the tool reads: templates, customers, contacts of whom half are customers."""
    say(f"The agent imports {RECIPIENTS} customers and the templates")
    for key, subject in SUBJECTS.items():
        body = {"subject": f"{subject} for {{{{name}}}}", "text": "Dear {{name}},\n\nall the news.\n", "html": "<p>Dear {{name}}</p>"}
        stage.service.admin.put(f"/records/email_templates/{key}", body)
    customers = _lines(range(RECIPIENTS))
    contacts = _lines(range(RECIPIENTS // 2, RECIPIENTS * 3 // 2))
    for collection, lines in (("customers", customers), ("contacts", contacts)):
        headers = {"Content-Type": "application/x-ndjson"}
        path = f"/records/{collection}/imports"
        answer = stage.service.admin.post(path, content=lines.encode(), headers=headers)
        note(f"{collection}: {answer['imported']} records")


def _lines(numbers: range) -> str:
    rows = ({"key": f"c{number}", "body": {"email": f"c{number}@example.org", "name": f"Customer {number}"}} for number in numbers)
    return "".join(json.dumps(row) + "\n" for row in rows)


async def call_it(stage: Stage, agent: Agent, promises: Promises) -> None:
    """One call, the same again with its key, without one, and with half new recipients."""
    say(f"The agent calls the tool with {RECIPIENTS} recipients by reference")
    began = time.monotonic()
    first = await agent.call(TOOL, SPRING, key="spring-1")
    note(f"{first.result['sent']} sent in {time.monotonic() - began:.1f} s, run {first.meta['runId']}")
    promises.check("sent as the tool says", RECIPIENTS, first.result["sent"])
    promises.check("accepted, by the SMTP server's own log", RECIPIENTS, len(stage.accepted(SUBJECTS["spring"])))
    again = await agent.call(TOOL, SPRING, key="spring-1")
    promises.check("the same call with the same key: the first answer, byte for byte", (True, True), (_same(first, again), again.replayed))
    other = await agent.call(TOOL, SPRING)
    promises.check("the same call without a key: a new run, all skipped", (True, RECIPIENTS), _new_run(first, other))
    half = await agent.call(TOOL, {**SPRING, "recipients": {"collection": "contacts"}})
    halves = (half.result["skipped"], half.result["sent"])
    promises.check("half of the recipients new: (skipped, sent)", (RECIPIENTS // 2, RECIPIENTS // 2), halves)
    promises.check("accepted in all, by the SMTP server's own log", RECIPIENTS * 3 // 2, len(stage.accepted(SUBJECTS["spring"])))


def _same(first: Answer, again: Answer) -> bool:
    return first.text == again.text and first.meta["runId"] == again.meta["runId"]


def _new_run(first: Answer, other: Answer) -> tuple[bool, int]:
    return other.meta["runId"] != first.meta["runId"], other.result["skipped"]


async def kill_the_worker(stage: Stage, agent: Agent, promises: Promises) -> None:
    """SIGKILL while sends are in flight; the run goes on; what nobody can know is named and then resolved."""
    say("A campaign goes on in a worker, and the worker is killed with SIGKILL while sends are in flight")
    rest = stage.service.as_key(stage.agent_key)
    begun = rest.post(f"/tools/{TOOL}/runs", {"args": KILLED, "wait_s": 0})
    subject = SUBJECTS["autumn"]
    await until_async(lambda: len(stage.accepted(subject)) >= RECIPIENTS // 4, 60, "sends are under way")
    before = len(stage.accepted(subject))
    os.kill(stage.service.process.pid("worker"), signal.SIGKILL)
    killed_at = time.time()
    run = await until_async(lambda: _over(rest.get(f"/runs/{begun['id']}")), 120, "the run is over")
    accepted = stage.accepted(subject)
    note(f"killed after {before} of {RECIPIENTS}; the run was {run['state']}, {len(accepted)} accepted")
    landed = accepted[0]["at"] / 1000 < killed_at < accepted[-1]["at"] / 1000
    promises.check("the kill landed between the first and the last acceptance", True, landed)
    promises.check("the run resumed and completed", ("completed", 1), (run["state"], run["crashes"]))
    rows = list(rest.all("/ledgers/campaigns/autumn"))
    done, unknown = _count(rows, "done"), _count(rows, "unknown")
    note(f"ledger: {done} done, {unknown} unknown")
    promises.check("before the verdicts, done + unknown = distinct recipients", RECIPIENTS, done + unknown)
    await resolve(stage, promises)


def _over(run: dict[str, Any]) -> dict[str, Any] | None:
    return run if run["state"] in ("completed", "failed", "cancelled", "quarantined") else None


def _count(rows: list[dict[str, Any]], state: str) -> int:
    return sum(row["state"] == state for row in rows)


async def resolve(stage: Stage, promises: Promises) -> None:
    """The operator looks each unknown up in the server's log and says what is so."""
    say("The operator resolves the unknowns from the SMTP server's log")
    known = {line["message_id"] for line in stage.accepted()}
    for row in list(stage.operator.all("/effects", state="unknown")):
        verdict = "confirm_done" if row["message_id"] in known else "retry"
        note(f"{row['subject']}: {verdict}")
        body = {"verdict": verdict, "reason": "looked up by Message-ID in the mail server's log"}
        stage.operator.post(f"/effects/{row['effect_id']}/resolutions", body)
    rest = stage.service.as_key(stage.agent_key)
    await until_async(lambda: _all_done(list(rest.all("/ledgers/campaigns/autumn"))), 60, "every recipient is done")
    rows = list(rest.all("/ledgers/campaigns/autumn"))
    accepted = stage.accepted(SUBJECTS["autumn"])
    distinct = len({line["to"] for line in accepted})
    found = (_count(rows, "done"), len(accepted), distinct)
    promises.check("after them, done = accepted = distinct", (RECIPIENTS,) * 3, found)
    promises.check("duplicates at the SMTP server", 0, len(stage.accepted()) - len({line["message_id"] for line in stage.accepted()}))


def _all_done(rows: list[dict[str, Any]]) -> bool:
    return _count(rows, "done") == RECIPIENTS


async def refuse_undeclared(stage: Stage, agent: Agent, promises: Promises) -> None:
    """A candidate that performs what its spec does not declare is refused, and nothing has left."""
    say("A candidate that sends without a declared effect")
    before = len(stage.accepted())
    source = sources()["tool"]
    bad = source.replace(
        "    tally = Tally()\n    under_way",
        '    ctx.perform("copy_to_me", {"to": "me@example.net", "subject": "copy", "text": "copy"})\n    tally = Tally()\n    under_way',
    )
    if bad == source:
        raise AssertionError("the bundled tool has changed; the demo's change no longer applies")
    candidate = await submit(agent, files(tool=bad))
    report = await verified(stage, agent, candidate)
    failed = [gate for gate in report["gates"] if gate["status"] == "failed"]
    for gate in failed[:2]:
        for finding in gate["findings"][:2]:
            note(f"{gate['gate']}: {finding['message']} — {finding['fix']}")
    state = stage.operator.get(f"/candidates/{candidate}")["state"]
    promises.check("it is refused", "refused", state)
    promises.check("undeclared effects that happened", 0, len(stage.accepted()) - before)


async def second_version(stage: Stage, agent: Agent, promises: Promises) -> None:
    """A second version, and the way back in one call."""
    say("A second version is published, then rolled back")
    changed = {name: source.replace("in email_templates.", "in email_templates; import it first.") for name, source in sources().items()}
    candidate = await submit(agent, files(**changed))
    report = await verified(stage, agent, candidate)
    promises.check("the second candidate passes every gate", True, report["publishable"])
    stage.operator.post(f"/candidates/{candidate}/approvals", {"decision": "approve", "reason": "says what to do about a missing template"})
    published = (await agent.call("toolmint_publish", {"name": TOOL, "candidate_id": candidate})).result
    one = {"campaign_id": "winter", "template_id": "winter", "recipients": ["w@example.org"], "variables": {"name": "W"}}
    second = await agent.call(TOOL, one)
    promises.check("version 2 answers", (2, 2, 1), (published["version"], second.meta["version"], second.result["sent"]))
    stage.operator.post(f"/tools/{TOOL}/rollbacks", {"reason": "the former words were shorter"})
    back = await agent.call(TOOL, one)
    promises.check("after the roll back version 1 answers, and its keys hold", (1, 1), (back.meta["version"], back.result["skipped"]))


async def bad_calls(stage: Stage, agent: Agent, promises: Promises) -> None:
    """What a caller gets for mistakes."""
    say("Mistakes get an answer that says what to do")
    missing = {"campaign_id": "x", "template_id": "nope", "recipients": ["a@example.org"]}
    rest = stage.service.as_key(stage.agent_key)
    run = rest.post(f"/tools/{TOOL}/runs", {"args": missing})
    promises.check("a template that does not exist", "template_not_found", (run["error"] or {}).get("code"))
    stranger = stage.service.new_key("stranger", "tools:call")
    codes = []
    for name in (TOOL, "no_such_tool"):
        try:
            stranger.post(f"/tools/{name}/runs", {"args": {}})
        except Refused as refused:
            codes.append((refused.status, refused.problem["code"]))
    promises.check("a forbidden tool looks like an unknown one", [(404, "tool_not_found")] * 2, codes)


async def play(stage: Stage, agent: Agent, promises: Promises) -> None:
    """Every scene in order."""
    await make_tool(stage, agent, promises)
    await fill_records(stage, agent)
    await call_it(stage, agent, promises)
    await kill_the_worker(stage, agent, promises)
    await refuse_undeclared(stage, agent, promises)
    await second_version(stage, agent, promises)
    await bad_calls(stage, agent, promises)
