"""The generated contract: its text, and what mypy makes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.spec.contract import contract_text
from app.spec.lint import lint
from app.spec.model import ExecutionSpec
from tests.unit.spec.sample import CATALOG, spec_body

TEXT = {"type": "string", "maxLength": 9, "description": "A text."}


def contract(changes: dict[str, Any] | None = None) -> str:
    spec, problems = lint(spec_body(changes), CATALOG)
    assert problems == []
    assert spec is not None
    return contract_text(spec, CATALOG)


def test_arguments_result_and_items_are_typed_dicts() -> None:
    assert contract() == (
        '"""The contract of greet, generated from its spec; edits are lost."""\n\n'
        "from typing import Any, NotRequired, TypedDict\n\n\n"
        "class Args(TypedDict):\n"
        "    #: Names the greeting.\n"
        "    greeting_id: str\n"
        "    #: Addresses.\n"
        "    people: list[str]\n"
        "    #: A line to add.\n"
        "    note: NotRequired[str]\n\n\n"
        "class Result(TypedDict):\n"
        "    #: How many were sent.\n"
        "    sent: int\n"
        "    #: How many were not.\n"
        "    left: int\n\n\n"
        "class SendItem(TypedDict):\n"
        "    \"What the effect 'send' (email.send) takes.\"\n\n"
        "    #: A text.\n"
        "    to: str\n"
        "    #: A text.\n"
        "    subject: str\n"
        "    tags: NotRequired[list[Any]]\n"
    )


def test_the_text_is_the_same_from_the_author_s_spec_and_from_the_stored_one() -> None:
    spec, _ = lint(spec_body(), CATALOG)
    assert spec is not None
    assert contract_text(ExecutionSpec.parse(spec.canonical()), CATALOG) == contract_text(spec, CATALOG)


RICH: dict[str, Any] = {
    "inputs.properties.note": {
        "oneOf": [
            {"title": "By name", "type": "object", "additionalProperties": False, "required": ["name"], "properties": {"name": TEXT}},
            {"type": "array", "maxItems": 3, "items": {"type": ["integer", "null"]}},
            {"$ref": "#/$defs/place"},
            {"enum": ["all", 7, None]},
        ],
        "description": "A choice.",
    },
    "inputs.$defs": {
        "place": {
            "type": "object",
            "additionalProperties": False,
            "required": ["class"],
            "properties": {"class": {"const": "x", "description": "A keyword."}, "at": {"type": "number", "description": "Where."}},
        }
    },
    "outputs.properties.rates": {
        "type": "object",
        "maxProperties": 3,
        "propertyNames": {"maxLength": 9},
        "additionalProperties": {"type": "boolean"},
        "description": "A map.",
    },
}


def test_unions_literals_maps_and_references_have_their_types() -> None:
    text = contract(RICH)
    assert "note: NotRequired[ByName | list[int | None] | Place | Literal['all', 7, None]]" in text
    assert "Place = TypedDict('Place', {'class': Literal['x'], 'at': NotRequired[float]})" in text
    assert "rates: NotRequired[dict[str, bool]]" in text
    assert text.index("class ByName") < text.index("class Args")


def test_titles_that_python_or_the_contract_needs_itself_are_written_otherwise() -> None:
    parts = {"type": "object", "additionalProperties": False, "required": ["a"], "properties": {"a": TEXT}}
    titled = [{**parts, "title": title} for title in ("none", "True", "Result", "Any")]
    text = contract({"inputs.properties.note": {"oneOf": titled, "description": "A choice."}})
    assert "note: NotRequired[NoneValue | TrueValue | Result2 | Any2]" in text
    assert text.count("class Result(TypedDict)") == 1
    compile(text, "contract.py", "exec")


def test_effects_whose_ids_read_alike_have_items_of_their_own() -> None:
    body = spec_body()
    body["effects"] = [{**body["effects"][0], "id": name} for name in ("send", "send_2", "send2")]
    text = contract_text(ExecutionSpec.model_validate(body, strict=False), CATALOG)
    assert [line for line in text.splitlines() if "Item" in line] == [
        f"class {name}(TypedDict):" for name in ("SendItem", "Send2Item", "Send2Item2")
    ]


HOSTILE = 'x"""\nimport os\n# type: ignore\n\u2028mypy: ignore-errors\\'


@pytest.mark.parametrize(
    "changes",
    [{}, RICH, {"inputs.properties.note.description": HOSTILE, "inputs.description": HOSTILE, "title": "'''"}],
    ids=["plain", "rich", "hostile"],
)
def test_mypy_strict_accepts_the_contract_and_checks_a_tool_by_it(changes: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "contract.py").write_text(contract(changes), encoding="utf-8")
    (tmp_path / "right.py").write_text(
        "from contract import Args, Result\n\ndef run(args: Args) -> Result:\n    return {'sent': len(args['people']), 'left': 0}\n"
    )
    (tmp_path / "wrong.py").write_text(
        "from contract import Args, Result\n\ndef run(args: Args) -> Result:\n    return {'sent': args['greeting_id'], 'left': 0}\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--cache-dir=/dev/null", "contract.py", "right.py", "wrong.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.stdout.count("error:") == 1, done.stdout
    assert "wrong.py:4" in done.stdout


def test_a_hostile_description_stays_a_comment() -> None:
    namespace: dict[str, Any] = {}
    exec(contract({"inputs.properties.note.description": HOSTILE, "inputs.description": HOSTILE}), namespace)
    assert "os" not in namespace
