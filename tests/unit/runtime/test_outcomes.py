"""What a tool is told of an effect that is there already."""

from __future__ import annotations

import pytest

from app.runtime.performing import error_text, outcome_of


@pytest.mark.parametrize("state", ["failed", "dead", "retry_wait", "planned", "unknown"])
def test_a_duplicate_is_told_why_in_the_words_in_which_the_first_was(state: str) -> None:
    error = error_text("smtp_450", "4.2.1 in a server's own words")
    first, again = outcome_of(state, None, error), outcome_of(state, None, error, status="duplicate")
    assert again == {**first, "status": "duplicate"} and first["error"]["message"] not in ("", "4.2.1 in a server's own words")


def test_what_is_done_has_no_error_however_it_is_told() -> None:
    error = error_text("smtp_timeout", "the server did not answer in time")
    for status in (None, "skipped", "duplicate"):
        assert "error" not in outcome_of("done", "{}", error, status=status)
