"""An artifact as a value: the files of a release and the manifest that pins them.

The digest of an artifact is the SHA-256 of its canonical manifest, which names every file by its own SHA-256, the toolkit, the
Python and the libraries that the tool imports, so that an old version runs as it ran. Equal content is the same artifact.

It refuses to be: a version. Numbers, channels and names of actors are not in here.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.runtime.program import Program
from app.spec.canonical import canonical_bytes
from app.spec.catalog import ConnectorCatalog
from app.spec.contract import contract_text
from app.spec.model import ExecutionSpec

MANIFEST = "manifest.json"
FORMAT = "artifact/1"
GUEST_FILES = ("tool.py", "contract.py", "spec.json")
TOOLKIT = Path(__file__).resolve().parents[2] / "generated_tools" / "toolkit"
_IMPORT = re.compile(r"^(?:from|import) +([A-Za-z_][\w.]*)", re.MULTILINE)
_OURS = frozenset({"__future__", "contract", "toolkit"})


@dataclass(frozen=True, slots=True)
class Artifact:
    """`files` maps path to text, without the manifest; `manifest` is its canonical text, `digest` the SHA-256 of that."""

    digest: str
    manifest: str
    files: Mapping[str, str]

    def program(self, tool: str, version: int) -> Program:
        """What the runtime executes."""
        guest = {path: self.files[path] for path in GUEST_FILES}
        return Program(tool, version, self.digest, ExecutionSpec.parse(self.files["spec.json"]), guest)


def guest_spec(spec: ExecutionSpec) -> str:
    """`spec.json` as guests see it, in verification and at run time alike: without held-out examples."""
    return json.dumps(spec.without_held_out().body(), indent=1, ensure_ascii=False)


def make_artifact(spec: ExecutionSpec, sources: Mapping[str, str], catalog: ConnectorCatalog) -> Artifact:
    """The artifact of verified sources (`tool.py`, `test_tool.py`) and their spec."""
    files = {
        "spec.json": guest_spec(spec),
        "tool.py": sources["tool.py"],
        "test_tool.py": sources["test_tool.py"],
        "contract.py": contract_text(spec, catalog),
    }
    manifest = canonical_bytes(
        {
            "format": FORMAT,
            "tool": spec.name,
            "spec_digest": spec.digest,
            "files": {path: sha256(text) for path, text in files.items()},
            "toolkit": toolkit_digest(),
            "python": python_minor(),
            "libraries": sorted(set(_IMPORT.findall(sources["tool.py"])) - _OURS),
        }
    ).decode()
    return Artifact(sha256(manifest), manifest, files)


def problems_of(artifact: Artifact) -> list[str]:
    """How an artifact differs from what its digest and its manifest say, one line each; empty if it is what it was."""
    if sha256(artifact.manifest) != artifact.digest:
        return [f"{MANIFEST} differs from the version's digest"]
    pinned: dict[str, str] = json.loads(artifact.manifest)["files"]
    missing = [f"{path} is missing" for path in sorted(pinned.keys() - artifact.files.keys())]
    extra = [f"{path} does not belong there" for path in sorted(artifact.files.keys() - pinned.keys())]
    edited = [f"{path} was edited" for path, text in sorted(artifact.files.items()) if path in pinned and sha256(text) != pinned[path]]
    return missing + extra + edited


def pins(manifest: str) -> dict[str, Any]:
    """The manifest as JSON, with `current`: whether the toolkit and the Python that it pins are those of this release."""
    pinned: dict[str, Any] = json.loads(manifest)
    return {**pinned, "current": pinned["toolkit"] == toolkit_digest() and pinned["python"] == python_minor()}


def sha256(text: str) -> str:
    """SHA-256 (hex) of the UTF-8 bytes; of what could not be decoded too, so that such a file is just another digest."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def python_minor() -> str:
    """Such as `3.11`: the guest's Python is of the service's minor version."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


@functools.cache
def toolkit_digest() -> str:
    """SHA-256 over the names and contents of the toolkit's modules in this release."""
    mark = hashlib.sha256()
    for path in sorted(TOOLKIT.glob("*.py")):
        content = path.read_bytes()
        mark.update(f"{path.name} {len(content)}\n".encode() + content)
    return mark.hexdigest()
