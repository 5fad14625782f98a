"""A file of JSON lines that grows, read on from where it was read to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(eq=False)
class Tail:
    """`lines` is everything that was whole at the last `read`."""

    path: Path
    lines: list[dict[str, Any]] = field(default_factory=list)
    _offset: int = 0

    def read(self) -> list[dict[str, Any]]:
        """Read on; returns all lines so far."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._offset)
                whole = file.read()
            whole = whole[: whole.rfind(b"\n") + 1]
            self._offset += len(whole)
            self.lines += [json.loads(line) for line in whole.splitlines()]
        return self.lines
