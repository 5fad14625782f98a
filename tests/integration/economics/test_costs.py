"""The meter keeps what the provider said; costs are its sums, per tool and tenant."""

from __future__ import annotations

from decimal import Decimal

import pytest

from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import Forbidden
from app.economics.costs import generation_usd, read_costs, spent_on
from app.economics.meter import GENERATION, record_usage

READER = Actor("key_reader", "reader", "default", frozenset({"audit:read"}))


def meter(database: Database, tool: str, subject: str, model: str = "claude-opus-5-5", tenant: str = "default") -> None:
    with database.writing() as session:
        raw = {"input_tokens": 1000, "output_tokens": 100, "service_tier": "standard"}
        record_usage(session, tenant=tenant, kind=GENERATION, subject=subject, tool=tool, model=model, raw=raw)


def test_sums_are_per_tool_and_model_and_say_what_has_no_price(database: Database) -> None:
    for tool, subject, model in (("a", "gen_1", "claude-opus-5-5"), ("a", "gen_1", "claude-opus-5-5"), ("b", "gen_2", "nobodys")):
        meter(database, tool, subject, model)
    meter(database, "c", "gen_3", tenant="other")
    items = read_costs(READER, database)["items"]
    assert [(row["tool"], row["calls"], row["unpriced_calls"], row["usd"]) for row in items] == [("a", 2, 0, "0.012000"), ("b", 1, 1, None)]
    with pytest.raises(Forbidden):
        read_costs(Actor("key_a", "agent", "default", frozenset()), database)


def test_a_generation_is_summed_exactly_and_keeps_the_raw_usage(database: Database) -> None:
    meter(database, "a", "gen_1")
    meter(database, "a", "gen_1")
    with database.reading() as session:
        spent = spent_on(session, "default", "gen_1")
    assert spent["usd"] == "0.012" and len(spent["calls"]) == 2
    assert spent["calls"][0]["raw"] == {"input_tokens": 1000, "output_tokens": 100, "service_tier": "standard"}
    assert generation_usd(database, "default", "gen_1") == Decimal("0.012")
    meter(database, "a", "gen_1", "nobodys")
    assert generation_usd(database, "default", "gen_1") is None
    assert generation_usd(database, "default", None) is generation_usd(database, "default", "gen_9") is None
