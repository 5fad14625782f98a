"""The adapter against a stand-in of the Messages API: every stop reason and every way in which a call can fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from app.codegen.llm import AnthropicModel, Patience, configured
from app.codegen.port import Answer, Ask, Block
from app.core.errors import Unavailable
from app.core.settings import Settings
from tests.support.fake_anthropic import USAGE, Fails, FakeAnthropic, Hangs, Refuses, Reply, Says, Sends

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["content"],
    "properties": {"content": {"type": "string", "minLength": 3}},
}
GOOD = Says('{"content": "print"}')
QUICK = Patience(deadline_s=60, attempts=4, first_delay_s=0.01, most_delay_s=0.02, most_retry_after_s=0.05, connect_s=2, read_s=5)


@pytest.fixture
def fake() -> Iterator[FakeAnthropic]:
    with FakeAnthropic() as server:
        yield server


def ask(fake: FakeAnthropic, *replies: Reply, patience: Patience = QUICK) -> Answer:
    fake.will(*replies)

    async def once() -> Answer:
        model = AnthropicModel("a key", fake.url, patience)
        try:
            return await model.ask(Ask("claude-sonnet-5-5", (Block("rules", "1h"), Block("kinds", "5m")), "write it", SCHEMA, 1000))
        finally:
            await model.close()

    return asyncio.run(once())


def code_of(answer: Answer) -> str:
    assert answer.outcome != "answered" and answer.value is None and answer.error is not None
    assert answer.error["detail"] and answer.error["fix"]
    return str(answer.error["code"])


def test_an_answer_that_fits_the_schema_is_returned_with_its_raw_usage(fake: FakeAnthropic) -> None:
    answer = ask(fake, Says('{"content": "print"}', thinking="let me see"))
    assert (answer.outcome, answer.value) == ("answered", {"content": "print"})
    (usage,) = answer.usages
    assert USAGE.items() <= usage.items()


def test_the_request_asks_for_the_schema_and_caches_the_system_blocks(fake: FakeAnthropic) -> None:
    ask(fake, GOOD)
    (request,) = fake.requests
    assert request["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert request["stream"] is True and request["max_tokens"] == 1000
    assert [block["cache_control"]["ttl"] for block in request["system"]] == ["1h", "5m"]
    assert request["messages"] == [{"role": "user", "content": "write it"}]
    assert "a key" in fake.headers[0].get("authorization", "") + fake.headers[0].get("x-api-key", "")


@pytest.mark.parametrize(
    "trouble",
    [
        Fails(429, "rate_limit_error", {"retry-after": "0.01"}),
        Fails(429, "rate_limit_error", {"retry-after": "4000000000"}),
        Fails(500, "api_error"),
        Fails(503, "api_error", {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}),
        Fails(529, "overloaded_error"),
        Fails(408, "timeout_error"),
        Says('{"content": "print"}', breaks_with="overloaded_error"),
        Says('{"content": "print"}', cut_after=4),
        Says('{"content": "print"}', cut_after=4, framing="until close"),
        Says('{"content": "print"}', stop=None),
        Says('{"content": "print"}', cut_after=0, framing="until close"),
        Sends(b"<html>a proxy is sorry</html>", "text/html"),
        Sends(b"event: message_start\ndata: {not json\n\n"),
        Says("{}"),
        Says("no json"),
    ],
    ids=repr,
)
def test_what_may_pass_is_tried_again(fake: FakeAnthropic, trouble: Reply) -> None:
    answer = ask(fake, trouble, GOOD)  # within the deadline, whatever Retry-After says
    assert answer.value == {"content": "print"} and len(fake.requests) == 2


def test_a_call_that_broke_off_after_it_began_is_metered_too(fake: FakeAnthropic) -> None:
    answer = ask(fake, Says('{"content": "print"}', cut_after=4), GOOD)
    assert [usage["output_tokens"] for usage in answer.usages] == [1, 60]


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (Fails(400, "invalid_request_error"), "model_request_invalid"),
        (Fails(401, "authentication_error"), "model_key_refused"),
        (Fails(402, "billing_error"), "model_unpaid"),
        (Fails(403, "permission_error"), "model_key_refused"),
        (Fails(404, "not_found_error"), "model_unknown"),
        (Fails(413, "request_too_large"), "model_request_too_large"),
        (Fails(422, "invalid_request_error"), "model_failed"),
        (Says("", stop="model_context_window_exceeded"), "model_stopped"),
        (Says("x", stop="stop_sequence"), "model_stopped"),
        (Says("x", stop="tool_use"), "model_stopped"),
        (Says("x", stop="pause_turn"), "model_stopped"),
    ],
    ids=repr,
)
def test_what_will_not_pass_is_not_tried_again(fake: FakeAnthropic, trouble: Reply, code: str) -> None:
    answer = ask(fake, trouble, GOOD)
    assert (answer.outcome, code_of(answer), len(fake.requests)) == ("failed", code, 1)
    assert answer.error is not None and answer.error["retryable"] is False


def test_a_refusal_is_an_outcome_of_its_own_and_is_paid_for_once(fake: FakeAnthropic) -> None:
    answer = ask(fake, Refuses("cyber"), GOOD)
    assert (answer.outcome, code_of(answer), len(fake.requests)) == ("refused", "model_refused", 1)
    assert "cyber" in str(answer.error) and len(answer.usages) == 1


def test_a_truncated_answer_is_asked_for_once_more_with_twice_the_room(fake: FakeAnthropic) -> None:
    answer = ask(fake, Says('{"content": "pri', stop="max_tokens"), GOOD)
    assert answer.value == {"content": "print"} and len(answer.usages) == 2
    assert [request["max_tokens"] for request in fake.requests] == [1000, 2000]
    again = ask(fake, Says("{", stop="max_tokens"), Says("{", stop="max_tokens"), GOOD)
    assert (code_of(again), len(fake.requests)) == ("model_truncated", 4)


def test_trying_ends_at_the_cap_and_names_the_last_reason(fake: FakeAnthropic) -> None:
    answer = ask(fake, *[Fails(529, "overloaded_error")] * 10)
    assert (code_of(answer), len(fake.requests), answer.usages) == ("model_busy", 4, ())
    assert answer.error is not None and answer.error["retryable"] is True


def test_answers_that_never_fit_are_paid_for_twice_at_most(fake: FakeAnthropic) -> None:
    answer = ask(fake, *[Says('{"content": "a"}')] * 5)
    assert (code_of(answer), len(fake.requests), len(answer.usages)) == ("model_answer_invalid", 2, 2)


def test_a_silent_server_is_left_at_the_read_limit_and_all_of_it_at_the_deadline(fake: FakeAnthropic) -> None:
    assert ask(fake, Hangs(), GOOD, patience=Patience(read_s=2.5, first_delay_s=0.01)).value == {"content": "print"}
    began = time.monotonic()
    late = ask(fake, Hangs(), patience=Patience(deadline_s=0.3))
    assert code_of(late) == "model_timeout" and time.monotonic() - began < 30


def test_an_unreachable_address_is_a_failure_and_no_crash() -> None:
    with FakeAnthropic() as gone:
        url = gone.url
    patience = Patience(attempts=2, first_delay_s=0.01, connect_s=1)

    async def once() -> Answer:
        return await AnthropicModel("a key", url, patience).ask(Ask("m", (), "write it", SCHEMA, 10))

    assert code_of(asyncio.run(once())) == "model_unreachable"


def test_without_a_key_the_service_points_at_submitting_a_candidate() -> None:
    with pytest.raises(Unavailable) as caught:
        configured(Settings())
    assert caught.value.code == "model_not_configured" and "/candidates" in caught.value.fix and not caught.value.retryable


def test_an_error_never_repeats_the_key(fake: FakeAnthropic) -> None:
    answers: list[Any] = [ask(fake, Fails(401, "authentication_error")), ask(fake, *[Sends(b"x")] * 4)]
    assert "a key" not in repr(answers)
