"""A tool that names connections is verified where nobody has named them: its twins connect to nothing."""

from __future__ import annotations

from pathlib import Path

from app.verification.examples_gate import check_examples
from app.verification.path_gate import check_path
from tests.support.bench import Lab, subject
from tests.support.specimens import SPEC, specimen_spec

NAMED = [{**effect, "config": {**effect["config"], "connection": "mail"}} for effect in SPEC["effects"]]


def test_a_tool_that_names_a_connection_takes_the_whole_path_without_it(lab: Lab, scratch: Path) -> None:
    candidate = subject(spec=specimen_spec(effects=NAMED))
    assert lab.ask(check_examples, candidate, scratch).passed
    outcome = lab.ask(check_path, candidate, scratch)
    assert outcome.passed and not outcome.findings, outcome.findings
