"""The model port: what is asked of a model and what may come back. Values and a protocol only.

It refuses to be: about one provider. The Anthropic adapter is `llm`, its twin without a network is `scripted`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Outcome = Literal["answered", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the system prompt, and how long the provider may keep it in its cache."""

    text: str
    ttl: Literal["5m", "1h"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One question. The answer is one JSON object that fits `schema`; `max_tokens` bounds what it may cost."""

    model: str
    system: tuple[Block, ...]
    prompt: str
    schema: Mapping[str, Any]
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question.

    `answered` with a `value` that fits the schema; `refused` by the model's provider, which is final; `failed`. Both carry an
    `error` `{"code", "detail", "fix", "retryable"}`. `usages` holds the raw usage object of every call that was made, paid
    ones that came to nothing too; `model` is the one that answered.
    """

    outcome: Outcome
    model: str
    usages: tuple[Mapping[str, Any], ...]
    value: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None


class ModelPort(Protocol):
    """A model. `ask` never raises for what the provider does; cancelling it ends the call."""

    async def ask(self, ask: Ask) -> Answer: ...


def error(code: str, detail: str, fix: str, *, retryable: bool = False) -> dict[str, Any]:
    """The error of an answer or of a generation."""
    return {"code": code, "detail": detail, "fix": fix, "retryable": retryable}
