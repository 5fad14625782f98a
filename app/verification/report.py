"""The report: what every gate saw and what the rubric makes of it, as one JSON value.

It refuses to be: edited. Whoever stores it digests it; publishing reads `publishable` from that very text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.verification.against import against
from app.verification.findings import GateResult
from app.verification.rubric import Thresholds, score
from app.verification.subject import Replaced
from app.verification.toolchain import toolchain


def assemble(
    candidate_id: str, candidate_digest: str, results: Sequence[GateResult], thresholds: Thresholds, replaces: Replaced | None = None
) -> dict[str, Any]:
    """The report as REST answers it. Publishable: every gate passed, and every dimension has its evidence and reaches its threshold.

    `difference` is what changed against the version that `replaces` names (see `against`), null for a first version.
    """
    rubric = score(results, thresholds)
    passed = bool(results) and all(result.status == "passed" for result in results)
    report = {
        "candidate_id": candidate_id,
        "digest": candidate_digest,
        "publishable": passed and all(dimension.passed for dimension in rubric),
        "gates": [result.as_dict() for result in results],
        "rubric": [dimension.as_dict() for dimension in rubric],
        "verified_with": toolchain(),
    }
    return {**report, "difference": against(replaces.version, replaces.report, report) if replaces is not None else None}
