"""How long a server asks to be left alone: whatever it writes, reading it raises nothing."""

from __future__ import annotations

import pytest

from app.connectors.http_exchange import Answered
from app.connectors.http_kind import judge, retry_after_ms


@pytest.mark.parametrize(
    ("text", "wait_ms"),
    [("120", 120_000), ("0", 0), ("9" * 5000, 86_400_000), ("", None), ("soon", None), ("Mon, 01 Jan 2020 00:00:00 GMT", 0)],
)
def test_seconds_and_dates_are_read_and_bounded(text: str, wait_ms: int | None) -> None:
    assert retry_after_ms(text) == wait_ms


@pytest.mark.parametrize("text", ["9" * 5000, "Mon, 01 Jan 2020 00:00:00 +" + "9" * 30])
def test_what_was_done_is_done_whatever_the_header_says(text: str) -> None:
    assert judge({}, Answered(200, "OK", {"retry-after": text}, b"", whole=True)).verdict == "done"
