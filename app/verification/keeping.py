"""What the result of a gate depends on, as one digest, and what remembers results by it.

A kept result counts as evidence of this very candidate, for it is what another run would compute: a gate is handed a subject without the
parts that it does not name (`Subject.only`), and the key covers all that is left of it, the bench's settings, the evidence that it reads,
and the platform: every line of our own code, the schema, the toolkit, the interpreter and every installed distribution, the checkers
among them. What is forgotten here would be a pass that nobody earned, so the key holds too much rather than too little: any release or
upgrade makes all results anew. Two gates call the tool in the present too; what they saw there is of the day that the report names.

What an author could try: write into the memory (only the host does, after its own run of the gate); win by resubmitting until a check
that looks at chance passes (a key that was red once is never answered from memory, and a later pass of it is not kept); learn of others'
code by how fast an answer comes (the tenant is part of the key). Held-out cases stay marked, so that readers see a kept result masked as
a new one is.

Facts are less than a result: what a gate found out about a part of the candidate, and may build on where that part comes again. They are
of passes alone, too, so that luck does not add up.

It refuses to be: a memory of refusals. What was red runs again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from app.core import migration
from app.spec.canonical import digest
from app.verification.findings import GateResult
from app.verification.subject import Bench, Subject
from app.verification.toolchain import toolchain


class Keeper(Protocol):
    """Remembers what gates said."""

    async def find(self, key: str) -> GateResult | None:
        """The result that passed under this key, with `kept` saying where and when; None if it must be computed."""

    async def keep(self, key: str, result: GateResult) -> None:
        """Remember a result just computed; a red one so that its key is never answered."""

    async def recall(self, key: str) -> Mapping[str, Any] | None:
        """The facts that were last remembered under this key, JSON; None if there are none."""

    async def remember(self, key: str, gate: str, facts: Mapping[str, Any]) -> None:
        """Remember a gate's facts, in the place of those before."""


class _Forgetful:
    async def find(self, _key: str) -> GateResult | None:
        return None

    async def keep(self, _key: str, _result: GateResult) -> None:
        return None

    async def recall(self, _key: str) -> None:
        return None

    async def remember(self, _key: str, _gate: str, _facts: Mapping[str, Any]) -> None:
        return None


FORGETFUL: Keeper = _Forgetful()


def key_of(gate: str, subject: Subject, bench: Bench, seen: Mapping[str, Mapping[str, Any]]) -> str:
    """SHA-256 (hex) of all that this gate can depend on. `subject` is what the gate is handed, `seen` the evidence that it reads."""
    replaced = subject.replaces
    depends = json.dumps(
        {
            "platform": platform_digest(),
            "gate": gate,
            "tenant": subject.tenant,
            "tool": subject.tool,
            "candidate": subject.digest,
            "catalog": subject.catalog.as_json(),
            "replaces": replaced and [replaced.version, replaced.spec.digest, replaced.tool],
            "generation_usd": subject.generation_usd is not None and str(subject.generation_usd),
            "bench": [bench.model, bench.mutation_score, asdict(bench.test_limits)],
            "seen": seen,
        },
        sort_keys=True,
        default=str,
    )
    return hashlib.sha256(depends.encode()).hexdigest()


@functools.cache
def platform_digest() -> str:
    """SHA-256 (hex) of what verifies here: our code, the schema, the toolkit, the interpreter, the kernel, what is installed."""
    return digest(list(_platform()))


def _platform() -> Iterator[str]:
    yield from (platform.platform(), migration.digest(), json.dumps(toolchain(), sort_keys=True))
    site = Path(sysconfig.get_path("purelib"))
    yield from (path.name for path in sorted(site.glob("*.dist-info")))
