"""A tool cannot tell verification from production: what it is told of the world, of time and of its process is the same in form.

The same nosy tool lives one life on a stage, and one as a published version on production's connectors, against a mail server and an HTTP
server that answer for themselves. What it saw is compared field by field; only what differs between any two runs is reduced to its form.

It refuses to be: a proof that there is no difference. A stage's world is small, its pages are short where a query names no limit, its time
stands still for as long as a run takes, and its answers come at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.connectors.connections import create_connection
from app.connectors.production import connections_of, production
from app.connectors.scripted import scripted
from app.core.actor import SYSTEM
from app.core.db import Database
from app.core.feed import Feed
from app.core.settings import Settings
from app.core.signing import Keyring
from app.records.writing import put_record
from app.registry.catalog import Catalog
from app.runtime.process import Call, Runtime
from app.runtime.program import Program
from app.sandbox.limits import GuestLimits
from app.sandbox.sandbox import Sandbox
from app.spec.model import Example, ExecutionSpec
from app.verification.stage import staged
from tests.support.bench import Lab, subject
from tests.support.http_server import http_server
from tests.support.published import CALLER, release
from tests.support.smtp import SmtpProcess, start_smtp
from tests.support.worlds import sender_spec

PROCESS = """
import os
import resource
import socket
import sys
import time


def tried(look):
    try:
        return look()
    except OSError as error:
        return str(error)


def text_of(path):
    with open(path) as file:
        return file.read()


def depth():
    frame, deep = sys._getframe(), 0
    while frame:
        frame, deep = frame.f_back, deep + 1
    return deep


def process():
    proc = ("cmdline", "environ", "mountinfo", "cgroup", "limits", "maps", "stat", "fd", "ns/net", "oom_score_adj")
    return {
        "environment": dict(os.environ),
        "arguments": [sys.argv, sys.orig_argv],
        "path": sys.path,
        "flags": str(sys.flags),
        "modules": sorted(sys.modules),
        "hash": hash("a"),
        "recursion": sys.getrecursionlimit(),
        "depth": depth(),
        "zone": time.tzname,
        "folder": tried(os.getcwd),
        "root": tried(lambda: sorted(os.listdir("/"))),
        "proc": {name: tried(lambda: text_of("/proc/self/" + name)) for name in proc},
        "network": tried(lambda: socket.gethostbyname("localhost")),
        "uid": [tried(os.getuid), tried(os.getgid), tried(os.getpgrp)],
        "nice": tried(lambda: os.nice(0)),
        "machine": [tried(lambda: list(os.uname())), tried(os.cpu_count)],
        "standard": [tried(lambda: os.fstat(number).st_mode) for number in range(5)],
        "limits": [tried(lambda: resource.getrlimit(limit)) for limit in range(16)],
        "file": [__file__, __name__],
    }
"""
NOSY = (
    PROCESS
    + """

def run(args, ctx):
    start = ctx.now()
    seen = {"process": process(), "args": args}
    seen["person"] = ctx.read("person", key="ann")
    seen["people"] = list(ctx.read_pages("people", collection="people", limit=2))
    told = {}
    for name, effect, item in args["acts"]:
        told[name] = ctx.perform(effect, item)._asdict()
    told["each"] = [outcome._asdict() for outcome in ctx.perform_each(*args["each"])]
    try:
        ctx.perform("nowhere", {})
    except Exception as error:
        told["undeclared"] = [type(error).__name__, vars(error)]
    try:
        ctx.read("people", collection="secrets")
    except Exception as error:
        told["unread"] = [type(error).__name__, vars(error)]
    seen["told"] = told
    seen["context"] = {"seed": ctx._seed, "id": ctx.new_id(), "steps": ctx._step, "names": sorted(vars(ctx)), "type": str(type(ctx))}
    seen["time"] = [start.isoformat(), ctx.now().isoformat()]
    return seen
