"""Prices come from the installed list, unknown ones stay unknown; the comparison is arithmetic on named assumptions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from app.economics.baseline import compare
from app.economics.prices import Price, list_version, price_of, price_of_tokens
from tests.support.contracts import contract


def spec(items: int = 2000, calls: float = 2, model: str | None = None) -> Any:
    baseline = {"calls_per_item": calls, "input_tokens_per_call": 1800, "output_tokens_per_call": 160, "model": model}
    return contract(volume={"runs_per_month": 30, "items_per_run": items}, baseline=baseline)


def flat(_model: str, _input: int, _output: int) -> Price:
    return Price(Decimal("0.005"), "a list")


def test_a_raw_usage_with_caches_is_priced_as_by_hand() -> None:
    raw = {
        "input_tokens": 3,
        "cache_read_input_tokens": 1800,
        "cache_creation_input_tokens": 200,
        "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 9,
    }  # 3 x 4 + 1800 x 0.2 + 200 x 5 + 9 x 20 dollars a million
    assert price_of("claude-opus-5-5", raw) == Price(Decimal("0.001552"), list_version())
    assert price_of("claude-opus-5-5", raw).text == "0.001552"


@pytest.mark.parametrize(
    ("model", "raw"),
    [("a-model-of-nobody", {"input_tokens": 1, "output_tokens": 1}), ("claude-opus-5-5", {}), ("claude-opus-5-5", {"input_tokens": None})],
)
def test_what_has_no_price_is_unknown_and_never_zero(model: str, raw: dict[str, Any]) -> None:
    price = price_of(model, raw)
    assert price.usd is None and price.text is None and price.prices.startswith("genai-prices ")


def test_a_small_amount_is_written_in_plain_digits() -> None:
    assert Price(Decimal("1E-7"), "").text == "0.0000001"
    assert price_of_tokens("claude-sonnet-5-5", 1800, 160).text == "0.0052"


def test_a_tool_that_is_written_once_is_compared_with_prompting_at_the_declared_volume() -> None:
    found = compare(spec(), cpu_ms=7200, generation_usd=Decimal("39.5"), default_model="claude-sonnet-5-5", price=flat)
    assert (found.calls_per_run, found.baseline_run_usd, found.run_usd) == (Decimal(4000), Decimal("20.000"), Decimal("0.0001"))
    assert found.saving_per_run_usd == Decimal("19.9999") and found.monthly_saving_usd == Decimal("599.997")
    assert found.break_even_runs == 2
    assert found.as_dict()["run_usd"] == "0.00010000" and found.as_dict()["monthly_baseline_usd"] == "600.00000000"
    said = " ".join(found.assumptions)
    for named in ("4000 calls of claude-sonnet-5-5", "1800 tokens", "0.005 USD", "0.05 USD an hour", "7200 ms", "30 runs a month"):
        assert named in said


def test_a_run_measured_on_fewer_items_is_scaled_to_the_declared_volume() -> None:
    small = compare(spec(), cpu_ms=72, measured_items=20, generation_usd=None, default_model="m", price=flat)
    assert small.run_usd == compare(spec(), cpu_ms=7200, generation_usd=None, default_model="m", price=flat).run_usd
    assert "for 20 items" in " ".join(small.assumptions)


def test_what_is_unknown_stays_unknown_and_is_named() -> None:
    unpriced = compare(spec(model="a-model-of-nobody"), cpu_ms=10, generation_usd=Decimal(1), default_model="m")
    assert unpriced.baseline_run_usd is None and unpriced.monthly_saving_usd is None and unpriced.break_even_runs is None
    assert "has no price for this model" in " ".join(unpriced.assumptions)
    by_hand = compare(spec(), cpu_ms=10, generation_usd=None, default_model="m", price=flat)
    assert by_hand.break_even_runs is None and by_hand.monthly_saving_usd is not None and "no break-even" in by_hand.assumptions[-1]


def test_a_tool_that_saves_nothing_never_breaks_even() -> None:
    found = compare(spec(items=1, calls=0), cpu_ms=10, generation_usd=Decimal(1), default_model="m", price=flat)
    assert found.break_even_runs is None and found.saving_per_run_usd is not None and found.saving_per_run_usd < 0
