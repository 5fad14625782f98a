"""A bench for gates: a proven sandbox, a template database, and subjects made from the specimen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.connectors.scripted import scripted
from app.sandbox.limits import ProcessLimits
from app.sandbox.sandbox import Sandbox
from app.spec.model import ExecutionSpec
from app.verification.boxes import DYNAMIC
from app.verification.findings import Finding, GateOutcome
from app.verification.line import Check
from app.verification.subject import Bench, Subject
from app.verification.template import template_database
from tests.support.specimens import TESTS, TOOL, specimen_spec

Seen = Mapping[str, Mapping[str, object]]


def subject(tool: str = TOOL, tests: str = TESTS, spec: ExecutionSpec | None = None) -> Subject:
    """The specimen as a candidate, or a variant of it."""
    spec = spec or specimen_spec()
    files = {"tool.py": tool, "test_tool.py": tests}
    return Subject("cand_1", "default", spec.name, "key_author", spec, files, "d" * 64, scripted().catalog)


def rules(findings: Sequence[Finding]) -> list[str]:
    """The rules of what was found."""
    return [finding.rule for finding in findings]


@dataclass(frozen=True, slots=True)
class Lab:
    """What outlives a test: the loop, the sandbox, the template."""

    runner: asyncio.Runner
    sandbox: Sandbox
    guests: Sandbox
    others: Sandbox
    template: Path

    @classmethod
    def open(cls, runner: asyncio.Runner, folder: Path) -> Lab:
        sandbox = Sandbox(folder / "home")
        proof = runner.run(sandbox.start())
        assert proof.ok, proof.failures()
        return cls(runner, sandbox, sandbox.apart(), sandbox.apart(), template_database(folder))

    def close(self) -> None:
        self.runner.run(self.guests.stop())
        self.runner.run(self.others.stop())
        self.runner.run(self.sandbox.stop())

    def bench(self, scratch: Path) -> Bench:
        return Bench(self.sandbox, self.guests, self.template, scratch, others=self.others)

    def ask(
        self, check: Check, candidate: Subject, scratch: Path, seen: Seen | None = None, test_limits: ProcessLimits = DYNAMIC
    ) -> GateOutcome:
        """What one gate says of a candidate."""

        async def asked() -> GateOutcome:
            return await check(candidate, replace(self.bench(scratch), test_limits=test_limits), seen or {})

        return self.runner.run(asked())
