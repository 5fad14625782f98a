"""The repository itself: its top level, its lock file, what it must not name, its licence and those of what it runs on."""

from __future__ import annotations

import hashlib
import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tests.architecture.sources import ROOT, files, modules_under, texts

TOP = {
    *("pyproject.toml", "app", "jobs", "generated_tools", "templates", "tests", "alembic", "Dockerfile"),
    *("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", "Makefile", "requirements.lock", "docs"),
    *(".ci", ".gitignore", ".dockerignore"),
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()


def test_the_top_level_holds_what_the_owner_fixed_and_nothing_else() -> None:
    assert {path.parts[0] for path in files()} == TOP


def test_alembic_is_no_package_since_it_would_hide_the_library() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()
    assert "site-packages" in str(metadata.distribution("alembic").locate_file("alembic"))


def test_every_locked_requirement_has_hashes() -> None:
    requirements = [block for block in re.split(r"\n(?=\S)", LOCK) if block and not block.startswith("#")]
    assert len(requirements) > 80
    assert [block.splitlines()[0] for block in requirements if "--hash=sha256:" not in block] == []


def test_the_lock_names_no_index_and_no_machine() -> None:
    assert re.findall(r"https?://\S+|--(?:extra-)?index-url|--find-links|file:", LOCK) == []


def test_every_dependency_of_the_project_is_locked() -> None:
    locked = {name.lower() for name in re.findall(r"^([A-Za-z0-9._-]+)==", LOCK, re.M)}
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["dev"]]
    assert {Requirement(text).name.lower() for text in wanted} <= locked


FORBIDDEN = {
    "a registry's host": r"\b(files\.pythonhosted"
    + r"\.org|pypi\.org|test\.pypi|registry\.npmjs"
    + r"\.org|registry\.yarnpkg|ghcr\.io|gcr\.io|quay\.io)",
    "a path of a machine": "(/home/[a-z][a-z0-9_-]*/|/Users/[A-Za-z]|/work/(main|shared)" + r"\b|" + re.escape(str(ROOT)) + "/)",
    "a private key": "-----BEGIN [A-Z ]*PRIVATE " + "KEY-----",
    "an API key": r"\bsk-ant-api[0-9]{2}-[A-Za-z0-9_-]{20,}",
}


def test_no_file_names_a_registry_a_machine_or_a_secret() -> None:
    here = Path(__file__).resolve().relative_to(ROOT)
    found = [
        f"{path}: {what}: {match.group(0)}"
        for path, text in texts()
        for what, pattern in FORBIDDEN.items()
        if path != here and (match := re.search(pattern, text))
    ]
    assert found == []


COMPATIBLE = re.compile(r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|LGPL|Lesser General|Unlicense|0BSD|Zlib)", re.I)
"""Apache-2.0 code may depend on these. LGPL and MPL parts are used as they are, as separate files that anybody can replace."""

BY_HAND: dict[str, str] = {}
"""distribution → licence, where its metadata says nothing."""


def _licence(distribution: metadata.Distribution) -> str:
    about = distribution.metadata.json
    classifiers = about.get("classifier") or []
    said = [about.get("license_expression"), *(text for text in classifiers if text.startswith("License ::")), about.get("license")]
    return " ".join(str(text)[:300] for text in said if text) or BY_HAND.get(distribution.name.lower(), "")


def _runtime_distributions() -> dict[str, metadata.Distribution]:
    found: dict[str, metadata.Distribution] = {}
    waiting = [(Requirement(text), frozenset({""})) for text in PROJECT["project"]["dependencies"]]
    while waiting:
        requirement, extras = waiting.pop()
        name = requirement.name.lower().replace("_", "-")
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        if name in found:
            continue
        found[name] = metadata.distribution(name)
        within = frozenset({"", *requirement.extras})
        waiting += [(Requirement(text), within) for text in found[name].requires or []]
    return found


def test_the_licence_of_everything_that_runs_is_compatible() -> None:
    found = _runtime_distributions()
    assert len(found) > 40
    assert {name: _licence(each)[:80] for name, each in found.items() if not COMPATIBLE.search(_licence(each))} == {}


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


def test_vendored_files_are_what_their_list_says() -> None:
    folder = ROOT / "app/web/static/vendor"
    listed = (folder / "VENDOR.md").read_text()
    vendored = [path for path in folder.rglob("*") if path.is_file() and path.suffix in {".js", ".css", ".woff2"}]
    assert vendored
    for path in vendored:
        row = next((line for line in listed.splitlines() if f"`{path.relative_to(folder).as_posix()}`" in line), "")
        assert hashlib.sha256(path.read_bytes()).hexdigest() in row, path


def test_every_table_module_is_part_of_the_schema() -> None:
    from app import tables

    rooms = {module.name for module in modules_under("app") if module.path.name == "models.py"}
    assert {module.__name__ for module in tables.ROOMS} == rooms
