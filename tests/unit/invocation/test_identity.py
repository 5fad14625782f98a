"""Which earlier call a call repeats, as a pure function of who calls, the spec, the arguments and the key."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.actor import Actor
from app.core.errors import Invalid
from app.invocation.identity import check_key, identity_of, natural_key
from tests.support.published import counter_spec

ADA = Actor("key_ada", "ada", "default", frozenset())
BOB = Actor("key_bob", "bob", "default", frozenset())
ELSEWHERE = Actor("key_ada", "ada", "other", frozenset())
ARGS = {"group": "g", "to": ["a"]}


def ident(actor: Actor, key: str | None, **changes: Any) -> str | None:
    found = identity_of(actor, counter_spec(**changes), ARGS, key)
    return found.id if found else None


def test_without_any_key_every_call_is_a_new_one() -> None:
    assert ident(ADA, None) is None


def test_a_callers_key_is_its_own_and_a_specs_key_is_everybodys() -> None:
    assert len({ident(ADA, "k"), ident(BOB, "k"), ident(ELSEWHERE, "k"), ident(ADA, "l")}) == 4
    by_spec = {ident(actor, None, _run_key="[args.group]") for actor in (ADA, BOB)}
    assert len(by_spec) == 1 and None not in by_spec
    assert ident(ELSEWHERE, None, _run_key="[args.group]") not in by_spec
    assert ident(ADA, "k", _run_key="[args.group]") == ident(ADA, "k")


def test_the_fingerprint_is_of_the_arguments_in_canonical_form() -> None:
    spec = counter_spec()
    first = identity_of(ADA, spec, {"group": "g", "to": ["a"], "n": 1.0}, "k")
    same = identity_of(ADA, spec, {"n": 1, "to": ["a"], "group": "g"}, "k")
    other = identity_of(ADA, spec, {"n": 2, "to": ["a"], "group": "g"}, "k")
    assert first == same and first is not None and other is not None and first.fingerprint != other.fingerprint
    assert first.ttl_ms == 86_400_000


def test_a_key_that_cannot_be_made_or_kept_is_refused() -> None:
    with pytest.raises(Invalid, match="key_unusable"):
        natural_key(counter_spec(_run_key="[args.to]"), ARGS)
    for key in ("k" * 201, "a\nb", "\x00"):
        with pytest.raises(Invalid, match="idempotency_key_invalid"):
            check_key(key)
    assert check_key("") is None and check_key("ü-1") == "ü-1"
