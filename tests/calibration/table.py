"""The printed result: by gate, by shape, by family, the scores that thresholds are set from, and the shares asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from app.core.settings import Settings
from app.verification.gates import GATES
from app.verification.rubric import DIMENSIONS, Thresholds, score, thresholds_of
from tests.calibration.judging import RUBRIC, Judged

LEAST_SHARE, LEAST_GRAVE = 0.98, 1.0
MOST_S = 45.0
"""Wall time that the full verification of a correct tool may take, alone on two idle processors."""
_ENDS = ("caught", "accident", "missed", "broke")
_HEAD = ("defects", "caught", "by accident", "missed", "broke")


def printed(judged: Sequence[Judged], settings: Settings) -> str:
    """All tables as text; `settings` hold the thresholds that are asked for at present."""
    tools = [each for each in judged if each.defect is None]
    defects = [each for each in judged if each.defect is not None]
    parts = [
        _columns(_by_gate(tools, defects)),
        _columns([("shape", *_HEAD), *_counted(defects, lambda each: [each.shape])]),
        _columns([("family", *_HEAD), *_counted(defects, lambda each: [each.defect.family] if each.defect else [])]),
        _columns(_of_tools(tools)),
        _columns(_dimensions(tools, defects, thresholds_of(settings))),
        _scores(tools, defects, settings.mutation_score),
        "\n".join(_told(each) for each in judged if each.verdict not in ("passed", "caught")),
        "\n".join(_shares(tools, defects)),
    ]
    return "\n\n".join(part for part in parts if part)


def broken_promises(judged: Sequence[Judged]) -> list[str]:
    """What was asked for and is not so."""
    tools = [each for each in judged if each.defect is None]
    defects = [each for each in judged if each.defect is not None]
    grave = [each for each in defects if each.defect and each.defect.grave]
    found = [f"the correct tool {each.shape} {each.verdict}" for each in tools if each.verdict != "passed"]
    slow = [each for each in tools if each.seconds > MOST_S]
    found += [f"the correct tool {each.shape} took {each.seconds:.0f} s; {MOST_S:.0f} s is asked for" for each in slow]
    found += [
        f"the defect {each.defect.name} of {each.shape} could not be judged" for each in defects if each.defect and each.verdict == "broke"
    ]
    if defects and _share(defects) < LEAST_SHARE:
        found.append(f"of all defects {_share(defects):.1%} were caught by a gate that should; {LEAST_SHARE:.0%} is asked for")
    if grave and _share(grave) < LEAST_GRAVE:
        found.append(f"of the grave defects {_share(grave):.1%} were caught by a gate that should; {LEAST_GRAVE:.0%} is asked for")
    return found


def line(each: Judged) -> str:
    """One candidate: what it is, what became of it, and what saw it."""
    name = f"{each.defect.name} ({'/'.join([*each.defect.gates, *each.defect.rules])})" if each.defect else "the correct tool"
    said = {result.gate: sorted({finding.rule for finding in result.errors}) for result in each.results}
    by = [f"{gate} ({', '.join(said[gate])})" if said.get(gate) else gate for gate in each.by]
    return f"{each.shape} {name}: {each.verdict}{' by ' + ', '.join(by) if by else ''}, {each.seconds:.1f} s"


def _by_gate(tools: Iterable[Judged], defects: Sequence[Judged]) -> list[tuple[str, ...]]:
    refused = Counter(name for each in tools for name in each.by)
    names = [gate.name for gate in GATES] + [RUBRIC]
    counted = {row[0]: row for row in _counted(defects, lambda each: each.defect.gates if each.defect else ())}
    none = ("0",) * len(_HEAD)
    rows = [(*counted.get(name, (name, *none)), str(refused[name])) for name in names if name in counted or name != RUBRIC or refused[name]]
    return [("gate", *_HEAD, "correct tools refused"), *rows]


def _counted(defects: Sequence[Judged], groups: Callable[[Judged], Iterable[str]]) -> list[tuple[str, ...]]:
    found: dict[str, Counter[str]] = {}
    for each in defects:
        for group in groups(each):
            found.setdefault(group, Counter())[each.verdict] += 1
    return [(group, str(ends.total()), *(str(ends[end]) for end in _ENDS)) for group, ends in sorted(found.items())]


def _of_tools(tools: Sequence[Judged]) -> list[tuple[str, ...]]:
    if not tools:
        return []
    rows = []
    for each in tools:
        slowest = sorted(each.results, key=lambda result: -result.duration_ms)[:3]
        costs = ", ".join(f"{result.gate} {result.duration_ms / 1000:.1f}" for result in slowest)
        share = "-" if each.mutation_score is None else f"{each.mutation_score:.3f}"
        rows.append((each.shape, each.verdict, f"{each.seconds:.1f} s", share, costs))
    return [("correct tool", "verdict", "full verification", "mutation score", "longest gates, s"), *rows]


def _dimensions(tools: Sequence[Judged], defects: Sequence[Judged], thresholds: Thresholds) -> list[tuple[str, ...]]:
    """Scores of correct tools beside those of defects that the whole line met and one of the dimension's own gates refused."""
    good, bad = ([dict(_scored(each, thresholds)) for each in group] for group in (tools, defects))
    rows = []
    for name, threshold in thresholds.items():
        own = {part.gate for part in DIMENSIONS[name]}
        kept = sorted(scores[name] for scores in good if name in scores)
        refused = [scores[name] for scores, each in zip(bad, defects, strict=True) if name in scores and own & set(each.by)]
        if kept:
            below = sum(score < threshold for score in kept)
            span = f"{kept[0]:.2f} to {kept[-1]:.2f}"
            rows.append((name, f"{threshold:.2f}", span, str(below), f"{max(refused):.2f}" if refused else "-"))
    return [("dimension", "threshold", "correct tools", "of them below", "highest that its gates refused"), *rows]


