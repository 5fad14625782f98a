"""Programs on candidate text, each in a fresh sandbox: ours from `inside/`, and the checkers.

It refuses to be: lenient about how a program ends. What was cut or killed is told apart from what answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from app.core.errors import Failed
from app.sandbox.limits import ProcessLimits
from app.sandbox.oneshot import PATIENCE, Completed
from app.sandbox.sandbox import Sandbox
from app.verification.findings import Finding

STATIC = ProcessLimits(memory_mb=768, cpu_s=30, wall_s=30.0, processes=16, output_bytes=4 << 20, disk_mb=32)
DYNAMIC = ProcessLimits(memory_mb=768, cpu_s=60, wall_s=60.0, processes=16, output_bytes=4 << 20, disk_mb=32)

SAID_NOTHING = "inside_program_failed"
_REASONS = {
    "time": ("time_limit", "did not finish within its time", "Shorten the file, or end the loop that does not end."),
    "output": ("output_limit", "printed more than it may", "Print less."),
    "memory": ("memory_limit", "needed more memory than it may use", "Use less memory."),
}
_BUSY = "Verify again when the machine has less to do; TOOLMINT_VERIFICATION_STANDS_BACK=0 lets verification have its full share of it."


class Cut(Exception):
    """A program was ended by a limit; `finding` says which, as the candidate's fault."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


@cache
def inside_files() -> Mapping[str, str]:
    """The text of every program that runs inside, by its path below /work."""
    folder = Path(__file__).parent / "inside"
    return {f"inside/{path.name}": path.read_text() for path in sorted(folder.glob("*.py"))}


async def ask(
    sandbox: Sandbox, program: str, request: Any, *, files: Mapping[str, str] | None = None, limits: ProcessLimits = STATIC
) -> dict[str, Any]:
    """The JSON answer of one of our programs. Raises Cut, and Failed `inside_program_failed` where it broke."""
    command = ["python", "-m", f"inside.{program}"]
    done = await sandbox.run_once(command, {**inside_files(), **(files or {})}, limits, stdin=json.dumps(request).encode())
    refuse_cut(program, done)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise broken(program, done) from error
    return answer


def refuse_cut(program: str, done: Completed) -> None:
    """Raise Cut where a limit or a signal ended the program, Failed `machine_busy` where it was hardly let run."""
    if done.cut == "time" and done.cpu_ms is not None and done.cpu_ms < done.wall_ms / (2 * PATIENCE):
        detail = f"The check {program} got {done.cpu_ms} ms of the processor in {done.wall_ms} ms."
        raise Failed("machine_busy", detail, fix=_BUSY)
    if done.cut is not None:
        rule, what, fix = _REASONS[done.cut]
        raise Cut(Finding(rule, f"The check {program} {what} on this candidate.", fix))
    if done.exit < 0 or done.exit >= 128:
        message = f"The check {program} was killed (status {done.exit}) while it worked on this candidate."
        raise Cut(Finding("resource_limit", message, "Simplify the code: less nesting, less memory, less time."))


def broken(program: str, done: Completed) -> Failed:
    """The error of a check that ended without an answer: never a pass, and not the candidate's fault."""
    said = done.stderr.decode(errors="replace").strip()[-400:]
    what = f"The check {program} ended with status {done.exit} and no answer: {said or 'it said nothing'}"
    return Failed(SAID_NOTHING, what, fix="Verify again; if it stays so, run `toolmint doctor`.")
