"""Verify a folder without a server: the same gates, the same sandbox, a database that nobody keeps.

It refuses to be: a release. What passes here still needs a server's own verification and another actor's approval to be published.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from app.candidates.files import candidate_digest, source_file
from app.connectors.scripted import scripted
from app.core.actor import DEFAULT_TENANT
from app.core.errors import Invalid, Problem, Unavailable
from app.core.settings import Settings
from app.sandbox.sandbox import Sandbox
from app.spec.shape import read_shape
from app.spec.written import read_json
from app.verification.keeping import FORGETFUL
from app.verification.kept_files import KeptFiles
from app.verification.line import SILENT, Watcher
from app.verification.subject import Subject
from app.verification.work import bench_for, examine

FILES = ("tool.py", "test_tool.py")
_MEND = "Mend each place that is named."
PUBLISHABLE, REFUSED, UNUSABLE = 0, 1, 2


async def verify_folder(
    folder: Path, settings: Settings | None = None, *, full_report: bool = True, watcher: Watcher = SILENT, fresh: bool = False
) -> dict[str, Any]:
    """The report, as REST answers it, about `spec.json`, `tool.py` and `test_tool.py` of a folder.

    What passed before on equal inputs is taken from HOME's memory, unless it is to be `fresh`. Raises Invalid `folder_unusable` where one
    is missing or is no text or no spec, Unavailable `sandbox_unproven`, GateBroke.
    """
    settings = settings or Settings.from_env()
    subject = await asyncio.to_thread(read_subject, folder)
    sandbox = Sandbox(settings.home, idle_per_tool=0)
    try:
        proof = await sandbox.start()
        if not proof.ok:
            failures = "; ".join(f"{check.name}: {check.detail}" for check in proof.failures())
            raise Unavailable(
                "sandbox_unproven", f"Isolation could not be proven here: {failures}", fix="Run `toolmint doctor`.", retryable=False
            )
        async with bench_for(sandbox, settings) as bench:
            keeper = FORGETFUL if fresh else KeptFiles(settings.home / "verification" / "kept")
            return await examine(subject, bench, settings, full_report=full_report, watcher=watcher, keeper=keeper)
    finally:
        await sandbox.stop()


def exit_status(report: dict[str, Any]) -> int:
    """0 publishable, 1 refused; what could not be verified at all is 2."""
    return PUBLISHABLE if report["publishable"] is True else REFUSED


def read_subject(folder: Path) -> Subject:
    """The candidate that a folder holds. Raises Invalid `folder_unusable`."""
    texts = {name: _text(folder, name) for name in ("spec.json", *FILES)}
    spec, problems = read_shape(_json(texts["spec.json"]))
    if spec is None:
        raise _unusable("spec.json is no execution spec.", problems, fix=_MEND)
    files = {name: texts[name] for name in FILES}
    digest = candidate_digest(spec.digest, [source_file(name, text) for name, text in files.items()])
    return Subject("local", DEFAULT_TENANT, spec.name, "local", spec, files, digest, scripted().catalog)


def _text(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except OSError as error:
        problem = Problem(name, error.strerror or "cannot be read", f"Put {name} into the folder.")
        raise _unusable(f"{folder / name} cannot be read.", [problem]) from None
    except UnicodeDecodeError:
        raise _unusable(f"{folder / name} is not UTF-8.", [Problem(name, "is not UTF-8", "Save it as UTF-8.")]) from None


def _json(text: str) -> Any:
    try:
        return read_json(text)
    except ValueError as error:
        raise _unusable(
            "spec.json is not the JSON of a spec.", [Problem("spec.json", str(error), "Write it as one JSON object.")]
        ) from None


def _unusable(detail: str, problems: list[Problem], fix: str = "A folder holds spec.json, tool.py and test_tool.py.") -> Invalid:
    return Invalid("folder_unusable", detail, fix=fix, problems=problems)