"""
)
SHAPED = {"type": "object", "description": "Anything."}
CHANNELS = {"ops": {"email": {"to": "ops@example.com", "from_domain": "example.com"}}, "pager": {"webhook": {"connection": "pager"}}}
KEEP = {"headers": ["x-request-id"], "fields": ["id"]}


def act(name: str, effect: str, **item: Any) -> tuple[str, str, dict[str, Any]]:
    return name, effect, item


def mail(name: str, to: str) -> tuple[str, str, dict[str, Any]]:
    return act(name, "send", to=to, subject="Spring", text="Hello")


def order(name: str, path: str) -> tuple[str, str, dict[str, Any]]:
    return act(name, "order", method="POST", url=path, json={"name": name})


ACTS = [
    mail("sent", "ann@example.com"),
    mail("sent again", "Ann@Example.com "),
    mail("greylisted", "reject450.ann@example.com"),
    mail("refused", "reject550.ann@example.com"),
    mail("lost", "losereply.ann@example.com"),
    mail("no address", "nobody"),
    order("ordered", "/orders"),
    order("too many", "/status/429"),
    order("no order", "/status/422"),
    order("dropped", "/drop"),
    act("mailed", "tell", channel="ops", subject="Alarm", text="Fire"),
    act("paged", "tell", channel="pager", subject="Alarm", text="Fire"),
    act("saved", "save", key="bob", body={"name": "Bob"}),
    act("conflict", "save", key="ann", body={"name": "An"}, expected_version=4),
    act("kept", "keep"),
]
SCRIPT = [
    {"effect": "send", "when": {"to": "reject450.ann@example.com"}, "answer": "refuse_now"},
    {"effect": "send", "when": {"to": "reject550.ann@example.com"}, "answer": "refuse_for_good"},
    {"effect": "send", "when": {"to": "losereply.ann@example.com"}, "answer": "lose_reply"},
    {"effect": "order", "when": {"url": "/status/429"}, "answer": "refuse_now"},
    {"effect": "order", "when": {"url": "/status/422"}, "answer": "refuse_for_good"},
    {"effect": "order", "when": {"url": "/drop"}, "answer": "lose_reply"},
    {"effect": "save", "when": {"key": "ann"}, "answer": "refuse_for_good"},
]
EACH = ["send", [mail("", f"c{number}@example.com")[2] for number in range(3)]]
PEOPLE = {"ann": {"name": "Ann"}, "cyd": {"name": "Cyd"}, "dot": {"name": "Dot"}}
ARGS = {"acts": ACTS, "each": EACH}


def nosy_spec() -> ExecutionSpec:
    def effect(name: str, connector: str, config: dict[str, Any], key: str) -> dict[str, Any]:
        more = {"limits": {"per_run": 20}, "undo": None, "undo_reason": "it is a trial"}
        return {"id": name, "connector": connector, "config": config, "key": key, **more}

    people = {"collection": "people"}
    effects = [
        effect("send", "email.send", {"from_domain": "example.com"}, "[item.to]"),
        effect("order", "http.request", {"connection": "shop", "methods": ["POST"], "keep": KEEP}, "[item.url]"),
        effect("tell", "notify.send", {"channels": CHANNELS}, "[item.channel]"),
        effect("save", "records.put", people, "[item.key]"),
        effect("keep", "records.snapshot", people, "['all']"),
    ]
    reads = [
        {"id": "person", "connector": "records.get", "config": people},
        {"id": "people", "connector": "records.query", "config": {"collections": ["people"]}},
    ]
    limits = {"timeout_s": 60, "result_bytes": 65_536, "memory_mb": 128}
    return sender_spec(_name="be_nosy", _effects=effects, _reads=reads, _inputs=SHAPED, _outputs=SHAPED, _limits=limits)


@pytest.fixture(scope="module")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpProcess]:
    server = start_smtp(tmp_path_factory.mktemp("mail"))
    yield server
    server.stop()


def in_production(lab: Lab, database: Database, home: Path, server: SmtpProcess) -> dict[str, Any]:
    """What a published version sees that somebody calls."""

    async def lived(program: Program) -> Any:
        connectors = production(Settings(home=home, smtp_url=server.url), database)
        await connectors.start()
        runtime = Runtime(database, lab.sandbox, connectors, lambda *_: program, Feed(database), role="web", heartbeat_s=0.2)
        await runtime.start()
        try:
            _, execution = await runtime.begin(CALLER, program, Call(ARGS))
            assert execution is not None
            return await runtime.drive(execution)
        finally:
            await runtime.stop()
            await connectors.stop()

    catalog = Catalog(database, home / "tools", scripted().catalog, Keyring(home))
    for key, body in PEOPLE.items():
        put_record(SYSTEM, database, "people", key, body)
    with http_server() as web:
        private = {"private_addresses": True, "plain_http": True}
        connections = connections_of(Settings(home=home), database)
        create_connection(SYSTEM, connections, "shop", "http", {"base_url": web.url, **private}, "Bearer s3cr3t")
        create_connection(SYSTEM, connections, "pager", "webhook", {"url": f"{web.url}/alarm", **private}, "k3y")
        release(catalog, nosy_spec(), NOSY)
        ending = lab.runner.run(lived(catalog.load("default", "be_nosy", 1)))
    assert ending.state == "completed", ending
    assert len(server.accepted()) == 6
    value: dict[str, Any] = ending.result
    return value


def under_verification(lab: Lab, scratch: Path) -> dict[str, Any]:
    """What the same tool sees on a stage."""

    async def lived() -> Any:
        candidate = subject(NOSY, spec=nosy_spec())
        records = {"people": [{"key": key, "body": body} for key, body in PEOPLE.items()]}
        body = {"name": "nosy", "world": {"records": records, "script": SCRIPT}, "args": ARGS}
        example = Example.model_validate_json(json.dumps(body))
        program = candidate.program()
        async with staged(lab.bench(scratch), example, candidate.caller, program) as stage:
            return await stage.play(program, example.args)

    played = lab.runner.run(lived())
    assert played.state == "completed", played
    value: dict[str, Any] = played.result
    return value


VARY = {
    "seed": r"[0-9a-f]{32}",
    "id": r"[0-9a-f-]{36}|[!-~]{3,300}",
    "x-request-id": r"[!-~]{3,300}",
    "snapshot": r"snap_[0-9a-f]{40}",
}
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


def formed(value: Any, name: str = "") -> Any:
    """The value with what differs between any two runs reduced to its form."""
    if isinstance(value, dict):
        return {key: formed(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [formed(part, name) for part in value]
    if name == "status" and isinstance(value, int):
        return value // 100
    if name == "time":
        return MOMENT.sub("a moment", value)
    if name in VARY:
        assert re.fullmatch(VARY[name], value), (name, value)
        return name
    return value


def test_what_a_tool_sees_under_verification_is_what_it_sees_once_it_is_published(
    lab: Lab, sqlite_database: Database, tmp_path: Path, mail_server: SmtpProcess
) -> None:
    real, played = in_production(lab, sqlite_database, tmp_path, mail_server), under_verification(lab, tmp_path)
    assert formed(played) == formed(real)
    told = {name: (one["status"], (one["error"] or {}).get("code")) for name, one in played["told"].items() if isinstance(one, dict)}
    assert told == {
        **dict.fromkeys(("sent", "ordered", "mailed", "paged", "saved", "kept"), ("done", None)),
        "sent again": ("duplicate", None),
        "greylisted": ("retrying", "smtp_450"),
        "refused": ("failed", "smtp_550"),
        "lost": ("unknown", "smtp_disconnected"),
        "no address": ("failed", "item_invalid"),
        "too many": ("retrying", "http_429"),
        "no order": ("failed", "http_422"),
        "dropped": ("unknown", "http_disconnected"),
        "conflict": ("failed", "version_conflict"),
    }
    assert not re.search(r"\b(script|verif|trial|twin|stage)", json.dumps(played).lower())


def test_a_sandbox_of_one_s_own_looks_like_the_shared_one(lab: Lab) -> None:
    def seen_in(sandbox: Sandbox, *, fresh: bool) -> Any:
        async def asked() -> Any:
            source = PROCESS + "\ndef run(args, ctx):\n    return process()\n"
            session = await sandbox.session("c" * 64, {"tool.py": source}, GuestLimits(), fresh=fresh)
            try:
                await session.start({}, now=1_772_355_600_000, seed="00")
                message = await session.receive()
            finally:
                await session.close()
            assert message["t"] == "result", message
            return message["value"]

        return lab.runner.run(asked())

    shared = seen_in(lab.sandbox, fresh=False)
    assert shared["environment"] and shared["root"]
    assert seen_in(lab.sandbox, fresh=True) == shared == seen_in(lab.guests, fresh=False)
