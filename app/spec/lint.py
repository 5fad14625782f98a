"""The spec lint: a table of rules over a whole spec. Every problem has its JSON path, what is wrong and how to mend it.

It refuses to be: lenient, or to run in the service on a spec that is not published (`checking` starts a child for that).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from app.core.errors import Problem
from app.spec import lint_effects, lint_examples
from app.spec.catalog import ConnectorCatalog
from app.spec.lint_effects import Rule
from app.spec.model import RESERVED_PREFIX, ExecutionSpec
from app.spec.schema_rules import schema_problems
from app.spec.shape import read_shape

MOST_PROBLEMS = 100


def lint(body: Any, catalog: ConnectorCatalog) -> tuple[ExecutionSpec | None, list[Problem]]:
    """The value and no problem, or what is wrong: the shape first, then the schemas, then what stands on them."""
    spec, problems = read_shape(body)
    if spec is None:
        return None, problems[:MOST_PROBLEMS]
    problems = schema_problems(spec.inputs, "$.inputs") + schema_problems(spec.outputs, "$.outputs")
    problems += [problem for rule in PLAIN_RULES for problem in rule(spec, catalog)]
    if not problems:  # the rest looks into the schemas and would only echo what is wrong with them
        problems = [problem for rule in RULES_ON_SCHEMAS for problem in rule(spec, catalog)]
    if not problems:
        problems = [problem for rule in RULES_ON_EXAMPLES for problem in rule(spec, catalog)]
    return (None, problems[:MOST_PROBLEMS]) if problems else (spec, [])


def reserved_names(spec: ExecutionSpec, _catalog: ConnectorCatalog) -> Iterator[Problem]:
    """Names that the platform keeps for itself."""
    if spec.name.startswith(RESERVED_PREFIX):
        yield Problem("$.name", f"the prefix {RESERVED_PREFIX} is reserved for the platform's own tools", "Choose another name.")


def unique_ids(spec: ExecutionSpec, _catalog: ConnectorCatalog) -> Iterator[Problem]:
    """Ids are unique among reads and effects together, among invariants, and example names among examples."""
    ports = [("reads", read.id) for read in spec.reads] + [("effects", effect.id) for effect in spec.effects]
    groups: list[tuple[str, list[tuple[str, str]]]] = [
        ("id", ports),
        ("id", [("invariants", invariant.id) for invariant in spec.invariants]),
        ("name", [("examples", example.name) for example in spec.examples]),
    ]
    for label, entries in groups:
        counts = Counter(name for _, name in entries)
        seen: Counter[str] = Counter()
        for kind, name in entries:
            seen[name] += 1
            if counts[name] > 1 and seen[name] == counts[name]:
                yield Problem(f"$.{kind}", f"the {label} {name!r} is used {counts[name]} times", f"Give each its own {label}.")


def repeated_permissions(spec: ExecutionSpec, _catalog: ConnectorCatalog) -> Iterator[Problem]:
    """A permission is named once."""
    for name, count in Counter(spec.permissions).items():
        if count > 1:
            yield Problem("$.permissions", f"{name!r} is named {count} times", "Name it once.")


def sane_retries(spec: ExecutionSpec, _catalog: ConnectorCatalog) -> Iterator[Problem]:
    """All retries of one item together fit into three days; a later one is a new decision, not a retry."""
    for index, effect in enumerate(spec.effects):
        retry, path = effect.retry, f"$.effects[{index}].retry"
        if retry.max_delay_s < retry.initial_delay_s:
            yield Problem(f"{path}.max_delay_s", "is less than initial_delay_s", "Raise max_delay_s or lower initial_delay_s.")
        delays = [min(retry.max_delay_s, retry.initial_delay_s * retry.factor**attempt) for attempt in range(retry.max_attempts - 1)]
        if sum(delays) > 3 * 86_400:
            yield Problem(path, f"retries may go on for {sum(delays) / 3600:.0f} hours", "Stay within 72 hours: fewer or shorter waits.")


PLAIN_RULES: tuple[Rule, ...] = (
    reserved_names,
    unique_ids,
    repeated_permissions,
    sane_retries,
    lint_effects.known_connectors,
    lint_effects.undo_or_reason,
)
RULES_ON_SCHEMAS: tuple[Rule, ...] = (
    lint_effects.keys_make_sense,
    lint_effects.ledgers_make_sense,
    lint_effects.undo_makes_sense,
    lint_effects.run_key_makes_sense,
    lint_examples.invariants_name_what_exists,
)
RULES_ON_EXAMPLES: tuple[Rule, ...] = (
    lint_examples.at_least_one_example,
    lint_examples.examples_fit,
    lint_examples.invariants_hold_in_examples,
)
