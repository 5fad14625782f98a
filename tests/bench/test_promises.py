"""A promise of the benchmark table that was not kept, or not measured, is told; an aim alone is none."""

from __future__ import annotations

from tests.bench.table import Row, broken_promises


def test_a_ratio_beyond_what_is_promised_is_told_and_an_aim_is_not() -> None:
    kept = Row("sends/s", 90, 100, "/s", "at least 0.8", "the pool", least=0.8)
    slow = Row("sends/s", 70, 100, "/s", "at least 0.8", "the pool", least=0.8)
    long = Row("  again", 40, 20, "ms", "at most 1", "a third of it", most=1)
    aimed, alone = Row("p50", 3, 1, "ms", "1.0", "the peer"), Row("calls/s", 3, 0, "/s", "at least 15", "the peer", least=15)
    assert broken_promises([kept, slow, long, aimed, alone]) == [
        "sends/s: 0.70 of the pool, where at least 0.8 is promised",
        "again: 2.00 of a third of it, where at most 1 is promised",
        "calls/s: held against nothing, where at least 15 is promised",
    ]
