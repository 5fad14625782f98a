"""How far a row of beginnings is ahead of a limit a second.

It refuses to be: a count within a second. A machine that is held up writes many moments down at once; none of them is early for that.
"""

from __future__ import annotations

from collections.abc import Sequence

EARLY_S = 0.06
"""A limit's first place may lie this long back (`SLACK_US`), with a little for times that are rounded to milliseconds."""


def early_by(times: Sequence[float], rate: float, began: float) -> float:
    """By how many seconds the earliest of `times` comes before its place, where `rate` places a second lie evenly from `began` on."""
    return max(began + number / rate - at for number, at in enumerate(sorted(times)))
