"""What a model call costs, from the price list that is installed; the network is never asked.

Numbers come from the package genai-prices (MIT), whose version is stored beside each amount, so that an old amount can be
explained. A model that it does not know has no price: None, never zero.

It refuses to be: a converter between the ways in which providers count. Cached tokens are inside `input_tokens` there and
outside in the provider's answer, so raw usage goes in whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from typing import Any

PROVIDER = "anthropic"


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars, None where the price is unknown, and the list that it was read from (`genai-prices 0.2.3`)."""

    usd: Decimal | None
    prices: str

    @property
    def text(self) -> str | None:
        """The amount in plain decimal notation."""
        return None if self.usd is None else format(self.usd.normalize(), "f")


def price_of(model: str, raw: Mapping[str, Any]) -> Price:
    """The price of one call by the usage object of its answer, caches and searches included."""
    import genai_prices  # a quarter of a second, which no start-up should pay

    try:
        found = genai_prices.extract_usage({"model": model, "usage": dict(raw)}, provider_id=PROVIDER)
        return Price(found.calc_price().total_price, list_version())
    except (LookupError, ValueError):  # a model that the list lacks; a usage object without token counts
        return Price(None, list_version())


def price_of_tokens(model: str, input_tokens: int, output_tokens: int) -> Price:
    """The price of one call without caches, for estimates."""
    return price_of(model, {"input_tokens": input_tokens, "output_tokens": output_tokens})


@lru_cache(maxsize=1)
def list_version() -> str:
    """The name and version of the price list."""
    return f"genai-prices {version('genai-prices')}"
