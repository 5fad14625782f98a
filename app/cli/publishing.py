"""`toolmint publish DIR`: from a folder to a published version, as an author would do it by hand.

It refuses to be: a way past verification or approval; it only asks for them and waits.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from app.candidates.files import candidate_digest, source_file
from app.cli.client import PATIENCE_S, POLL_S, Service, service
from app.cli.output import DONE, REFUSED, WAITING, say
from app.cli.verifying import explain
from app.core.errors import Invalid
from app.core.settings import Settings
from app.spec.written import read_json

CODE = ("tool.py", "test_tool.py")
_OPEN = frozenset({"queued", "verifying"})


def publish(settings: Settings, folder: Path) -> int:
    """Publish what `folder` holds; what has passed already is not verified again.

    Status 1: verification refused it, and why is printed; 3: it waits for an approval.
    """
    spec = _spec(folder)
    files = [{"path": name, "content": _read(folder / name)} for name in CODE]
    with service(settings) as door:
        saved = door.post("/specs", spec)
        tool = quote(saved["name"], safe="")
        say(f"Spec {saved['name']} revision {saved['revision']}")
        digest = candidate_digest(saved["digest"], [source_file(file["path"], file["content"]) for file in files])
        candidate = _passed_before(door, tool, digest)
        if candidate is None:
            candidate = door.post(f"/tools/{tool}/candidates", {"spec_revision": saved["revision"], "files": files})
        say(f"Candidate {candidate['id']}")
        candidate = _followed(door, candidate)
        if candidate["state"] in _OPEN:
            say(f"Verification goes on; see GET /api/v1/candidates/{candidate['id']}.")
            return WAITING
        if candidate["state"] not in {"passed", "published"}:
            explain(door.get(f"/candidates/{candidate['id']}/report"))
            return REFUSED
        if candidate["approval"] == "waiting":
            say("Verified. It has effects, so another actor than its author must approve it, with a key that has candidates:approve:")
            say(f"  dashboard  {door.address}/candidates/{candidate['id']}")
            say(f"""  REST       POST /api/v1/candidates/{candidate["id"]}/approvals {{"decision": "approve", "reason": "…"}}""")
            say("Then give this command again: it publishes what was approved.")
            return WAITING
        version = door.post(f"/tools/{tool}/versions", {"candidate_id": candidate["id"]})
    say(f"Published {version['tool']} version {version['version']}")
    return DONE


def _passed_before(door: Service, tool: str, digest: str) -> dict[str, Any] | None:
    """The candidate of this very spec and code that has passed and is not yet published, an approved one first."""
    waiting = door.get(f"/candidates?tool={tool}&state=passed")["items"]
    same = [one for one in waiting if one["digest"] == digest and one["approval"] != "rejected"]
    return max(same, key=lambda one: one["approval"] != "waiting", default=None)


def _followed(door: Service, candidate: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while candidate["state"] in _OPEN and time.monotonic() < deadline:
        time.sleep(POLL_S)
        candidate = door.get(f"/candidates/{candidate['id']}")
    return candidate


def _spec(folder: Path) -> dict[str, Any]:
    try:
        spec = read_json(_read(folder / "spec.json"))
    except ValueError as error:
        raise Invalid("spec_invalid", f"spec.json is not the JSON of a spec: {error}.", fix="Correct the file.") from None
    if not isinstance(spec, dict):
        raise Invalid("spec_invalid", "spec.json holds no object.", fix="Correct the file.")
    return spec


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Invalid(
            "folder_incomplete", f"{path} cannot be read: {reason}.", fix="The folder holds spec.json, tool.py, test_tool.py."
        ) from None
