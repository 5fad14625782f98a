"""What a trial shows an author is what the host does: the same keys, the same spelling of addresses."""

from __future__ import annotations

import random
from typing import Any

import pytest

from app.connectors.address import BadAddress
from app.connectors.address import canonical_address as host_address
from app.core.errors import Invalid
from app.spec.expressions import compile_key
from generated_tools.toolkit._keys import KeyUnusable, key_of
from generated_tools.toolkit._world import Refused, canonical_address

VALUES: tuple[Any, ...] = (
    "",
    "text",
    "ü 💡",
    "it's",
    0,
    -7,
    2**53 - 1,
    1.0,
    True,
    False,
    None,
    1.5,
    [],
    {},
    {"x": "deep"},
    2**53,
    float("inf"),
)
TEXTS = ("[args.a, item.b]", "[ item.b.x,args.a ]", "['v1', args.a]", '["a, b", item.b, 7, -3]', "[item.missing]", "[args.a.x.y]")


def test_keys_are_the_host_s_keys() -> None:
    rng = random.Random(20260302)
    for _ in range(2000):
        text = rng.choice(TEXTS)
        args, item = {"a": rng.choice(VALUES)}, {"b": rng.choice(VALUES)}
        try:
            expected: object = compile_key(text).evaluate(args, item)
        except Invalid:
            expected = KeyUnusable
        try:
            got: object = key_of(text, args, item)
        except KeyUnusable:
            got = KeyUnusable
        assert got == expected, (text, args, item)
        assert str(got) == str(expected)


ADDRESSES = (
    "ann@example.com",
    "  Ann.Lee+News@Example.COM\n",
    "ann@sub.example.co.uk",
    "o'neil_{x}|y@example.com",
    "a\u0308nn@example.com",
    "ann@münchen.example.com",
    "ann@MÜNCHEN.example.com",
    "x" * 64 + "@example.com",
    "",
    "ann",
    "@example.com",
    "ann@",
    "ann@example",
    ".ann@example.com",
    "ann.@example.com",
    "a..n@example.com",
    "a b@example.com",
    "ann@exa mple.com",
    "ann@-example.com",
    "ann@example-.com",
    "ann@example..com",
    "Ann <ann@example.com>",
    "ann@example.com, bob@example.com",
    "x" * 65 + "@example.com",
    "ann@" + "x" * 64 + ".com",
    "ann@" + "x." * 130 + "com",
    "ann@[127.0.0.1]",
    "ann@127.0.0.1",
    '"ann lee"@example.com',
    "ann@exam\x00ple.com",
    "ann@@example.com",
)


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses_are_spelt_as_the_host_spells_them(text: str) -> None:
    try:
        expected: object = host_address(text)
    except BadAddress:
        expected = Refused
    try:
        got: object = canonical_address(text)
    except Refused:
        got = Refused
    assert got == expected
