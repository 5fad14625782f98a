"""What a policy must stop, as attempts: programs made of the candidate that ask for what they may not have.

Each is the candidate itself with one thing changed: an effect taken out of its spec, a limit one lower than what the example does, a key
that no item has, code of ours that asks for more than the spec declares or smuggles lines into its items.

It refuses to be: a guess at what a tool intends. The host must refuse each whatever the tool is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from app.runtime.program import Program
from app.spec.catalog import ConnectorKind
from app.spec.model import Effect, Example, ExecutionSpec
from app.verification.subject import Subject
from app.verification.wrapping import wrapped

PROBE = "toolmint_probe"
MOST_STRIPPED = 4
"""In how many examples that do it an effect is taken out of the spec: a tool may ask for it in several places."""

SMUGGLED = "\r\nBcc: toolmint-probe@example.com"
"""What turns one line of a mail into two, and its second recipient."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing that a program asks for: `kind` is `perform` or `read`, `asked` the id, `code` how it must be refused.

    `most` is how many effects of that id may be there all the same: those within a limit. `holding`: only those whose item holds this
    field count, where the tool itself goes on to do the effect. `ends`: a run that was refused this must not end with a result.
    """

    name: str
    kind: str
    asked: str
    code: str
    most: int = 0
    holding: str | None = None
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """A program and the calls that it is run with, in turn until one comes to ask; each of `asks` must be refused.

    `certain`: one of the calls does ask, unless the tool is broken.
    """

    program: Program
    examples: tuple[Example, ...]
    asks: tuple[Ask, ...]
    certain: bool = True


def attempts(subject: Subject) -> Iterator[Attempt]:
    """Every attempt on this candidate: one with what nobody declared, one for each read, a few for each effect of an example."""
    yield _undeclared(subject)
    yield from _unread(subject)
    for effect in subject.spec.effects:
        doing = _doing(subject.spec, effect.id)
        if not doing:
            continue
        stripped, example = tuple(other for other in subject.spec.effects if other.id != effect.id), doing[0]
        for number, each in enumerate(doing[:MOST_STRIPPED], 1):
            name = f"stripped_{effect.id}" + (f" {number}" if number > 1 else "")
            ask = Ask(name, "perform", effect.id, "effect_undeclared", ends=True)
            yield replace(_with(subject, stripped, each, ask), certain=number == 1)
        done = sum(expected.id == effect.id and expected.status == "done" for expected in example.effects)
        if done:
            tight = effect.model_copy(update={"limits": effect.limits.model_copy(update={"per_run": done - 1})})
            over = Ask(f"limit_{effect.id}", "perform", effect.id, "effect_limit_exceeded", most=done - 1)
            yield _with(subject, _swapped(subject.spec, tight), example, over)
            keyless = effect.model_copy(update={"key": f"[item.{PROBE}]", "ledger": None})
            missing = Ask(f"keyless_{effect.id}", "perform", effect.id, "key_unusable")
            yield _with(subject, _swapped(subject.spec, keyless), example, missing)
            yield from _smuggling(subject, effect, example)


def _undeclared(subject: Subject) -> Attempt:
    """Asks that need nothing of the tool's own: an effect and a read that nobody declared, an item that is none."""
    effects = {PROBE: {"to": "nobody@example.com"}} | {effect.id: {PROBE: True} for effect in subject.spec.effects}
    asks = [
        Ask("undeclared_perform", "perform", PROBE, "effect_undeclared"),
        Ask("undeclared_read", "read", PROBE, "read_undeclared"),
        *(Ask(f"misfit_{effect.id}", "perform", effect.id, "item_invalid", holding=PROBE) for effect in subject.spec.effects),
    ]
    program = _probing(subject, f"asking(run, {effects!r}, { ({PROBE: {'key': 'x'}})!r})")
    return Attempt(program, subject.spec.examples[:1], tuple(asks))


def _unread(subject: Subject) -> Iterator[Attempt]:
    """Each read taken out of the spec: a tool that goes on without what it was to look at is worse than one that ends."""
    telling = [example for example in subject.spec.examples if example.result is not None]
    examples = tuple(sorted(telling, key=lambda example: (example.visibility == "held_out", -len(example.effects))))
    for read in subject.spec.reads:
        reads = tuple(other for other in subject.spec.reads if other.id != read.id)
        program = subject.program(spec=subject.spec.model_copy(update={"reads": reads, "invariants": ()}))
        yield Attempt(program, examples, (Ask(f"stripped_{read.id}", "read", read.id, "read_undeclared", ends=True),), certain=False)


def _smuggling(subject: Subject, effect: Effect, example: Example) -> Iterator[Attempt]:
    """What a hostile record or template would put into the lines of an item, for connectors whose items have lines."""
    kind = subject.catalog.get(effect.connector)
    fields = line_fields(kind) if kind is not None else ()
    if fields:
        program = _probing(subject, f"smuggling(run, {effect.id!r}, {fields!r}, {SMUGGLED!r})")
        yield Attempt(program, (example,), (Ask(f"smuggled_{effect.id}", "perform", effect.id, "item_invalid"),))


def line_fields(kind: ConnectorKind) -> tuple[str, ...]:
    """The fields of an item that are one line: addresses, and texts whose pattern lets no line break pass."""
    properties: dict[str, Any] = dict(kind.item_schema.get("properties", {}))
    single = {name for name, schema in properties.items() if "pattern" in schema and not re.search(schema["pattern"], SMUGGLED)}
    return tuple(sorted(single | (properties.keys() & set(kind.canonical_fields))))


def _with(subject: Subject, effects: tuple[Effect, ...], example: Example, ask: Ask) -> Attempt:
    """The candidate under a spec with other effects, and without invariants that might speak of them."""
    spec = subject.spec.model_copy(update={"effects": effects, "invariants": ()})
    return Attempt(subject.program(spec=spec), (example,), (ask,))


def _probing(subject: Subject, run: str) -> Program:
    tool = wrapped(subject.files["tool.py"], "probe", run)
    return subject.program(spec=subject.spec.model_copy(update={"invariants": ()}), tool=tool)


def _swapped(spec: ExecutionSpec, changed: Effect) -> tuple[Effect, ...]:
    return tuple(changed if effect.id == changed.id else effect for effect in spec.effects)


def _doing(spec: ExecutionSpec, effect_id: str) -> list[Example]:
    """The examples that do the effect, then those that ask for it at least; those that authors may see come first."""

    def rank(example: Example) -> tuple[bool, bool]:
        done = any(expected.id == effect_id and expected.status == "done" for expected in example.effects)
        return not done, example.visibility == "held_out"

    asking = [example for example in spec.examples if any(expected.id == effect_id for expected in example.effects)]
    return sorted(asking, key=rank)
