"""The shapes: correct tools of different kinds, each with the defects that are seeded into it.

A shape is a folder of `shapes/` with `defects.py` and the three files of a tool; those that ship with Toolmint take the files as they ship.
It refuses to be: a judge. Nothing runs here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tests.calibration.defect import Defect

ROOT = Path(__file__).resolve().parents[2]
SHAPES = Path(__file__).resolve().parent / "shapes"
BUNDLED = {
    "mail": ROOT / "generated_tools/messaging/campaign_send_bulk",
    "repair": ROOT / "generated_tools/data/repair_customer_records",
}
FILES = ("spec.json", "tool.py", "test_tool.py")


@dataclass(frozen=True, slots=True)
class Shape:
    """A correct tool: its files by name, and its defects."""

    name: str
    files: Mapping[str, str]
    defects: tuple[Defect, ...]


def shapes() -> list[Shape]:
    """Every shape, by name."""
    names = sorted(path.parent.name for path in SHAPES.glob("*/defects.py"))
    return [_shape(name) for name in names]


def _shape(name: str) -> Shape:
    folder = BUNDLED.get(name, SHAPES / name)
    files = {file: (folder / file).read_text(encoding="utf-8") for file in FILES}
    return Shape(name, files, tuple(import_module(f"tests.calibration.shapes.{name}.defects").DEFECTS))
