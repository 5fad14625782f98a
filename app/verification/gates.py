"""The table of gates: what there is, in the order of a report, cheapest first; what each is handed of a candidate.

It refuses to be: code. A gate's own module says what it does; this says which gates stand and what they build on.
"""

from __future__ import annotations

from app.verification.annotations_gate import SOURCES, check_annotations
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

_FILES = frozenset({"tool.py", "test_tool.py"})
_TOOL = frozenset({"tool.py"})
_NO_FILE = frozenset[str]()

GATES: tuple[Gate, ...] = (
    Gate("spec", (), check_spec, 30, _FILES, takes=0.2),
    Gate("imports", ("spec",), check_imports, 60, _FILES, takes=0.1, ahead=True),
    Gate("ruff", ("spec",), check_ruff, 60, _FILES, takes=0.1),
    Gate("mypy", ("spec",), check_mypy, 60, _TOOL, takes=0.6),
    Gate("examples", ("imports",), check_examples, 300, _TOOL, takes=0.6),
    Gate("properties", ("examples",), check_properties, 180, _TOOL, takes=1.5),
    Gate("effects", ("examples",), check_effects, 300, _TOOL, takes=3),
    Gate("policy", ("imports",), check_policy, 120, _TOOL, ("imports",), takes=0.7),
    Gate("tests", ("imports",), check_tests, 120, _FILES, takes=0.5, facts_of=_TOOL),
    Gate("mutation", ("tests",), check_mutation, 180, _FILES, takes=2.5, ahead=True, facts_of=_TOOL),
    Gate("path", ("examples",), check_path, 120, _TOOL, takes=0.4),
    Gate("compatibility", ("spec",), check_compatibility, 30, _NO_FILE | {"replaces"}, takes=0.05),
    Gate("rollback", ("examples",), check_rollback, 180, _TOOL | {"replaces"}, takes=0.7),
    Gate("cost", ("path",), check_cost, 30, _NO_FILE | {"generation_usd"}, ("path",), takes=0.2),
    Gate("annotations", SOURCES, check_annotations, 30, _NO_FILE, SOURCES, takes=0.01),
)
