"""What tells of a person in an example, and an example whose people can be told by a mark wherever a part of them turns up.

An address or a name cut into pieces, spelt otherwise or put into a sentence is no longer the text that the example holds. So each word of
a name and each address is given a mark that no code would make by itself, the same everywhere, and then it is enough to look for the mark.

It refuses to be: a detector of personal data. It knows what the example holds, and looks for that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from app.runtime.journal import encode
from app.spec.model import Example
from app.verification.leaves import leaves

MARK = "zqxv"
_PERSON = "name|(?:first|last|full|given|family|customer|contact|recipient|person|user|display)_?name|surname|(?:first|last)"
_NAMED = re.compile(rf"^(?:{_PERSON}|street|address)$")
_FIELD = re.compile(
    rf"^(?:{_PERSON})$|(?:^|_)(?:surname|e?mail|phone|mobile|address|street|city|zip|iban|card|birth\w*|ssn|tax_?(?:id|number))(?:$|_)"
)
_ADDRESS = re.compile(r"[^\s@,;:<>()\"'\[\]]+@[^\s@,;:<>()\"'\[\]]+\.[^\W\d_]{2,}")
_NUMBER = re.compile(r"(?<![\w.])(?:\+|0)[0-9][0-9 ()/-]{5,}[0-9]")
_NO_NUMBER = re.compile(r"^[0-9]{4}-[0-9]{2}(?:-[0-9]{2})?$")
_WORD = re.compile(r"[^\W\d_]+")
_FEWEST = 4
"""Characters below which a text is no evidence: it may stand anywhere by chance."""


def personal_values(example: Example) -> set[str]:
    """Texts of the example's world and arguments that tell of a person: addresses, phone numbers, and fields that are named for such."""
    found: set[str] = set()
    for name, text in _texts(example):
        found.update(match.group() for match in _ADDRESS.finditer(text))
        found.update(match.group().strip() for match in _NUMBER.finditer(text) if not _NO_NUMBER.match(text))
        if _FIELD.search(name):
            found.add(text)
    return {text for text in found if len(text) >= _FEWEST}


def marked(example: Example) -> Example:
    """The example with a mark in each address and in each word of each name, wherever it stands: records, keys, arguments, script."""
    names = {text for name, text in _texts(example) if _NAMED.match(name) and _WORD.search(text)}

    def swap(text: str) -> str:
        if text in names and not _ADDRESS.search(text):
            return _WORD.sub(lambda word: MARK + word.group(), text)
        return _ADDRESS.sub(lambda address: MARK + address.group(), text)

    body = example.model_dump(mode="json")
    world = {**body["world"], "records": _swapped(body["world"]["records"], swap), "script": _swapped(body["world"]["script"], swap)}
    return example.model_copy(update={"args": _swapped(body["args"], swap), "world": example.world.model_validate(world, strict=False)})


def tells_of(line: Any, private: set[str]) -> bool:
    """Whether what a tool has logged holds one of these texts, in any case, or a mark, or the digits of one of these numbers."""
    said = encode(line).lower()
    if MARK in said or any(encode(text)[1:-1].lower() in said for text in private):
        return True
    numbers = {_digits(text) for text in private if _NUMBER.fullmatch(text)}
    return any(number in _digits(leaf) for _, leaf in leaves(line) if isinstance(leaf, str) for number in numbers)


def _texts(example: Example) -> Iterator[tuple[str, str]]:
    """Each text of the example's records and arguments with the name of the field that it stands in, in small letters."""
    bodies = (record.body for records in example.world.records.values() for record in records)
    for value in (*bodies, example.args):
        for place, leaf in leaves(value):
            if isinstance(leaf, str):
                yield next((step.lower() for step in reversed(place) if isinstance(step, str)), ""), leaf


def _swapped(value: Any, swap: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _swapped(part, swap) for key, part in value.items()}
    if isinstance(value, list):
        return [_swapped(part, swap) for part in value]
    return swap(value) if isinstance(value, str) else value


def _digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", text)
