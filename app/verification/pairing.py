"""Which item follows which: where one effect of an item depends on another effect of it, another item must not pay for its refusal.

Seen by comparing two schedules: with the first item refused another row is missing than with the last one refused.

It refuses to be: a guess at what depends on what. It speaks only where there is one row of the one for each of the other, so that each
says something of an item that no other item says, and one is missing. A row that follows from all items together is nobody's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from app.verification.clean import Clean
from app.verification.disturbed import Disturbed
from app.verification.findings import Finding
from app.verification.leaves import leaves
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
    items = [_said(clean, key) for key in clean.done if key[0] == _effect(first)]
    for other in sorted({key[0] for key in clean.done} - {_effect(first)}):
        rows = [key for key in clean.done if key[0] == other]
        missing = [_missing(rows, seen) for seen in (first, last)]
        if missing[0] == missing[1] and len(missing[0]) == 1 and is_one_each([_said(clean, row) for row in rows], items):
            row = named(missing[0][0])
            message = f"Whether the first or the last {_effect(first)!r} of example {clean.example.name!r} is refused, {row} is left out."
            yield found(clean.example, "wrong_item_follows", message, "each its own", row)


def _said(clean: Clean, key: Key) -> list[str]:
    """The texts by which an effect can be told: in its key and its item."""
    return [leaf for _, leaf in leaves([json.loads(key[1]), clean.ledger[key].item]) if isinstance(leaf, str) and leaf]


def is_one_each(rows: Sequence[Sequence[str]], items: Sequence[Sequence[str]]) -> bool:
    """Whether each row tells of one item, by a text that no other item has, and each of another one."""
    told = [_told_of(row, items) or _told_of_in(row, items) for row in rows]
    return all(len(places) == 1 for places in told) and sorted(place for places in told for place in places) == [*range(len(items))]


def _told_of(row: Sequence[str], items: Sequence[Sequence[str]]) -> set[int]:
    """The items in which a text of the row stands that stands in no other."""
    standing = [{place for place, item in enumerate(items) if any(text in said for said in item)} for text in row]
    return {place for places in standing if len(places) == 1 for place in places}


def _told_of_in(row: Sequence[str], items: Sequence[Sequence[str]]) -> set[int]:
    """The items of which a text that no other has stands in a text of the row."""
    own = [set(item).difference(*items[:place], *items[place + 1 :]) for place, item in enumerate(items)]
    return {place for place, texts in enumerate(own) if any(text in said for text in texts for said in row)}


def _missing(rows: Sequence[Key], seen: Disturbed) -> list[Key]:
    return [key for key in rows if key not in seen.ledger]


def _effect(seen: Disturbed) -> str:
    return seen.schedule.target[0] if seen.schedule.target is not None else ""
