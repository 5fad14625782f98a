"""What the programs in here report: findings, collected with where they stand.

It refuses to be: a judge. Severity says how a finding counts; the line of gates decides.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Literal

MOST = 40
Severity = Literal["error", "warning"]


@dataclass
class Findings:
    """The findings about one file, at most 40, in source order once they are asked for."""

    file: str
    found: dict[tuple[str, int, str], dict[str, object]] = field(default_factory=dict)

    def add(self, rule: str, where: ast.AST | int, message: str, fix: str, severity: Severity = "error") -> None:
        """One finding at a node or a line; the same rule, line and message count once."""
        line = where if isinstance(where, int) else int(getattr(where, "lineno", 1))
        row: dict[str, object] = {"rule": rule, "severity": severity, "file": self.file, "line": line, "message": message, "fix": fix}
        self.found.setdefault((rule, line, message), row)

    def rows(self) -> list[dict[str, object]]:
        ordered = sorted(self.found.values(), key=lambda row: (row["severity"] != "error", row["line"]))
        return ordered[:MOST]
