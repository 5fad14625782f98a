"""A version is compared with the one that it replaces."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

from app.spec.model import ExecutionSpec
from app.verification.compatibility_gate import check_compatibility
from app.verification.subject import Replaced
from tests.support.bench import Lab, rules, subject
from tests.support.specimens import SPEC


def test_a_first_version_replaces_nothing_and_passes(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_compatibility, subject(), scratch)
    assert outcome.passed and outcome.evidence["replaces"] is None


def test_a_changed_key_is_refused_and_a_breaking_change_is_told(lab: Lab, scratch: Path) -> None:
    body = copy.deepcopy(SPEC)
    body["effects"][0]["key"] = "[args.campaign, item.to, item.subject]"
    body["inputs"]["properties"]["campaign"]["maxLength"] = 1000
    before = Replaced(4, ExecutionSpec.model_validate(body, strict=False))
    outcome = lab.ask(check_compatibility, replace(subject(), replaces=before), scratch)
    assert rules(outcome.findings) == ["breaking_change", "key_changed"] and not outcome.passed
    assert outcome.evidence["replaces"] == 4 and outcome.evidence["kept"] == {"keys": False}
    assert "give the effect a new id" in outcome.findings[1].fix
    assert "What version 4 has done is not known under the new key" in outcome.findings[1].message
