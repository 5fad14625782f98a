"""Which text can be stored and sent on."""

from __future__ import annotations

import pytest

from app.core.texts import is_unicode, text_problems


@pytest.mark.parametrize(
    ("text", "said"), [("a\0", "holds a NUL character"), ("\ud800", "holds half of a surrogate pair"), ("\U0001f600", "")]
)
def test_a_field_that_cannot_be_stored_is_named(text: str, said: str) -> None:
    assert [(found.path, found.message) for found in text_problems([("plain", "é\n"), ("number", 1), ("odd", text)])] == (
        [("$.odd", said)] if said else []
    )


def test_half_a_surrogate_pair_is_found_at_any_depth() -> None:
    assert is_unicode({"a": ["é", {"b": "\U0001f600"}]})
    assert not is_unicode({"a": [{"b": "\udfff"}]}) and not is_unicode({"\ud800": 1})
