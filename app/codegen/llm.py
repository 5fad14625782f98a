"""The Anthropic adapter, and the one module that imports their library: structured answers, streamed, with bounded retries.

The library's own retries are off: it follows a Retry-After of any length and says nothing about what was paid. Here every
attempt has a place in one deadline, and its usage is reported. Stop reasons are looked at in this order: none (the line broke,
which a proxy may hide), `max_tokens` (asked again with twice the room, once), `refusal` (an outcome of its own, never
repeated), `end_turn` (parsed, then checked against the schema, since the provider drops bounds and patterns from it).

It refuses to be: where prompts are written, or where an answer is believed.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from app.codegen.port import Answer, Ask, error
from app.core.errors import Unavailable
from app.core.settings import Settings
from app.observability import metrics
from app.spec.schemas import compile_schema

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

DIRECT = "https://api.anthropic.com"
_RETRY_STATUS = frozenset({408, 409, 425, 429})
_RETRY_TYPES = frozenset({"overloaded_error", "api_error", "rate_limit_error", "timeout_error"})
_MOST_PAID_FAILURES = 2


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often to try: seconds, and a number of attempts. `read_s` bounds the silence within a stream."""

    deadline_s: float = 900
    attempts: int = 6
    first_delay_s: float = 0.5
    most_delay_s: float = 8
    most_retry_after_s: float = 30
    connect_s: float = 10
    read_s: float = 180


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What one call came to: a final `answer`, or an `error` after which one may try again, `wait_s` from now if it said so."""

    usage: Mapping[str, Any] | None
    value: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    wait_s: float | None = None
    refused: bool = False
    wider: bool = False


class AnthropicModel:
    """A model port over the Messages API; one client, closed with `close`."""

    def __init__(self, api_key: str, base_url: str = "", patience: Patience = Patience()) -> None:
        self._key = api_key
        self._url = base_url or DIRECT
        self._patience = patience
        self._client: AsyncAnthropic | None = None
        self._jitter = random.SystemRandom()

    async def ask(self, ask: Ask) -> Answer:
        """See `ModelPort`. Raises nothing but cancellation."""
        usages: list[Mapping[str, Any]] = []
        await asyncio.to_thread(importlib.import_module, "anthropic")  # two seconds of CPU, which must not stop the heartbeat
        try:
            async with asyncio.timeout(self._patience.deadline_s):
                answer = await self._persist(ask, usages)
        except TimeoutError:
            late = error("model_timeout", f"No answer within {self._patience.deadline_s:g} s.", "Try again later.", retryable=True)
            answer = Answer("failed", ask.model, tuple(usages), error=late)
        metrics.MODEL_CALLS.labels(answer.outcome).inc()
        return answer

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _persist(self, ask: Ask, usages: list[Mapping[str, Any]]) -> Answer:
        paid_failures, attempt = 0, _Attempt(None)
        for number in range(self._patience.attempts):
            attempt = await self._attempt(ask)
            if attempt.usage is not None:
                usages.append(attempt.usage)
            if attempt.value is not None:
                return Answer("answered", ask.model, tuple(usages), attempt.value)
            if attempt.refused:
                return Answer("refused", ask.model, tuple(usages), error=attempt.error)
            paid_failures += attempt.usage is not None
            if not (attempt.error or {}).get("retryable") or paid_failures >= _MOST_PAID_FAILURES:
                break
            if attempt.wider:
                ask = replace(ask, max_tokens=ask.max_tokens * 2)
            elif number + 1 < self._patience.attempts:
                await asyncio.sleep(self._delay(number, attempt.wait_s))
        return Answer("failed", ask.model, tuple(usages), error=attempt.error)

    def _delay(self, number: int, asked_s: float | None) -> float:
        if asked_s is not None:
            return min(asked_s, self._patience.most_retry_after_s)
        return self._jitter.uniform(0, min(self._patience.first_delay_s * 2**number, self._patience.most_delay_s))

    async def _attempt(self, ask: Ask) -> _Attempt:
        import anthropic
        import httpx2

        usage: Mapping[str, Any] | None = None
        try:
            async with self._open(anthropic, httpx2).messages.stream(**_request(ask)) as stream:
                try:
                    async for _event in stream:
                        pass
                finally:
                    with suppress(AssertionError):  # nothing had come yet
                        usage = stream.current_message_snapshot.usage.to_dict()
                message = stream.current_message_snapshot
        except anthropic.APIStatusError as failure:
            return _Attempt(usage, error=_status_error(failure.status_code, failure.type), wait_s=_retry_after(failure.response.headers))
        except (anthropic.APIError, httpx2.HTTPError, json.JSONDecodeError, AssertionError) as failure:
            # The stream ended before its first message (AssertionError), broke off, or was no JSON: the library has no one class for it.
            return _Attempt(usage, error=_broken_line(type(failure).__name__))
        return _judged(ask, message.stop_reason, message, usage)

    def _open(self, anthropic: Any, httpx2: Any) -> AsyncAnthropic:
        if self._client is None:
            timeout = httpx2.Timeout(self._patience.read_s, connect=self._patience.connect_s)
            self._client = anthropic.AsyncAnthropic(api_key=self._key, base_url=self._url, max_retries=0, timeout=timeout)
        return self._client


def configured(settings: Settings) -> AnthropicModel:
    """The model that the settings name. Raises Unavailable `model_not_configured` without an API key."""
    require_configured(settings)
    return AnthropicModel(settings.anthropic_api_key, settings.anthropic_base_url)


def require_configured(settings: Settings) -> None:
    """Raise Unavailable `model_not_configured` where no model can be asked."""
    if not settings.anthropic_api_key:
        raise Unavailable(
            "model_not_configured",
            "This installation has no API key of a model, so it cannot write code itself.",
            fix="Write the tool yourself and submit it with POST /api/v1/tools/{name}/candidates, or set ANTHROPIC_API_KEY.",
            retryable=False,
        )


def _request(ask: Ask) -> dict[str, Any]:
    system = [{"type": "text", "text": part.text, "cache_control": {"type": "ephemeral", "ttl": part.ttl}} for part in ask.system]
    return {
        "model": ask.model,
        "max_tokens": ask.max_tokens,
        "system": system,
        "messages": [{"role": "user", "content": ask.prompt}],
        "output_config": {"format": {"type": "json_schema", "schema": dict(ask.schema)}},
    }


def _judged(ask: Ask, stop_reason: str | None, message: Any, usage: Mapping[str, Any] | None) -> _Attempt:
    if stop_reason is None:
        return _Attempt(usage, error=_broken_line("the stream ended early"))
    if stop_reason == "max_tokens":
        detail = f"The answer did not fit into {ask.max_tokens} tokens."
        return _Attempt(usage, error=error("model_truncated", detail, "Narrow the spec.", retryable=True), wider=True)
    if stop_reason == "refusal":
        return _Attempt(usage, error=_refusal(message), refused=True)
    if stop_reason != "end_turn":
        detail = f"The model stopped with {stop_reason}."
        return _Attempt(usage, error=error("model_stopped", detail, "Shorten the spec, or choose another model."))
    return _parsed(ask, "".join(block.text for block in message.content if block.type == "text"), usage)


def _parsed(ask: Ask, text: str, usage: Mapping[str, Any] | None) -> _Attempt:
    bad = error("model_answer_invalid", "The answer is not the JSON that was asked for.", "Try again.", retryable=True)
    try:
        value = json.loads(text)
    except ValueError:
        return _Attempt(usage, error=bad)
    if not compile_schema(dict(ask.schema)).accepts(value):
        return _Attempt(usage, error=bad)
    return _Attempt(usage, value=value)


def _refusal(message: Any) -> dict[str, Any]:
    category = getattr(message.stop_details, "category", None) or "no category"
    return error("model_refused", f"The model refused to write this ({category}).", "Reword the spec, or submit code written otherwise.")


def _broken_line(what: str) -> dict[str, Any]:
    return error("model_unreachable", f"The connection to the model failed: {what}.", "Try again later.", retryable=True)


_STATUS = {
    400: ("model_request_invalid", "The model's provider refused the request.", "Check the model's name and the size of the spec."),
    401: ("model_key_refused", "The model's provider refused the API key.", "Set a valid ANTHROPIC_API_KEY."),
    402: ("model_unpaid", "The account of the API key has no credit.", "Add credit, or use another key."),
    403: ("model_key_refused", "The API key may not use this model.", "Choose another model, or use another key."),
    404: ("model_unknown", "The provider does not know this model.", "Choose another model."),
    413: ("model_request_too_large", "The request is too large for the provider.", "Shorten the spec and its examples."),
}


def _status_error(status: int, kind: str | None) -> dict[str, Any]:
    """Of an HTTP status, or of an error event in a stream, which comes with status 200 and a type."""
    if status in _RETRY_STATUS or status >= 500 or kind in _RETRY_TYPES:
        busy = "rate limit" if status == 429 or kind == "rate_limit_error" else "busy"
        return error(
            "model_busy", f"The model's provider is not answering now ({busy}, {kind or status}).", "Try again later.", retryable=True
        )
    code, detail, fix = _STATUS.get(status, ("model_failed", f"The provider answered {kind or status}.", "Look at the provider's status."))
    return error(code, detail, fix)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:  # absent, or a date, which our own back-off serves as well
        return None
    return seconds if 0 <= seconds < float("inf") else None
