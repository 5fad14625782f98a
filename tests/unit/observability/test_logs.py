"""A log line says whose work it is about and keeps no secret."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from app.observability import logs, traces


def formatted(event: str, *, secrets: tuple[str, ...] = (), exception: BaseException | None = None, **fields: Any) -> dict[str, Any]:
    info = (type(exception), exception, exception.__traceback__) if exception else None
    record = logging.LogRecord("toolmint", logging.INFO, __file__, 1, event, (), info)
    record.fields = fields
    text = logs.JsonLines(secrets).format(record)
    assert "\n" not in text
    line: dict[str, Any] = json.loads(text)
    return line


def test_a_line_names_the_run_its_version_actor_and_trace() -> None:
    with traces.tracing("ab" * 16), logs.working(run_id="run_1", version=3, actor="key_1"), logs.working(tool="greet"):
        line = formatted("run.begun", items=2)
    wanted = {"event": "run.begun", "run_id": "run_1", "version": 3, "actor": "key_1", "tool": "greet", "trace_id": "ab" * 16, "items": 2}
    assert wanted.items() <= line.items() and line["at"].endswith("Z") and line["level"] == "info"
    assert "run_id" not in formatted("idle")


def test_keys_passwords_and_addresses_are_blanked_wherever_they_stand() -> None:
    key = "tm_01jq8z0000000000000000000_" + "A" * 43
    line = formatted(
        f"with {key}",
        url="smtp://user:hunter2@mail.internal:25",
        header="Authorization: Bearer abcdef.ghijkl",
        model="sk-ant-api03-abcdefgh",
        item={"to": "Ada.Lovelace+x@example.com", "ada@example.com": 1, "password": "x"},
        nested=[{"deep": ["bob@example.org"]}],
        own="the operator chose correct-horse today",
        secrets=("correct-horse",),
    )
    text = json.dumps(line)
    for hidden in (key, "hunter2", "abcdef.ghijkl", "sk-ant", "ada@", "Ada.Lovelace", "bob@", "correct-horse"):
        assert hidden not in text, hidden
    assert line["item"]["password"] == "[hidden]" and line["item"]["to"] == "[address]"


def test_a_field_is_hidden_by_its_name_in_small_letters_whatever_letters_it_was_written_in() -> None:
    for name in ("Cookie", "coo\N{KELVIN SIGN}ie"):
        assert formatted("x", item={name: "s3cr3t", "grüße": "an alle"})["item"] == {name: "[hidden]", "grüße": "an alle"}


def test_an_exception_is_told_without_the_values_that_it_quotes() -> None:
    try:
        raise ValueError("no row for ada@example.com\n[parameters: ('secret value',)]")
    except ValueError as error:
        line = formatted("job.failed", exception=error)
    assert "ValueError" in line["error"] and "ada@" not in line["error"] and "secret value" not in line["error"]


def test_long_and_deep_values_are_cut_in_linear_time() -> None:
    line = formatted("tool.said", text="a" * 1_000_000, wide=list(range(1000)), deep=[[[[[[[[1]]]]]]]])
    assert len(json.dumps(line)) < 10_000


def test_a_tools_words_and_the_end_of_a_run_have_fixed_shapes(caplog: Any) -> None:
    with caplog.at_level(logging.INFO, logger="toolmint"):
        logs.tool_line("run_1", 2, "key_1", "t", "batch", {"items": 5})
        logs.run_span("run_1", 2, "key_1", "t", "failed", 12, "bad_template")
    said, ended = (record.fields for record in caplog.records)
    assert said == {"run_id": "run_1", "version": 2, "actor": "key_1", "trace_id": "t", "said": "batch", "with": {"items": 5}}
    assert (ended["state"], ended["duration_ms"], ended["error_code"]) == ("failed", 12, "bad_template")


def test_setup_makes_every_logger_of_the_process_speak_json(capsys: Any) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.setup("info", stream=sys.stderr)
        logging.getLogger("uvicorn.access").info("GET /runs?key=%s", "tm_01jq8z0000000000000000000_" + "A" * 43)
        logs.say("run.begun", items=1)
        with logs.working(candidate_id="cand_1"):  # told in its report
            logs.run_span("run_1", 1, "key_verification", "ab" * 16, "failed", 1, "effect_undeclared")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    lines = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["GET /runs?key=[key]", "run.begun"]
