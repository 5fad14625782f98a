"""One version of a tool: scores and gates, code, tests, spec, and what changed against another version."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from app.candidates.reading import read_report, reads_candidates
from app.core.errors import NotFound
from app.registry.evidence import MEDIA_TYPE
from app.registry.reading import read_bundle, read_tool, read_version
from app.web.desk import At, Desk
from app.web.highlight import Comparison, compare, laid_out, lines

router = APIRouter()
FILES = {"code": "tool.py", "tests": "test_tool.py", "spec": "spec.json", "contract": "contract.py"}
COMPARED = ("tool.py", "test_tool.py", "spec.json")


@router.get("/tools/{name}/versions/{number}")
def show(desk: At, name: str, number: int) -> Response:
    version = _version(desk, name, number)
    report, downloadable = _report(desk, version), reads_candidates(desk.actor)
    return desk.show("versions/page.html", tab="report", report=report, downloadable=downloadable, **_frame(name, version))


@router.get("/tools/{name}/versions/{number}/changes")
def changes(desk: At, name: str, number: int) -> Response:
    version = _version(desk, name, number)
    versions = [row["version"] for row in read_tool(desk.actor, desk.services.catalog, name)["versions"]]
    wanted = desk.query("against")
    against = int(wanted) if wanted.isdecimal() and len(wanted) < 9 else max((v for v in versions if v < number), default=None)
    other = _version(desk, name, against) if against is not None else None
    values: dict[str, Any] = {
        "against": against,
        "refused": other["refused"] if other else None,
        "others": [v for v in versions if v != number],
        "compared": compared_files(other["files"], version["files"]) if other else [],
    }
    return desk.show("versions/changes.html", tab="changes", **values, **_frame(name, version))


@router.get("/tools/{name}/versions/{number}/bundle")
def bundle(desk: At, name: str, number: int) -> Response:
    content = read_bundle(desk.actor, desk.services.catalog, name, number)
    return Response(content, media_type=MEDIA_TYPE, headers={"content-disposition": f'attachment; filename="{name}-{number}.bundle"'})


@router.get("/tools/{name}/versions/{number}/{tab}")
def file(desk: At, name: str, number: int, tab: str) -> Response:
    if tab not in FILES:
        raise NotFound("page_not_found", "A version has no such page.", fix="Start from the version's page.")
    version = _version(desk, name, number)
    path = FILES[tab]
    text = laid_out(path, version["files"].get(path, ""))
    return desk.show("versions/file.html", tab=tab, path=path, text=text, lines=lines(text, path), **_frame(name, version))


def compared_files(before: dict[str, str], after: dict[str, str]) -> list[Comparison]:
    """A comparison for each of the files that people write."""
    paths = [path for path in COMPARED if path in before or path in after]
    return [compare(laid_out(path, before.get(path, "")), laid_out(path, after.get(path, "")), path) for path in paths]


def _version(desk: Desk, name: str, number: int) -> dict[str, Any]:
    version: dict[str, Any] = read_version(desk.actor, desk.services.catalog, name, number)
    return version


def _frame(name: str, version: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "version": version, "root": f"/tools/{name}/versions/{version['version']}"}


def _report(desk: Desk, version: dict[str, Any]) -> dict[str, Any]:
    """The whole report for those who may read candidates, where it is the signed one, else the gates and scores that the version shows."""
    if version["gates"]:
        with suppress(NotFound):
            report: dict[str, Any] = read_report(desk.actor, desk.database, version["candidate_id"])
            return report
    gates = [{**gate, "findings": [], "evidence": {}} for gate in version["gates"]]
    rubric = [{**score, "evidence": [], "missing": []} for score in version["scores"]]
    return {"gates": gates, "rubric": rubric}
