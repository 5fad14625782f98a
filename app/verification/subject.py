"""What is verified and with what: the candidate as a value, and the bench that gates work at.

It refuses to be: the candidate's row. Nothing here knows who stored it or how far it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from app.candidates.files import candidate_digest, source_file
from app.core.actor import Actor
from app.core.settings import Settings
from app.runtime.program import Program
from app.runtime.values import Guests
from app.sandbox.limits import ProcessLimits
from app.sandbox.sandbox import Sandbox
from app.spec.canonical import digest
from app.spec.catalog import ConnectorCatalog
from app.spec.contract import contract_text
from app.spec.model import ExecutionSpec
from app.verification.boxes import DYNAMIC

DEFAULT_MODEL: str = Settings.model_fields["model"].default
DEFAULT_MUTATION_SCORE: float = Settings.model_fields["mutation_score"].default
Result = TypeVar("Result")

PARTS = frozenset({"tool.py", "test_tool.py", "replaces", "generation_usd"})
"""What a gate may be handed of a candidate beside its spec."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """The published version that a candidate would replace, with the report that it was published on, if that is still there.

    `tool` is the text of its `tool.py`, where signed evidence vouches for it.
    """

    version: int
    spec: ExecutionSpec
    report: Mapping[str, Any] | None = None
    tool: str | None = None


@dataclass(frozen=True)
class Subject:
    """One candidate. `files` are `tool.py` and `test_tool.py`, `digest` is the identity of this code for this spec.

    `generation_usd` is what writing it here cost; None where it was submitted, or where that is not known. `replaces` is the version that
    answers callers at present, if there is one.
    """

    candidate_id: str
    tenant: str
    tool: str
    author: str
    spec: ExecutionSpec
    files: Mapping[str, str]
    digest: str
    catalog: ConnectorCatalog
    generation_usd: Decimal | None = None
    replaces: Replaced | None = None

    @cached_property
    def contract(self) -> str:
        """The text of `contract.py`."""
        return contract_text(self.spec, self.catalog)

    @cached_property
    def guest_spec(self) -> str:
        """The text of `spec.json` as a guest sees it: without held-out examples."""
        return json.dumps(self.spec.without_held_out().body(), indent=1, ensure_ascii=False)

    def program(self, version: int = 1, *, spec: ExecutionSpec | None = None, tool: str | None = None) -> Program:
        """What the runtime executes; with another spec or another `tool.py` for the gates that look for a refusal."""
        files = {"tool.py": tool or self.files["tool.py"], "contract.py": self.contract, "spec.json": self.guest_spec}
        texts = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
        return Program(self.tool, version, digest([self.digest, version, texts]), _unpaced(spec or self.spec), files)

    def only(self, parts: frozenset[str]) -> Subject:
        """The candidate as a gate sees it that names these of its PARTS: without the others, and without who sent it and as what."""
        files = {name: text for name, text in self.files.items() if name in parts}
        return replace(
            self,
            candidate_id="",
            author="",
            files=files,
            digest=candidate_digest(self.spec.digest, [source_file(name, text) for name, text in sorted(files.items())]),
            generation_usd=self.generation_usd if "generation_usd" in parts else None,
            replaces=self.replaces if "replaces" in parts else None,
        )

    @property
    def caller(self) -> Actor:
        """Who calls the tool on a stage: an actor with what the spec asks for and nothing else."""
        return Actor("key_verification", "verification", self.tenant, frozenset({"tools:call", *self.spec.permissions}))


def _unpaced(spec: ExecutionSpec) -> ExecutionSpec:
    """The spec without effects per second: how fast a scripted world is asked tells nothing."""
    effects = tuple(effect.model_copy(update={"limits": effect.limits.model_copy(update={"per_second": None})}) for effect in spec.effects)
    return spec.model_copy(update={"effects": effects})


async def never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Bench:
    """What gates may use.

    `sandbox` runs checkers, `guests` and `others` run the candidate (apart from published tools and, unless there are no `others`, one
    process apart from the next, as after a restart of the service), `template` is a migrated empty database to copy,
    `scratch` a folder for this verification's private files, `model` stands in the baseline where the spec names none,
    `mutation_score` is the least share of changes to the tool that its tests must notice.
    """

    sandbox: Sandbox
    guests: Guests
    template: Path
    scratch: Path
    model: str = DEFAULT_MODEL
    mutation_score: float = DEFAULT_MUTATION_SCORE
    test_limits: ProcessLimits = DYNAMIC
    others: Guests | None = None
    patience: float = 1.0
    """How many times its limit a gate may take: more where it stands back for published tools."""
    sparing: Callable[[], Awaitable[bool]] = never
    """Whether the machine is to be left to others as far as that can be."""

    async def in_time(self, limit_s: float, work: Awaitable[Result]) -> Result | None:
        """What a part of a gate comes to; None where it takes longer than that, wall time, of which it has as many times as its gate."""
        try:
            async with asyncio.timeout(limit_s * self.patience) as limit:
                return await work
        except TimeoutError:
            if not limit.expired():  # another's, which says nothing of the candidate
                raise
            return None
