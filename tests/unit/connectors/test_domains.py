"""What a recipient domain has said that it takes: a rest after it said that it is too much, then one mail first."""

from __future__ import annotations

import pytest

from app.connectors import domains
from app.connectors.domains import FIRST_REST_S, Domains


class Time:
    """A clock that the test moves."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(domains, "time", made)  # the test moves it
    return made


def test_where_nothing_was_said_everything_begins_at_once(time: Time) -> None:
    made = Domains()
    assert all(made.take("a.example") for _ in range(100))
    assert made.ready_in("a.example") == made.ready_in("b.example") == 0


def test_a_domain_that_wants_less_rests_longer_each_time_and_then_takes_one_first(time: Time) -> None:
    made = Domains()
    assert made.take("a.example") and made.take("a.example")
    made.said_too_much("a.example")
    made.said_too_much("a.example")  # the other one on its way: the same no
    assert not made.take("a.example")
    assert made.ready_in("a.example") == round(FIRST_REST_S * 1000) + 1
    made.give_back("a.example")
    made.give_back("a.example")
    time.now += FIRST_REST_S
    assert [made.take("a.example") for _ in range(2)] == [True, False]
    assert 0 < made.ready_in("a.example") < 100, "the one that went first may be back any moment"
    assert made.take("b.example")
    made.said_too_much("a.example")
    assert made.ready_in("a.example") == round(2 * FIRST_REST_S * 1000) + 1
    made.give_back("a.example")
    time.now += 2 * FIRST_REST_S
    assert made.take("a.example")
    made.went_well("a.example")
    assert made.take("a.example")


def test_no_rest_is_longer_than_five_minutes(time: Time) -> None:
    made = Domains()
    for _ in range(30):
        made.said_too_much("a.example")
        time.now += domains.LONGEST_REST_S
    made.said_too_much("a.example")
    assert made.ready_in("a.example") == domains.LONGEST_REST_S * 1000 + 1


def test_what_is_known_of_many_domains_stays_small(time: Time) -> None:
    made = Domains()
    for number in range(30_000):
        assert made.take(f"d{number}.example")
        made.said_too_much(f"d{number}.example")
        if number % 1000:
            made.give_back(f"d{number}.example")
        time.now += 0.3  # its rest is over, and with the next mail so is its caution
        made.went_well(f"d{number}.example")
    assert len(made._domains) <= 10_000
    assert made._domains.keys() >= {f"d{number}.example" for number in range(0, 30_000, 1000)}, "what is on its way is known"


def test_what_a_domain_said_is_forgotten_where_nothing_was_tried_for_as_long_as_it_may_rest(time: Time) -> None:
    made = Domains()
    for number in range(30_000):
        assert made.take(f"d{number}.example")
        made.said_too_much(f"d{number}.example")
        made.give_back(f"d{number}.example")
        time.now += 1
    assert len(made._domains) <= 10_000
    lately = range(29_701, 30_000)
    assert made._domains.keys() >= {f"d{number}.example" for number in lately}


def test_many_domains_that_rest_are_looked_through_only_as_their_number_doubles(time: Time) -> None:
    made = Domains()
    looked = 0
    for number in range(45_000):
        before = made._domains
        assert made.take(f"d{number}.example")
        made.said_too_much(f"d{number}.example")
        looked += made._domains is not before
    assert (len(made._domains), looked) == (45_000, 3)  # at 10,000, at 20,000 and at 40,000