def _scored(each: Judged, thresholds: Thresholds) -> Iterable[tuple[str, float]]:
    """The dimensions for which all of the evidence is there."""
    return ((row.dimension, row.score) for row in score(each.results, thresholds) if not row.missing)


def _scores(tools: Sequence[Judged], defects: Sequence[Judged], threshold: float) -> str:
    """Scores of good suites beside those of suites that assert too little: the threshold lies between."""
    good = sorted(share for each in tools if (share := each.mutation_score) is not None)
    vacuous = [each for each in defects if each.defect and each.defect.family == "vacuous_tests"]
    weak = sorted(share for each in vacuous if (share := each.mutation_score) is not None)
    named = (("correct suites", good), ("suites that assert too little", weak))
    lines = [f"mutation score, {what}: {' '.join(f'{share:.2f}' for share in shares)}" for what, shares in named if shares]
    if lines:
        below, above = sum(share < threshold for share in good), sum(share >= threshold for share in weak)
        lines.append(
            f"threshold {threshold:.2f}: below it {below} correct suites; above it {above} weak ones, which miss what must be noticed"
        )
    return "\n".join(lines)


def _told(each: Judged) -> str:
    """What is to be looked into, with what was found."""
    rules = [f"    {result.gate}: {finding.rule}: {finding.message[:200]}" for result in each.results for finding in result.errors[:3]]
    return "\n".join([f"{each.verdict.upper():9}{line(each)}", *([f"    {each.problem}"] if each.problem else []), *rules])


def _shares(tools: Sequence[Judged], defects: Sequence[Judged]) -> Iterable[str]:
    grave = [each for each in defects if each.defect and each.defect.grave]
    for what, chosen in (("defects", defects), ("grave defects", grave)):
        if chosen:
            refused = sum(each.verdict in ("caught", "accident") for each in chosen)
            caught = sum(each.verdict == "caught" for each in chosen)
            shares = f"caught by a gate that should {caught} ({_share(chosen):.1%}), refused {refused} ({refused / len(chosen):.1%})"
            yield f"{what}: {len(chosen)}; {shares}"
    if tools:
        yield f"correct tools: {len(tools)}, of them refused: {sum(each.verdict != 'passed' for each in tools)}"


def _share(chosen: Sequence[Judged]) -> float:
    return sum(each.verdict == "caught" for each in chosen) / len(chosen)


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    if len(rows) < 2:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
