"""Which item follows which: where one effect of an item depends on another effect of it, another item must not pay for its refusal.

Seen by comparing two schedules: with the first item refused another row is missing than with the last one refused.

It refuses to be: a guess at what depends on what. It speaks only where there are as many rows of the one as of the other, and one is
missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.verification.disturbed import Disturbed
from app.verification.findings import Finding
from app.verification.stage import Key
from app.verification.wording import found, named


def judge_pairs(seen: Sequence[Disturbed]) -> Iterator[Finding]:
    """Schedules of one example that refuse the first and the last item of an effect, and miss the same row of another effect."""
    refused = [one for one in seen if one.schedule.kind == "refuse_for_good" and one.schedule.target is not None]
    for first in refused:
        for last in refused:
            if first.schedule.place == "first" and last.schedule.place == "last" and _belong(first, last):
                yield from _same_row(first, last)


def _belong(first: Disturbed, last: Disturbed) -> bool:
    return first.clean is last.clean and _effect(first) == _effect(last)


def _same_row(first: Disturbed, last: Disturbed) -> Iterator[Finding]:
    clean = first.clean
    number = sum(key[0] == _effect(first) for key in clean.done)
    for other in {key[0] for key in clean.done} - {_effect(first)}:
        rows = [key for key in clean.done if key[0] == other]
        missing = [_missing(rows, seen) for seen in (first, last)]
        if len(rows) == number and missing[0] == missing[1] and len(missing[0]) == 1:
            row = named(missing[0][0])
            message = f"Whether the first or the last {_effect(first)!r} of example {clean.example.name!r} is refused, {row} is left out."
            yield found(clean.example, "wrong_item_follows", message, "each its own", row)


def _missing(rows: Sequence[Key], seen: Disturbed) -> list[Key]:
    return [key for key in rows if key not in seen.ledger]


def _effect(seen: Disturbed) -> str:
    return seen.schedule.target[0] if seen.schedule.target is not None else ""
