"""When a circuit opens: counting replies, without a database."""

from __future__ import annotations

import pytest

from app.connectors.port import Reply
from app.core.errors import Invalid
from app.core.settings import Settings
from app.runtime.flow.circuit import SOON_MS, WINDOW_MS, Circuit, answered
from app.runtime.flow.limits import ConnectorLimits, Fuse, Limits, ToolLimits
from app.runtime.repository.flow import CircuitName, Opened

NAME = CircuitName("default", "email.send", "send_notes")
FUSE = Fuse(failures=3)


def test_failures_in_a_row_open_it_and_one_answer_begins_the_count_anew() -> None:
    circuit = Circuit(NAME)
    said = [circuit.count(failed, FUSE, 0) for failed in (True, True, False, True, True, True)]
    assert said == [False, False, False, False, False, True]


def test_a_server_that_answers_one_in_ten_opens_it_too() -> None:
    circuit = Circuit(NAME)
    fuse = Fuse(failures=10)
    opened = [number for number in range(60) if circuit.count(number % 10 != 0, fuse, 0)]
    assert opened and opened[0] == 49, "as soon as there are enough replies to judge by"


def test_one_refusal_in_two_does_not_open_it() -> None:
    circuit = Circuit(NAME)
    assert not any(circuit.count(number % 2 == 0, Fuse(failures=10), 0) for number in range(500))


def test_what_is_older_than_the_window_does_not_count_for_the_ratio() -> None:
    circuit = Circuit(NAME)
    fuse = Fuse(failures=10)
    times = range(0, 60 * WINDOW_MS, WINDOW_MS + 1)
    assert not any(circuit.count(number % 9 != 0, fuse, at) for number, at in enumerate(times))


def test_zero_failures_means_never() -> None:
    circuit = Circuit(NAME)
    assert not any(circuit.count(True, Fuse(failures=0), 0) for _ in range(1000))


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply("done"), True),
        (Reply("refused", code="smtp_550"), True),
        (Reply("refused_now", code="smtp_450", alone=True), True),
        (Reply("refused_now", code="smtp_451"), False),
        (Reply("unknown", code="smtp_timeout"), False),
        (Reply("refused_now", code="lease_over"), None),
        (Reply("unknown", code="connector_failed"), None),
    ],
)
def test_what_a_reply_says_of_what_it_came_from(reply: Reply, told: bool | None) -> None:
    assert answered(reply) is told


def test_an_open_circuit_rests_until_its_trial_and_lets_one_through() -> None:
    circuit = Circuit(NAME)
    assert circuit.resting_until(0) is None
    circuit.opened = Opened("smtp_unreachable", 0, 2000, 5000, 3000)
    assert circuit.resting_until(4999) == 5000 and circuit.resting_until(5000) is None
    circuit.trial = "an effect"
    assert circuit.resting_until(5000) == 5000 + SOON_MS
    circuit.close()
    assert circuit.resting_until(5000) is None and circuit.trial is None


def test_limits_are_read_from_the_settings() -> None:
    limits = Limits.of(
        Settings(
            connector_limits='{"email.send": {"per_second": 50, "in_flight": 20}, "http.request/billing": {"in_flight": 1}}',
            tool_limits='{"*": {"runs": 8}, "campaign_send_bulk": {"runs": 1, "calls": 20}}',
            circuit_failures=4,
        )
    )
    assert limits.connector("email.send") == ("email.send", ConnectorLimits(per_second=50, in_flight=20))
    assert limits.connector("http.request", "billing") == ("http.request/billing", ConnectorLimits(in_flight=1))
    assert limits.connector("http.request", "other") == ("http.request", ConnectorLimits())
    assert limits.tool("campaign_send_bulk") == ToolLimits(runs=1, calls=20) and limits.tool("any") == ToolLimits(runs=8)
    assert limits.fuse == Fuse(4, 2000, 60_000) and Limits.of(Settings()).tool("any") == ToolLimits()


@pytest.mark.parametrize("text", ["{", "[]", '{"email.send": {"per_minute": 3}}', '{"email.send": {"in_flight": 0}}'])
def test_limits_that_cannot_be_read_name_the_variable(text: str) -> None:
    with pytest.raises(Invalid, match="settings_invalid") as refused:
        Limits.of(Settings(connector_limits=text))
    assert refused.value.problems[0].path == "TOOLMINT_CONNECTOR_LIMITS"
