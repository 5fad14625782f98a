"""CSV of ledgers: what a spreadsheet would take for a formula is text, and nothing is lost."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from app.api.routes.ledgers import COLUMNS, csv_lines

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)


@given(TEXT)
def test_a_cell_never_begins_like_a_formula_and_keeps_its_text(subject: str) -> None:
    text = "".join(csv_lines(iter([{"subject": subject, "receipt": {"id": 1}}])))
    row = next(csv.DictReader(io.StringIO(text, newline="")))
    assert row["subject"].removeprefix("'") == subject.removeprefix("'")
    assert not row["subject"].startswith(("=", "+", "-", "@", "\t", "\r", "\n")) and row["receipt"] == '{"id":1}'


def test_a_ledger_without_rows_is_its_header() -> None:
    assert "".join(csv_lines(iter(()))) == ",".join(COLUMNS) + "\r\n"
