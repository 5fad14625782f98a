"""What is read past where runs at different times are compared, and which times those are."""

from __future__ import annotations

import pytest

from app.core.clock import SystemClock, from_iso
from app.verification.times import other_instant, timeless
from tests.support.specimens import specimen_spec


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T09:00:00+00:00",
        "2026-03-01T09:00:00.000Z",
        "2026-03-01",
        "20260301T090000Z",
        "01.03.2026",
        "9:00:03",
        "1772355600",
        "1772355600123",
        "12 seconds",
    ],
)
def test_a_time_is_read_past_and_what_stands_around_it_is_not(text: str) -> None:
    assert timeless(f"at {text}, to Ann") == "at <time>, to Ann"


@pytest.mark.parametrize("text", ["100 EUR", "DE89 3704 0044 0532 0130 00", "INV-31415926", "+49 151 23456789", "3.50", "1.2", "v1.2.3"])
def test_amounts_and_numbers_are_no_times(text: str) -> None:
    assert timeless(text) == text


def test_the_other_instant_is_in_the_present_or_later_and_far_from_the_example() -> None:
    (example,) = specimen_spec().examples[:1]
    present = SystemClock().now() // 1000 * 1000
    instants = [from_iso(other_instant(example, str(number))) for number in range(20)]
    assert all(at >= present and at % 1000 == 0 for at in instants)
    assert len(set(instants)) > 5
    fresh = example.model_copy(update={"now": other_instant(example, "0")})
    assert all(from_iso(other_instant(fresh, str(number))) > from_iso(fresh.now) + 86_400_000 // 2 for number in range(20))
