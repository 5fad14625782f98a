"""A tool cannot tell verification from production: what it can see of its process is the same."""

from __future__ import annotations

from typing import Any

from app.sandbox.limits import GuestLimits
from app.sandbox.sandbox import Sandbox
from tests.support.bench import Lab

CURIOUS = """
import os
import sys
import time


def run(args, ctx):
    def tried(look):
        try:
            return look()
        except OSError as error:
            return str(error)

    return {
        "environment": dict(os.environ),
        "arguments": sys.argv,
        "path": sys.path,
        "flags": str(sys.flags),
        "modules": sorted(sys.modules),
        "hash": hash("a"),
        "zone": time.tzname,
        "folder": tried(os.getcwd),
        "root": tried(lambda: sorted(os.listdir("/"))),
        "uid": tried(os.getuid),
        "standard": [tried(lambda: os.fstat(number).st_mode) for number in range(5)],
        "now": ctx.now().isoformat(),
        "random": ctx.random.random(),
        "file": __file__,
        "name": __name__,
    }
"""
FILES = {"tool.py": CURIOUS}


def seen_in(lab: Lab, sandbox: Sandbox, *, fresh: bool = False) -> dict[str, Any]:
    async def asked() -> dict[str, Any]:
        session = await sandbox.session("c" * 64, FILES, GuestLimits(), fresh=fresh)
        try:
            await session.start({}, now=1_772_355_600_000, seed="00")
            message = await session.receive()
        finally:
            await session.close()
        assert message["t"] == "result", message
        value: dict[str, Any] = message["value"]
        return value

    return lab.runner.run(asked())


def test_a_tool_sees_the_same_in_verification_as_in_production(lab: Lab) -> None:
    production = seen_in(lab, lab.sandbox)
    assert production["environment"] and production["root"]
    assert seen_in(lab, lab.guests) == production
    assert seen_in(lab, lab.sandbox, fresh=True) == production
