"""Which rows belong to which items: by what they say, not by how many there are."""

from __future__ import annotations

import pytest

from app.verification.pairing import is_one_each

LETTERS = [["o1", "ann@example.com", "Order o1"], ["o2", "bob@example.com", "Order o2"]]


@pytest.mark.parametrize(
    ("rows", "items", "expected"),
    [
        ([["o1", "sent"], ["o2", "sent"]], LETTERS, True),
        ([["invoices/o2.pdf"], ["invoices/o1.pdf"]], [["o1"], ["o2"]], True),
        ([["begun"], ["all sent"]], LETTERS, False),
        ([["o1"], ["o1 again"]], LETTERS, False),
        ([["o1"]], LETTERS, False),
        ([["o1 and o2"], ["o2"]], [["o1"], ["o2"]], False),
    ],
    ids=["by a key", "by a part of a text", "of all together", "both of one", "one alone", "of both"],
)
def test_rows_belong_to_items_where_each_tells_of_one_of_its_own(rows: list[list[str]], items: list[list[str]], expected: bool) -> None:
    assert is_one_each(rows, items) is expected
