"""The ExecutionSpec: the value that a saved revision holds, immutable once read.

It refuses to be: the judge. It holds the shape (names, types, bounds); whether schemas are strict, keys make sense and
examples agree with them is for `lint`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.spec.canonical import canonical_bytes, digest

SPEC_VERSION = "1"
RESERVED_PREFIX = "toolmint_"
NAME_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Permission = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}(:[a-z][a-z0-9_]{0,31}){1,3}$")]
ConnectorName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}(\.[a-z][a-z0-9_]{0,31}){0,3}$")]
Line = Annotated[str, StringConstraints(min_length=1, max_length=160)]
Prose = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Schema = dict[str, Any]


class Value(BaseModel):
    """A frozen part of a spec: no field beside the declared ones, no coercion between JSON types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Read(Value):
    """A way to see the world: the guest says `ctx.read(id, **query)`."""

    id: Name
    connector: ConnectorName
    config: dict[str, Any] = Field(default_factory=dict)


class Retry(Value):
    """How a definite transient refusal is tried again, outside the run; delays in seconds, full jitter."""

    max_attempts: int = Field(default=5, ge=1, le=20)
    initial_delay_s: float = Field(default=2, ge=0.1, le=3600)
    factor: float = Field(default=2, ge=1, le=10)
    max_delay_s: float = Field(default=300, ge=0.1, le=86_400)


class EffectLimits(Value):
    """How many distinct keys one run may plan, and how many a second may be performed (None: the connector's own limit)."""

    per_run: int = Field(default=1, ge=1, le=10_000_000)
    per_second: float | None = Field(default=None, gt=0, le=10_000)


class Ledger(Value):
    """Which ledger shows the effect's rows: expressions for the group and for the subject of a row."""

    name: Name
    group: Expression
    subject: Expression


class Undo(Value):
    """Which effect reverses this one, and its item: one expression a field, over `args`, `item` and `receipt`."""

    effect: Name
    item: dict[str, Expression] = Field(max_length=32)


class Effect(Value):
    """A way to change the world: the guest says `ctx.perform(id, item)`; it happens once for each `key`."""

    id: Name
    connector: ConnectorName
    config: dict[str, Any] = Field(default_factory=dict)
    key: Expression
    criticality: Literal["required", "best_effort"] = "required"
    on_unknown: Literal["hold", "retry"] = "hold"
    retry: Retry = Retry()
    retry_failed: bool = False
    limits: EffectLimits = EffectLimits()
    ledger: Ledger | None = None
    undo: Undo | None = None
    undo_reason: Line | None = None


class Invariant(Value):
    """What holds after every run: CEL over `args`, `result` and `effects.<id>.<count>`."""

    id: Name
    text: Line
    expr: Expression


class ScriptEntry(Value):
    """How the world answers an effect whose item has the fields of `when`, so many `times` (a crash once, others always)."""

    effect: Name
    when: dict[str, Any] = Field(default_factory=dict)
    answer: Literal["refuse_now", "refuse_for_good", "lose_reply", "crash", "crash_before"]
    times: Annotated[int, Field(ge=1, le=1000)] | None = None


class WorldRecord(Value):
    """One record that exists before the example runs."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    body: dict[str, Any]


SnapshotName = Annotated[str, StringConstraints(pattern=r"^snap_[0-9a-z_]{1,64}$")]


class World(Value):
    """The small world of an example: records by collection, snapshots (by id, of which collection) of them, and scripted answers."""

    records: dict[str, tuple[WorldRecord, ...]] = Field(default_factory=dict)
    snapshots: dict[SnapshotName, Name] = Field(default_factory=dict, exclude_if=lambda found: not found)  # saved specs keep their digests
    script: tuple[ScriptEntry, ...] = ()


class ExpectedEffect(Value):
    """One effect that an example asks for. `item` may name a part of the fields; those must be equal."""

    id: Name
    item: dict[str, Any] = Field(default_factory=dict)
    status: Literal["done", "skipped", "duplicate", "retrying", "failed", "unknown"] = "done"


class ExpectedError(Value):
    """The business failure that an example asks for."""

    code: Name


class Example(Value):
    """A golden case: with this world and these arguments, this result (or error) and exactly these effects, in order.

    `held_out` examples are shown only to actors who may `specs:held_out`. `now` is the clock's time (RFC 3339).
    """

    name: Line
    visibility: Literal["author", "held_out"] = "author"
    now: str = "2026-03-01T09:00:00Z"
    world: World = World()
    args: dict[str, Any] = Field(default_factory=dict)
    result: dict[str, Any] | None = None
    error: ExpectedError | None = None
    effects: tuple[ExpectedEffect, ...] = ()


class RunLimits(Value):
    """What one run may use: seconds of wall time, megabytes of memory, bytes of arguments and of result."""

    timeout_s: int = Field(default=60, ge=1, le=86_400)
    memory_mb: int = Field(default=256, ge=64, le=2048)
    input_bytes: int = Field(default=262_144, ge=256, le=8_000_000)
    result_bytes: int = Field(default=8192, ge=64, le=65_536)


class Volume(Value):
    """How much the tool is expected to be used; feeds the cost profile."""

    runs_per_month: int = Field(default=30, ge=1, le=100_000_000)
    items_per_run: int = Field(default=1, ge=1, le=100_000_000)


class Baseline(Value):
    """What doing the same by prompting would take; feeds the break-even count."""

    calls_per_item: float = Field(default=1, ge=0, le=1000)
    input_tokens_per_call: int = Field(default=1500, ge=0, le=10_000_000)
    output_tokens_per_call: int = Field(default=150, ge=0, le=10_000_000)
    model: Annotated[str, StringConstraints(min_length=1, max_length=120)] | None = None


class ExecutionSpec(Value):
    """One tool's whole contract. What is not declared here cannot happen."""

    spec_version: Literal["1"]
    name: Name
    title: Line
    description: Prose
    inputs: Schema
    outputs: Schema
    permissions: tuple[Permission, ...] = Field(default=(), max_length=16)
    reads: tuple[Read, ...] = Field(default=(), max_length=32)
    effects: tuple[Effect, ...] = Field(default=(), max_length=32)
    run_key: Expression | None = None
    run_key_ttl_s: int = Field(default=86_400, ge=60, le=31_536_000)
    invariants: tuple[Invariant, ...] = Field(default=(), max_length=64)
    examples: tuple[Example, ...] = Field(default=(), max_length=100)
    limits: RunLimits = RunLimits()
    volume: Volume = Volume()
    baseline: Baseline = Baseline()

    @classmethod
    def parse(cls, text: str | bytes) -> ExecutionSpec:
        """The value of a JSON text. Raises pydantic.ValidationError; for text from outside use `checking.check`."""
        return cls.model_validate_json(text)

    def body(self) -> dict[str, Any]:
        """The JSON form with every default spelled out, so that it means the same when defaults change."""
        return self.model_dump(mode="json")

    def canonical(self) -> bytes:
        """RFC 8785 bytes of `body()`: what a revision stores."""
        return canonical_bytes(self.body())

    @property
    def digest(self) -> str:
        """SHA-256 of `canonical()`: the revision's identity."""
        return digest(self.body())

    def effect(self, effect_id: str) -> Effect | None:
        return next((effect for effect in self.effects if effect.id == effect_id), None)

    def read(self, read_id: str) -> Read | None:
        return next((read for read in self.reads if read.id == read_id), None)

    def without_held_out(self) -> ExecutionSpec:
        """The same spec as guests, prompts and readers without `specs:held_out` see it."""
        return self.model_copy(update={"examples": tuple(e for e in self.examples if e.visibility == "author")})
