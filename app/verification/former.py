"""The roll-back drill with the version that answers callers at present: it, then the candidate, then it again, in one world.

Where the former version comes to a result alone, the candidate must come to one after it, and it after the candidate; what either has done
is not done again. The world is the first of the candidate's busiest examples that the former version takes and ends well in.

It refuses to be: a judge of the former version. What cannot be published or called today is told in the evidence and is nobody's fault.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from app.core.errors import ToolmintError
from app.spec.model import Example
from app.verification.drill import Walked, drilled
from app.verification.findings import Finding, Severity
from app.verification.path_gate import busiest_first
from app.verification.stage import staged
from app.verification.subject import Bench, Subject

MOST_TRIED = 3
_SAY = {
    "replaced": "After version {version} has done its work, the candidate ends {state!r} with {code!r}.",
    "rolled_back": "After the candidate has done its work, a roll back to version {version} ends {state!r} with {code!r}.",
    "nothing_repeated": "What version {version} or the candidate has done was done again after the other was published.",
}
_FIX = {
    "replaced": "Let the candidate go on with what the version before it has left: records as they are, effects that come back as skipped.",
    "rolled_back": "Leave records as the version before can read them; change their form in two steps.",
    "nothing_repeated": "Perform through ctx alone; the ledger then holds across versions.",
}
Told = tuple[dict[str, Any] | None, list[Finding]]


async def drill_former(subject: Subject, bench: Bench) -> Told:
    """The evidence and what is wrong; no evidence where nothing is replaced, or nobody vouches for its code.

    `{"version", "drilled", "example", "held"}`, or with a `reason` where it was not drilled.
    """
    before = subject.replaces
    if before is None or before.tool is None:
        return None, []
    former = replace(subject, spec=before.spec, files={"tool.py": before.tool}, digest=f"former {subject.digest}", replaces=None)
    try:
        example = await _fit(former, subject, bench)
        if example is None:
            return _undrilled(before.version, "no_common_example"), []
        async with drilled(bench, subject, example, former) as drill:
            walked = await drill.walk(example.args, former, subject)
    except ToolmintError as error:  # one of another release may be refused by this one; the candidate's own drill says whether that can be
        return _undrilled(before.version, error.code), []
    evidence = {"version": before.version, "drilled": True, "example": example.name, "held": walked.held}
    return evidence, _findings(before.version, walked, example)


async def _fit(former: Subject, subject: Subject, bench: Bench) -> Example | None:
    """The first example of the candidate in which the former version comes to a result."""
    program = former.program()
    for example in busiest_first(subject.spec)[:MOST_TRIED]:
        if not program.validators.args.problems(dict(example.args)):
            async with staged(bench, example, former.caller, program) as stage:
                if (await stage.play(program, example.args)).state == "completed":
                    return example
    return None


def _undrilled(version: int, reason: str) -> dict[str, Any]:
    return {"version": version, "drilled": False, "reason": reason}


def _findings(version: int, walked: Walked, example: Example) -> list[Finding]:
    """A ToolError is told as a warning: that the two do not go together may be meant, and is for the person who approves."""
    found = []
    for name, answer in zip(("replaced", "rolled_back", "nothing_repeated"), (*walked.answers[1:], {}), strict=True):
        if not walked.held[name]:
            error = answer.get("error") or {}
            message = _SAY[name].format(version=version, state=answer.get("state"), code=error.get("code"))
            severity: Severity = "warning" if error.get("business") else "error"
            found.append(Finding(f"rollback_former_{name}", message, _FIX[name], severity, "tool.py", input={"example": example.name}))
    return found
