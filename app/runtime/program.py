"""A Program: what the runtime executes. A loader in a higher room makes it from an artifact and checks its digests.

It refuses to be: a version. Channels, approval and publishing are not the runtime's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from app.core.errors import Invalid
from app.spec.expressions import KeyExpression, ValueExpression, compile_key, compile_value
from app.spec.model import Effect, ExecutionSpec
from app.spec.schemas import SpecValidators, validators


@dataclass(frozen=True, slots=True)
class EffectRule:
    """A declared effect with its expressions compiled."""

    declared: Effect
    key: KeyExpression
    group: ValueExpression | None
    subject: ValueExpression | None

    @classmethod
    def of(cls, effect: Effect) -> EffectRule:
        ledger = effect.ledger
        return cls(
            effect,
            compile_key(effect.key),
            compile_value(ledger.group) if ledger else None,
            compile_value(ledger.subject) if ledger else None,
        )


@dataclass(frozen=True)
class Program:
    """`digest` pins spec and files; `files` are `tool.py`, `contract.py` and the `spec.json` that guests see.

    `read_only`: the version was proved to perform nothing and is listed so; it then has no effects, whatever its spec declares.
    """

    tool: str
    version: int
    digest: str
    spec: ExecutionSpec
    files: Mapping[str, str]
    read_only: bool = False

    @cached_property
    def validators(self) -> SpecValidators:
        return validators(self.spec)

    @cached_property
    def rules(self) -> dict[str, EffectRule]:
        return {effect.id: EffectRule.of(effect) for effect in self.spec.effects}

    def rule(self, effect_id: str) -> EffectRule:
        """The rule of an effect that may be performed. Raises Invalid `version_read_only` or `effect_undeclared`."""
        if self.read_only:
            raise Invalid(
                "version_read_only",
                f"Version {self.version} of {self.tool} is listed as read-only, so it performs no effect.",
                fix="Publish a version that was verified with this effect; its callers then see that it changes something.",
            )
        rule = self.rules.get(effect_id)
        if rule is None:
            raise Invalid(
                "effect_undeclared",
                f"The spec declares no effect {effect_id!r}.",
                fix="Declare the effect in the spec, or do not perform it.",
            )
        return rule
