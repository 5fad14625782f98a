"""The table of gates: what there is, in the order of a report, cheapest first.

It refuses to be: code. A gate's own module says what it does; this says which gates stand and what they build on.
"""

from __future__ import annotations

from app.verification.compatibility_gate import check_compatibility
from app.verification.cost_gate import check_cost
from app.verification.effects_gate import check_effects
from app.verification.examples_gate import check_examples
from app.verification.line import Gate
from app.verification.mutation_gate import check_mutation
from app.verification.path_gate import check_path
from app.verification.policy_gate import check_policy
from app.verification.properties_gate import check_properties
from app.verification.rollback_gate import check_rollback
from app.verification.static_gates import check_imports, check_mypy, check_ruff, check_spec
from app.verification.tests_gate import check_tests

GATES: tuple[Gate, ...] = (
    Gate("spec", (), check_spec, 30),
    Gate("imports", ("spec",), check_imports, 60),
    Gate("ruff", ("spec",), check_ruff, 60),
    Gate("mypy", ("spec",), check_mypy, 60),
    Gate("examples", ("imports",), check_examples, 300),
    Gate("properties", ("examples",), check_properties, 180),
    Gate("effects", ("examples",), check_effects, 300),
    Gate("policy", ("imports",), check_policy, 120),
    Gate("tests", ("imports",), check_tests, 120),
    Gate("mutation", ("tests",), check_mutation, 180),
    Gate("path", ("examples",), check_path, 120),
    Gate("compatibility", ("spec",), check_compatibility, 30),
    Gate("rollback", ("examples",), check_rollback, 180),
    Gate("cost", ("path",), check_cost, 30),
)
