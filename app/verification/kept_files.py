"""The memory of results of `toolmint verify`: a file for each, in a folder of this installation's home.

It refuses to be: trusted by a server. Whoever owns the folder may write what they like into it; what passes here is verified again there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core import ids
from app.core.clock import SystemClock, iso
from app.verification.findings import GateResult

MOST = 500
_RED = "red"


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """A keeper in `folder`, which is made where it is missing; the 500 newest files stay."""

    folder: Path

    async def find(self, key: str) -> GateResult | None:
        return await asyncio.to_thread(self._find, key)

    async def keep(self, key: str, result: GateResult) -> None:
        await asyncio.to_thread(self._keep, key, result)

    async def recall(self, key: str) -> Mapping[str, Any] | None:
        return await asyncio.to_thread(self._recall, key)

    async def remember(self, key: str, _gate: str, facts: Mapping[str, Any]) -> None:
        await asyncio.to_thread(self._write, key, facts)

    def _find(self, key: str) -> GateResult | None:
        try:
            kept = json.loads((self.folder / key).read_text())
            return None if kept == _RED else GateResult.from_dict(kept["result"], {"candidate_id": "local", "at": kept["at"]})
        except (OSError, ValueError, TypeError, KeyError):  # not there, or not whole: the gate runs
            return None

    def _keep(self, key: str, result: GateResult) -> None:
        passed = result.status == "passed"
        if not passed or not (self.folder / key).exists():
            self._write(key, {"result": result.as_dict(), "at": iso(SystemClock().now())} if passed else _RED)

    def _recall(self, key: str) -> Mapping[str, Any] | None:
        try:
            facts = json.loads((self.folder / key).read_text())
        except (OSError, ValueError):  # as above
            return None
        return facts if isinstance(facts, dict) else None

    def _write(self, key: str, value: Any) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self.folder / ids.new("fresh")
        fresh.write_text(json.dumps(value))
        fresh.replace(self.folder / key)
        for old in sorted(self.folder.iterdir(), key=_age)[MOST:]:
            with suppress(FileNotFoundError):  # another process forgets as well
                old.unlink()


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except FileNotFoundError:  # as above
        return 0.0
