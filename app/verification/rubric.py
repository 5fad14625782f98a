"""The rubric: six dimensions, 0 to 1, each computed from what named gates measured on this very candidate.

A dimension is a weighted mean of parts; a part reads one fact of one gate's evidence. A part whose gate has not run, or has not noted its
fact, counts nothing and blocks the dimension: no evidence, no publication. Thresholds are settings; there is no waiver.

It refuses to be: an opinion. No score is given by a person or a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.settings import Settings
from app.verification.findings import GateResult

WARNING_COSTS = 0.05
FINDINGS = "findings"


@dataclass(frozen=True, slots=True)
class Part:
    """One source of a dimension: a fact of a gate, how it becomes 0 to 1, how much it weighs."""

    gate: str
    fact: str
    weight: float
    value: Callable[[GateResult], float | None]


@dataclass(frozen=True, slots=True)
class Dimension:
    """`evidence` links each part that counted: `{"gate", "fact", "value", "weight", "at"}`, where `at` is the JSON Pointer (RFC 6901) of
    the fact in the report; `missing` names the parts that had none.
    """

    dimension: str
    score: float
    threshold: float
    passed: bool
    evidence: tuple[Mapping[str, Any], ...]
    missing: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "dimension": self.dimension,
            "score": self.score,
            "threshold": self.threshold,
            "passed": self.passed,
            "evidence": [dict(link) for link in self.evidence],
            "missing": list(self.missing),
        }


Thresholds = Mapping[str, float]


def thresholds_of(settings: Settings) -> Thresholds:
    """The six thresholds, from settings."""
    return {name: getattr(settings, f"rubric_{name}") for name in DIMENSIONS}


def score(results: Sequence[GateResult], thresholds: Thresholds) -> list[Dimension]:
    """Every dimension, in the rubric's order."""
    return [_score(name, parts, results, thresholds[name]) for name, parts in DIMENSIONS.items()]


def _score(name: str, parts: Sequence[Part], results: Sequence[GateResult], threshold: float) -> Dimension:
    places = {result.gate: place for place, result in enumerate(results)}
    evidence: list[Mapping[str, Any]] = []
    missing: list[str] = []
    for part in parts:
        result = results[places[part.gate]] if part.gate in places else None
        value = part.value(result) if result is not None and result.status != "skipped" else None
        if value is None:
            missing.append(f"{part.gate}.{part.fact}")
        else:
            at = f"/gates/{places[part.gate]}/{part.fact if part.fact == FINDINGS else f'evidence/{part.fact}'}"
            counted = round(min(1.0, max(0.0, value)), 3)
            evidence.append({"gate": part.gate, "fact": part.fact, "value": counted, "weight": part.weight, "at": at})
    whole = sum(part.weight for part in parts)
    total = round(sum(link["value"] * link["weight"] for link in evidence) / whole, 3)
    return Dimension(name, total, threshold, not missing and total >= threshold, tuple(evidence), tuple(missing))


def _clean(result: GateResult) -> float | None:
    """1 without findings, less for each warning, 0 with an error."""
    return 0.0 if result.errors else 1.0 - WARNING_COSTS * len(result.findings)


def _share(fact: str) -> Callable[[GateResult], float | None]:
    """The share of true values in a fact that maps checks to truth values, or lists cases with `passed`; None if there are none."""

    def value(result: GateResult) -> float | None:
        found = result.evidence.get(fact)
        if isinstance(found, Mapping):
            truths = [holds is True for holds in found.values()]
        elif isinstance(found, Sequence):
            truths = [case.get("passed") is True for case in found]
        else:
            return None
        return sum(truths) / len(truths) if truths else None

    return value


def _number(fact: str) -> Callable[[GateResult], float | None]:
    def value(result: GateResult) -> float | None:
        found = result.evidence.get(fact)
        return float(found) if isinstance(found, int | float) else None

    return value


def _tests(result: GateResult) -> float | None:
    collected = result.evidence.get("collected")
    return result.evidence["passed"] / collected if collected else None


DIMENSIONS: Mapping[str, tuple[Part, ...]] = {
    "correctness": (
        Part("examples", "cases", 0.35, _share("cases")),
        Part("properties", "cases", 0.2, _share("cases")),
        Part("tests", "passed", 0.2, _tests),
        Part("mutation", "score", 0.25, _number("score")),
    ),
    "safety": (
        Part("imports", FINDINGS, 0.25, _clean),
        Part("ruff", FINDINGS, 0.15, _clean),
        Part("mypy", FINDINGS, 0.2, _clean),
        Part("policy", "refused", 0.3, _share("refused")),
        Part("annotations", "proved", 0.1, _share("proved")),
    ),
    "idempotency": (Part("effects", "cases", 1.0, _share("cases")),),
    "observability": (
        Part("path", "observed", 0.8, _share("observed")),
        Part("examples", "errors_coded", 0.2, _share("errors_coded")),
    ),
    "rollback": (
        Part("compatibility", "kept", 0.1, _share("kept")),
        Part("rollback", "drill", 0.7, _share("drill")),
        Part("rollback", "undo", 0.2, _number("undo")),
    ),
    "cost": (Part("cost", "saving", 1.0, _number("saving")),),
}
"""Which facts make which dimension."""
